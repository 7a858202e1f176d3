"""Flicker: how much the light of the whole picture goes up and down, whatever moves in it."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from builder.errors import ItemError
from builder.frames import Frames
from builder.media.evidence import THUMB_WIDTH
from builder.records import Score
from builder.stage import settings
from builder.stages.score import Scorer

ROWS, COLUMNS = 3, 6  # blocks of 9 x 8 thumbnail pixels
LEAST_FRAMES = 3  # of a mean: where they are few, it goes over more than `window_s`
LEAST_S = 0.5


@dataclass(frozen=True, slots=True)
class FlickerScore(Score):
    """From the thumbnails of all frames.

    Attributes:
        luma: how far luma is from its mean over a third of a second, in levels, 0 none ... 127; below 0.5 usual, above
            1 seen. As FFmpeg's deflicker has it, but the median over 18 blocks, so that what moves in less than half
            of the picture does not count, and the median over each second, so that a cut or a flash does not; of
            seconds the mean. A fade does not count, nor does what is slower than about 2 Hz.
    """

    luma: float


@settings
class Flicker(Scorer[FlickerScore]):
    """Oscillation of luma about its mean over `window_s`. About 3 ms a clip."""

    plugin: ClassVar[str] = "flicker"
    writes: ClassVar[type[FlickerScore]] = FlickerScore

    window_s: Annotated[float, Field(gt=0)] = 0.3

    def score(self, frames: Frames) -> FlickerScore:
        clip = frames.clip
        if clip.duration_s < LEAST_S or clip.frames < LEAST_FRAMES:
            what = f"{clip.clip_id} is {clip.duration_s:.2f} s long; to flicker takes {LEAST_S} s: raise split.min_s"
            raise ItemError("too_short", what)
        half = min(max(LEAST_FRAMES // 2, int(self.window_s * clip.fps / 2)), (clip.frames - 1) // 2)
        off = np.median(about_mean(blocks(frames.luma()), half), axis=1)
        seconds = np.array_split(np.abs(off), max(1, round(clip.duration_s)))
        return FlickerScore(clip.clip_id, luma=float(np.mean([np.median(second) for second in seconds])))


def blocks(luma: NDArray[Any]) -> NDArray[np.float64]:
    """Mean luma of each block (n, 18)."""
    rows = luma.reshape(-1, THUMB_WIDTH).astype(np.float32)  # all as one tall picture
    means = cv2.resize(rows, (COLUMNS, ROWS * len(luma)), interpolation=cv2.INTER_AREA)
    return means.reshape(len(luma), -1).astype(np.float64)


def about_mean(values: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """Less the mean over `half` frames before to `half` after; a fade goes on as it is beyond both ends."""
    longer = np.pad(values, ((half + 1, half), (0, 0)), mode="reflect", reflect_type="odd")
    sums = np.cumsum(longer, axis=0)
    width = 2 * half + 1
    mean: NDArray[np.float64] = (sums[width:] - sums[:-width]) / width
    return values - mean
