"""Shake: how much the camera trembles, whatever moves before it and however it pans."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from builder.errors import ItemError
from builder.flow import Floats, Vectors, diagonal_percent
from builder.frames import Frames
from builder.media.evidence import THUMB_WIDTH
from builder.records import Score
from builder.stage import settings
from builder.stages.score import Scorer

TALL, WIDE = 7, 5  # thumbnail pixels of a block
ROWS, COLUMNS = slice(3, 24), slice(1, 46)  # of gradients that blocks are made of: the rest knows of other frames
SIGMA = 1.0  # thumbnail pixels: gradients mean something where the picture is smooth
CALM = 10.0  # squared levels: what keeps a flat block from seeming to move
REACH = 3.0  # thumbnail pixels a frame; beyond that there is no telling
BATCH = 32  # frames whose arrays stay in the cache
ENOUGH_FPS = 25
LEAST_S = 0.5
SMOOTH_SIGMAS = 3


@dataclass(frozen=True, slots=True)
class ShakeScore(Score):
    """From the thumbnails of about 25 frames a second.

    Attributes:
        jitter: mean distance of the camera's path from that path smoothed over 0.1 s (what is faster than about
            1.5 Hz), in percent of the frame's diagonal; below 0.05 a tripod, 0.1 ... 0.4 a hand, above 0.5 shaken. The
            path is the sum of the median shifts of 27 blocks (each by least squares: Lucas and Kanade, IJCAI 1981),
            so that what moves within less than half of the picture is no shake.
    """

    jitter: float


@settings
class Shake(Scorer[ShakeScore]):
    """Trembling of the camera: its path less the path smoothed by a Gaussian of `smooth_s`.

    Of a clip longer than `longest_s` that much of the middle is looked at. About 5 ms a clip.
    """

    plugin: ClassVar[str] = "shake"
    writes: ClassVar[type[ShakeScore]] = ShakeScore

    smooth_s: Annotated[float, Field(gt=0)] = 0.1
    longest_s: Annotated[float, Field(ge=1)] = 8.0

    def score(self, frames: Frames) -> ShakeScore:
        clip = frames.clip
        if clip.duration_s < LEAST_S:
            what = f"{clip.clip_id} is {clip.duration_s:.2f} s long; to shake takes {LEAST_S} s: raise split.min_s"
            raise ItemError("too_short", what)
        every = max(1, round(clip.fps / ENOUGH_FPS))
        spare = max(0, clip.frames - round(self.longest_s * clip.fps))
        luma = frames.luma()[spare // 2 : clip.frames - spare // 2 : every]
        moved = np.concatenate([steps(luma[i : i + BATCH + 1]) for i in range(0, len(luma) - 1, BATCH)])
        path = diagonal_percent(clip) * np.cumsum(moved, axis=0)
        off = path - smoothed(path, self.smooth_s * clip.fps / every)
        return ShakeScore(clip.clip_id, jitter=float(np.linalg.norm(off, axis=1).mean()))


def steps(luma: NDArray[Any]) -> Floats:
    """Thumbnail pixels right and down that the camera sees the world move, from each frame to the next (n - 1, 2)."""
    rows = luma.reshape(-1, THUMB_WIDTH).astype(np.float32)  # all as one tall picture
    smooth = cv2.GaussianBlur(rows, (5, 5), SIGMA).reshape(luma.shape)
    before, now = smooth[:-1], smooth[1:]
    both = before + now
    gx: Any = ((both[:, 1:-1, 2:] - both[:, 1:-1, :-2]) / 4)[:, ROWS, COLUMNS]
    gy: Any = ((both[:, 2:, 1:-1] - both[:, :-2, 1:-1]) / 4)[:, ROWS, COLUMNS]
    change = (now - before)[:, 1:-1, 1:-1][:, ROWS, COLUMNS]
    xx, yy = blocks(gx * gx) + CALM, blocks(gy * gy) + CALM
    xy, xt, yt = blocks(gx * gy), blocks(gx * change), blocks(gy * change)
    determinant = xx * yy - xy * xy
    x = np.median((xy * yt - yy * xt) / determinant, axis=(1, 2))
    y = np.median((xy * xt - xx * yt) / determinant, axis=(1, 2))
    return np.clip(np.column_stack([x, y]), -REACH, REACH).astype(np.float64)


def blocks(values: Vectors) -> Vectors:
    """Sums over blocks (n, 3, 9)."""
    n, height, width = values.shape
    sums = values.reshape(n * height, width) @ np.repeat(np.eye(width // WIDE, dtype=np.float32), WIDE, axis=0)
    return cast(Vectors, sums.reshape(n, height // TALL, TALL, -1).sum(axis=2))


def smoothed(path: Floats, sigma: float) -> Floats:
    """By a Gaussian of `sigma` frames; a steady pan goes on as it is beyond both ends."""
    reach = min(max(1, round(SMOOTH_SIGMAS * sigma)), len(path) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    longer = np.pad(path, ((reach, reach), (0, 0)), mode="reflect", reflect_type="odd")
    return np.column_stack([np.convolve(axis, kernel / kernel.sum(), "valid") for axis in longer.T])
