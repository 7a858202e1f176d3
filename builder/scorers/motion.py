"""Motion: how fast the picture moves, and how much of that is the camera."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from builder.errors import ItemError
from builder.frames import Frames
from builder.records import Clip, Score
from builder.stage import settings
from builder.stages.score import Scorer

STILL = 0.3  # percent of the diagonal a second: below it nothing is seen to move
LEAST_FRAMES = 2


@dataclass(frozen=True, slots=True)
class MotionScore(Score):
    """From optical flow (Farneback, SCIA 2003) between thumbnails, in percent of the frame's diagonal a second.

    Attributes:
        flow: mean length of the vectors over the frame and over pairs; 0 still, 1 ... 10 usual, above 30 wild.
        camera: mean length of each pair's median vector: what most of the picture moves by; 0 ... `flow`.
        static: share of pairs whose flow is below 0.3, 0 ... 1.
    """

    flow: float
    camera: float
    static: float


@settings
class Motion(Scorer[MotionScore]):
    """Optical flow of at most `pairs` pairs of frames that are about `gap_s` apart, spread over the clip."""

    plugin: ClassVar[str] = "motion"
    writes: ClassVar[type[MotionScore]] = MotionScore

    pairs: Annotated[int, Field(ge=1)] = 24
    gap_s: Annotated[float, Field(gt=0)] = 0.125

    def score(self, frames: Frames) -> MotionScore:
        clip = frames.clip
        if clip.frames < LEAST_FRAMES:
            raise ItemError("one_frame", f"{clip.clip_id} has one frame and so no motion; raise split.min_s")
        fields = pair_flows(frames.thumbs(), clip, self.pairs, self.gap_s)
        flow = np.linalg.norm(fields, axis=-1).mean(axis=(1, 2))
        camera = np.linalg.norm(np.median(fields, axis=(1, 2)), axis=-1)
        static = float((flow < STILL).mean())
        return MotionScore(clip.clip_id, float(flow.mean()), float(camera.mean()), static)


def pair_flows(thumbs: NDArray[Any], clip: Clip, pairs: int, gap_s: float) -> NDArray[np.float64]:
    """Flow vectors (pair, y, x, [right, down]) in percent of the diagonal a second."""
    gap = min(max(1, round(gap_s * clip.fps)), len(thumbs) - 1)
    starts = np.unique(np.linspace(0, len(thumbs) - 1 - gap, pairs).round().astype(int))
    grey = [cv2.cvtColor(thumb, cv2.COLOR_RGB2GRAY) for thumb in thumbs]
    fields = np.stack([farneback(grey[i], grey[i + gap]) for i in starts.tolist()]).astype(np.float64)
    high, wide = thumbs.shape[1:3]
    diagonal = float(np.hypot(clip.width, clip.height))
    pixel = np.array([clip.width / wide, clip.height / high]) / diagonal
    scaled: NDArray[np.float64] = fields * pixel * (100 * clip.fps / gap)
    return scaled


def farneback(before: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
    """Three pyramid levels reach about a quarter of a thumbnail's width."""
    return cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 9, 3, 5, 1.1, 0)  # type: ignore[call-overload,no-any-return]
