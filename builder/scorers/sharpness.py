"""Sharpness: how much fine detail the frames of a clip hold."""

from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from builder.frames import Frames
from builder.records import Score
from builder.stage import settings
from builder.stages.score import Scorer

NEARLY = 0.7  # of the size: a line between two pixels leaves none out


@dataclass(frozen=True, slots=True)
class SharpnessScore(Score):
    """Variance of the Laplacian of luma (Pech-Pacheco et al., ICPR 2000), in squared levels of 255. Noise is detail.

    Attributes:
        laplacian: of frames of the strip, brought to one size so that resolution does not count by itself; median over
            frames. 0 flat or blurred, below 20 soft, hundreds crisp.
        native: of the 128 x 128 stored pixels in the middle of every frame, not scaled; median over frames. 0 ...
            thousands; low beside `laplacian` where the picture was enlarged before it was encoded, or is flat there.
    """

    laplacian: float
    native: float


@settings
class Sharpness(Scorer[SharpnessScore]):
    """Variance of the Laplacian of a frame a second, at most `frames_per_clip`, at `side` pixels on the short side.

    About 4 ms a clip.
    """

    plugin: ClassVar[str] = "sharpness"
    version: ClassVar[int] = 2
    writes: ClassVar[type[SharpnessScore]] = SharpnessScore

    frames_per_clip: Annotated[int, Field(ge=1)] = 3
    side: Annotated[int, Field(ge=16)] = 256

    def score(self, frames: Frames) -> SharpnessScore:
        clip = frames.clip
        count = min(self.frames_per_clip, max(1, round(clip.duration_s)))
        found = (self._variance(frames.strip.grey(i)) for i in frames.spread(count))
        native = np.nanmedian(frames.evidence.sharpness[clip.start_frame : clip.end_frame])
        return SharpnessScore(clip.clip_id, laplacian=median(found), native=float(native))

    def _variance(self, luma: NDArray[Any]) -> float:
        height, width = luma.shape
        scale = self.side / min(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        way = cv2.INTER_AREA if scale < NEARLY else cv2.INTER_LINEAR  # over areas is five times the work
        edges = cv2.Laplacian(cv2.resize(luma, size, interpolation=way), cv2.CV_16S)
        return cv2.norm(edges, cv2.NORM_L2SQR) / edges.size  # the mean is next to 0
