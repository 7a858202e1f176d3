"""Clips made here: soft blobs that drift, as `describe` gets them, and copies of them that look different."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.duplicates.describe import Description, describe
from builder.duplicates.match import Clips

Thumbs = NDArray[np.uint8]
Times = NDArray[np.float64]
FPS = 24.0
SIZE = (480, 270)


@cache
def drifting(seed: int, seconds: float = 4.0, fps: float = FPS) -> tuple[Thumbs, Times]:
    """Two layers of blobs that slide over each other at speeds that change: a shot like no other. Full size."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.integers(0, 256, (14, 24, 3), np.uint8), (960, 540), interpolation=cv2.INTER_CUBIC) for _ in "ab"
    ]
    speeds, phases = rng.uniform(0.5, 2.0, 4), rng.uniform(0, 6, 4)
    times = np.arange(round(seconds * fps) + 1) / fps
    frames = []
    for t in times[:-1]:
        x, y, u, v = (0.5 + 0.5 * np.sin(speeds * t + phases)) * (480, 270, 480, 270)
        a, b = layers[0][int(y) :, int(x) :], layers[1][int(v) :, int(u) :]
        frames.append(cv2.addWeighted(a[:270, :480], 0.6, b[:270, :480], 0.4, 0))
    stacked = np.stack(frames)
    stacked.setflags(write=False)
    return stacked, times


def small(frames: Thumbs) -> Thumbs:
    return np.stack([cv2.resize(frame, (48, 27), interpolation=cv2.INTER_AREA) for frame in frames])


def altered(frames: Thumbs, way: Callable[[Thumbs], Thumbs]) -> Thumbs:
    return np.stack([way(frame) for frame in frames])


def seen(frames: Thumbs, times: Times) -> Description:
    return describe(small(frames), times)


def clips(*found: Description, videos: list[int] | None = None) -> Clips:
    """In the order given, each of a video of its own unless `videos` says otherwise."""
    return Clips(
        np.concatenate([one.moments for one in found]),
        np.cumsum([0, *(len(one.moments) for one in found)]),
        np.array(videos or range(len(found))),
        np.array([one.first for one in found]),
    )
