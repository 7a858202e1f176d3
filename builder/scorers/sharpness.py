"""Sharpness: how much fine detail the frames of a clip hold."""

from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any, ClassVar

import cv2
from numpy.typing import NDArray
from pydantic import Field

from builder.frames import Frames
from builder.records import Score
from builder.stage import settings
from builder.stages.score import Scorer


@dataclass(frozen=True, slots=True)
class SharpnessScore(Score):
    """From frames of the strip, brought to one size so that resolution does not count by itself.

    Attributes:
        laplacian: variance of the Laplacian of luma (Pech-Pacheco et al., ICPR 2000), median over frames, in
            squared levels of 255; 0 flat or blurred, below 20 soft, hundreds crisp. Noise counts as detail.
    """

    laplacian: float


@settings
class Sharpness(Scorer[SharpnessScore]):
    """Variance of the Laplacian of `frames` frames at `side` pixels on the short side."""

    plugin: ClassVar[str] = "sharpness"
    writes: ClassVar[type[SharpnessScore]] = SharpnessScore

    frames_per_clip: Annotated[int, Field(ge=1)] = 5
    side: Annotated[int, Field(ge=16)] = 256

    def score(self, frames: Frames) -> SharpnessScore:
        found = (self._variance(image) for image in frames.images(self.frames_per_clip))
        return SharpnessScore(frames.clip.clip_id, laplacian=median(found))

    def _variance(self, image: NDArray[Any]) -> float:
        height, width = image.shape[:2]
        scale = self.side / min(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=way)
        return float(cv2.Laplacian(grey, cv2.CV_64F).var())
