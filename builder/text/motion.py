"""Whether what is inside a box stays on the screen from one frame to another, or moves, and what its surroundings do.

Pictures are compared by their gradients, as vectors (correlation of oriented edges): an overlay that is half
transparent keeps its edges while what shines through changes, and a fade scales them but does not turn them.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Gradients = NDArray[np.float32]
NEAR = 1  # pixels that a thing which stays may seem to move by
UNLIKELY = 0.2  # correlation of a box with its own place, below which it is not there, nor a pixel beside
ENOUGH = 8000  # pixels that tell how alike two areas are
REACH = 96  # pixels that it is searched for around where it was


@dataclass(frozen=True)
class Area:
    """A rectangle on the screen in pixels: x0 <= x < x1, y0 <= y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def size(self) -> int:
        return max(0, self.x1 - self.x0) * max(0, self.y1 - self.y0)

    @property
    def slender(self) -> float:
        """Its longer side over its shorter one."""
        sides = max(1, self.x1 - self.x0), max(1, self.y1 - self.y0)
        return max(sides) / min(sides)

    def grown(self, by: int) -> "Area":
        return Area(self.x0 - by, self.y0 - by, self.x1 + by, self.y1 + by)

    def moved(self, x: int, y: int) -> "Area":
        return Area(self.x0 + x, self.y0 + y, self.x1 + x, self.y1 + y)

    def scaled(self, across: float, down: float) -> "Area":
        """All pixels that it touches in a picture of another size."""
        return Area(int(self.x0 * across), int(self.y0 * down), math.ceil(self.x1 * across), math.ceil(self.y1 * down))

    def common(self, other: "Area") -> "Area":
        """What both cover; its size is 0 if that is nothing."""
        return Area(max(self.x0, other.x0), max(self.y0, other.y0), min(self.x1, other.x1), min(self.y1, other.y1))

    def within(self, width: int, height: int) -> "Area":
        return self.common(Area(0, 0, width, height))

    def of(self, picture: NDArray[Any]) -> NDArray[Any]:
        return picture[self.y0 : self.y1, self.x0 : self.x1]


class Shown:
    """A grey picture (height, width), uint8, shown at `time_s`, with what is compared of it."""

    def __init__(self, grey: NDArray[np.uint8], time_s: float = 0.0) -> None:
        self.grey, self.time_s = grey, time_s
        self.height, self.width = grey.shape

    @cached_property
    def edges(self) -> Gradients:
        """Gradient (x, y) of each pixel in levels a pixel, (height, width, 2)."""
        smooth = cv2.GaussianBlur(self.grey, (3, 3), 0).astype(np.float32)
        pair = [cv2.Sobel(smooth, cv2.CV_32F, dx, dy, scale=0.125) for dx, dy in ((1, 0), (0, 1))]
        return np.dstack(pair).astype(np.float32)

    @cached_property
    def coarse(self) -> "Shown":
        half = (max(1, self.width // 2), max(1, self.height // 2))
        return Shown(cast(NDArray[np.uint8], cv2.resize(self.grey, half, interpolation=cv2.INTER_AREA)), self.time_s)


def stays(before: Gradients, now: Gradients, box: Area) -> tuple[float, int, int]:
    """The best correlation (-1..1) of the box with its own place, NEAR pixels more or less, and which: right, down."""
    every = np.ones(before.shape[:2], np.float32)
    there = alike(before, now, every, box)[0], 0, 0
    if there[0] < UNLIKELY:
        return there
    offsets = [(x, y) for x, y in product(range(-NEAR, NEAR + 1), repeat=2) if (x, y) != (0, 0)]
    return max(there, *((alike(before, now, every, box, by)[0], *by) for by in offsets), key=lambda found: found[0])


def found(before: Gradients, now: Gradients, box: Area, reach: int) -> tuple[float, int, int]:
    """The best correlation (0..1) of the box with a place at most `reach` pixels away, and how far right and down."""
    patch = box.of(before)
    window = box.grown(reach).within(now.shape[1], now.shape[0])
    if not patch.size or not patch.any():
        return 0.0, 0, 0
    scores = cv2.matchTemplate(window.of(now), patch, cv2.TM_CCORR_NORMED)
    scores = np.where(np.isfinite(scores), scores, 0)
    y, x = (int(n) for n in np.unravel_index(int(scores.argmax()), scores.shape))
    return float(min(1.0, scores[y, x])), window.x0 + x - box.x0, window.y0 + y - box.y0


def alike(
    before: Gradients, now: Gradients, free: NDArray[np.float32], area: Area, by: tuple[int, int] = (0, 0)
) -> tuple[float, float]:
    """Correlation (-1..1) of an area with the place so many pixels right and down, and its texture.

    Texture is the root mean square of the gradient, in levels a pixel. Only pixels where `free` is 1 count, not those
    where it is 0; of far more than ENOUGH only some, evenly spread.
    """
    height, width = free.shape
    x, y = by
    here = area.within(width, height).moved(x, y).within(width, height).moved(-x, -y)
    if not here.size:
        return 0.0, 0.0
    step = max(1, math.isqrt(here.size // ENOUGH))
    part = slice(None, None, step), slice(None, None, step)
    share = here.of(free)[part][..., None]
    a, b = here.of(before)[part] * share, here.moved(x, y).of(now)[part] * share
    energy = float(np.vdot(a, a)), float(np.vdot(b, b))
    texture = float(np.sqrt(max(energy) / max(1.0, float(share.sum()))))
    return (float(np.vdot(a, b)) / float(np.sqrt(energy[0] * energy[1])) if min(energy) > 0 else 0.0), texture
