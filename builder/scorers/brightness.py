"""Brightness: how light a clip is, how much contrast it has, and how much of it is black or without detail."""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from builder.frames import Frames
from builder.records import Score
from builder.stage import settings
from builder.stages.score import Scorer

BLACK_SHARE = 0.98  # FFmpeg blackdetect's picture_black_ratio_th; its pixel_black_th is behind the evidence's `black`
SHADOW, LIGHT = 0.05 * 255, 0.95 * 255


@dataclass(frozen=True, slots=True)
class BrightnessScore(Score):
    """From the 48x27 thumbnail of every frame; luma is BT.601, full range.

    Attributes:
        mean: mean luma, 0 black ... 255 white.
        contrast: standard deviation of luma in a frame (RMS contrast), mean over frames; 0 flat ... 127.5.
        black: share of black frames, 0 ... 1; FFmpeg's blackdetect says what counts as black.
        under: share of the picture in the lowest 5 % of luma, mean over frames, 0 ... 1: lost in shadow, or dark.
        over: share of the picture in the highest 5 % of luma, mean over frames, 0 ... 1: blown out, or white ground.
    """

    mean: float
    contrast: float
    black: float
    under: float
    over: float


@settings
class Brightness(Scorer[BrightnessScore]):
    """Mean luma, contrast, share of black frames, under- and overexposure. About 3 ms a clip."""

    plugin: ClassVar[str] = "brightness"
    version: ClassVar[int] = 2
    writes: ClassVar[type[BrightnessScore]] = BrightnessScore

    def score(self, frames: Frames) -> BrightnessScore:
        clip, evidence = frames.clip, frames.evidence
        span, luma = slice(clip.start_frame, clip.end_frame), frames.luma()
        return BrightnessScore(
            clip.clip_id,
            mean=float(evidence.luma[span].mean(dtype=np.float64)),
            contrast=float(np.mean([cv2.meanStdDev(picture)[1].item() for picture in luma])),
            black=float((evidence.black[span] >= BLACK_SHARE).mean()),
            under=np.count_nonzero(luma <= SHADOW) / luma.size,
            over=np.count_nonzero(luma >= LIGHT) / luma.size,
        )
