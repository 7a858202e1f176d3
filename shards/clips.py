"""Which frames of a clip are given out, and what clips are alike enough for one batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from open_sora_dataset import Video
from shards.catalog import Catalog
from shards.order import Ints

NEAR = 1e-6  # frames; 23.976 / 8 * 3 must not fall below the frame it means


@dataclass(frozen=True)
class Sampling:
    """`lengths` numbers of frames, of which a clip gives the largest that it is long enough for (none: the whole clip)
    at `fps` frames a second of the clip's own time (0: as it is). What a clip has more than that is left out at both
    ends (`center`), or at ends chosen anew in each epoch."""

    lengths: tuple[int, ...] = ()
    fps: float = 0.0
    start: Literal["random", "center"] = "random"

    def step(self, fps: Any) -> Any:
        """Frames of the clip from one frame given out to the next."""
        return fps / self.fps if self.fps else fps / fps

    def length(self, catalog: Catalog) -> Ints:
        """Frames that each clip gives; 0 for one that is too short."""
        step = self.step(catalog.fps)
        most: Ints = np.floor((catalog.frames - 1) / step + NEAR).astype(np.int64) + 1
        if not self.lengths:
            return most
        known = np.array([0, *sorted(self.lengths)])
        length: Ints = known[np.searchsorted(known, most, side="right") - 1]
        return length

    def frames(self, count: int, fps: float, length: int, chance: int) -> Ints:
        """`length` frames of a clip of `count`; `chance` (any number) says which, when the start is random."""
        places: Ints = np.floor(np.arange(length) * self.step(fps) + NEAR).astype(np.int64)
        spare = count - int(places[-1])
        places += chance % spare if self.start == "random" else (spare - 1) // 2
        return places


def bucket_of(catalog: Catalog, lengths: Ints, aspects: Sequence[float]) -> tuple[Ints, Ints]:
    """A number for each sample, equal where length and nearest aspect are, and the number of that aspect. Near is meant
    as a ratio: 1.5 lies as far from 1 as from 2.25."""
    if aspects:
        apart = np.abs(np.log(catalog.aspect)[:, None] - np.log(np.array(aspects, float)))
        aspect = np.argmin(apart, axis=1)
    else:
        aspect = np.zeros(len(catalog), np.int64)
    bucket = np.unique(np.stack([aspect, lengths]), axis=1, return_inverse=True)[1]
    return bucket.reshape(-1).astype(np.int64), aspect.astype(np.int64)


def decode(video: bytes, count: int, frames: Ints) -> NDArray[np.uint8]:
    """uint8 [T, H, W, 3], upright. ValueError for what no decoder understands, whatever the decoder raises."""
    try:
        pixels = Video(video, count).frames([int(frame) for frame in frames])
    except ImportError:
        raise
    except Exception as error:
        raise ValueError(f"cannot be decoded: {type(error).__name__}: {str(error)[:200]}") from error
    return np.ascontiguousarray(pixels)
