"""Brightness: how light a clip is, how much contrast it has, and how much of it is black."""

from dataclasses import dataclass
from typing import ClassVar

import cv2

from builder.frames import Frames
from builder.records import Score
from builder.stage import settings
from builder.stages.score import Scorer

BLACK_LUMA, BLACK_SHARE = 0.10 * 255, 0.98  # FFmpeg blackdetect's pixel_black_th and picture_black_ratio_th


@dataclass(frozen=True, slots=True)
class BrightnessScore(Score):
    """From the 48x27 thumbnail of every frame.

    Attributes:
        mean: mean luma (BT.601, full range), 0 black ... 255 white.
        contrast: standard deviation of luma in a frame (RMS contrast), mean over frames; 0 flat ... 127.5.
        black: share of black frames, 0 ... 1; FFmpeg's blackdetect says what counts as black.
    """

    mean: float
    contrast: float
    black: float


@settings
class Brightness(Scorer[BrightnessScore]):
    """Mean luma, contrast and share of black frames."""

    plugin: ClassVar[str] = "brightness"
    writes: ClassVar[type[BrightnessScore]] = BrightnessScore

    def score(self, frames: Frames) -> BrightnessScore:
        thumbs = frames.thumbs()
        rows = thumbs.reshape(-1, thumbs.shape[2], 3)  # all thumbnails as one tall picture
        luma = cv2.cvtColor(rows, cv2.COLOR_RGB2GRAY).reshape(len(thumbs), -1)
        black = (luma <= BLACK_LUMA).mean(axis=1) >= BLACK_SHARE
        return BrightnessScore(
            frames.clip.clip_id,
            mean=float(luma.mean()),
            contrast=float(luma.std(axis=1).mean()),
            black=float(black.mean()),
        )
