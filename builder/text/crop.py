"""The largest part of the picture without overlay text."""

from collections.abc import Iterable
from itertools import product

from builder.text.motion import Area

LEAST = 0.8  # share of the frame that must be left: the Open-Sora-Plan v1.3 report crops at most 20 % away
GRAIN = 2  # pixels: encoders halve the resolution of colour


def largest_crop(width: int, height: int, taken: Iterable[Area]) -> Area | None:
    """The largest rectangle that no area reaches into and that keeps at least LEAST of the frame, if there is one.

    Its edges are even pixels. Of equally large ones the topmost, then leftmost.
    """
    areas = {area.within(width, height) for area in taken}
    areas = {area for area in areas if area.size}
    lefts = sorted({0, *(even(a.x1, up=True) for a in areas)})
    tops = sorted({0, *(even(a.y1, up=True) for a in areas)})
    rights = sorted({even(width), *(even(a.x0) for a in areas)}, reverse=True)
    bottoms = sorted({even(height), *(even(a.y0) for a in areas)}, reverse=True)
    least = LEAST * even(width) * even(height)
    columns = [(x0, x1) for x0, x1 in product(lefts, rights) if (x1 - x0) * height >= least]
    rows = [(y0, y1) for y0, y1 in product(tops, bottoms) if width * (y1 - y0) >= least]
    best: Area | None = None
    for (top, bottom), (left, right) in product(rows, columns):
        size = (right - left) * (bottom - top)
        if size >= least and size > (best.size if best else 0) and free(areas, left, top, right, bottom):
            best = Area(left, top, right, bottom)
    return best


def free(areas: Iterable[Area], left: int, top: int, right: int, bottom: int) -> bool:
    return all(a.x1 <= left or a.x0 >= right or a.y1 <= top or a.y0 >= bottom for a in areas)


def even(pixel: int, up: bool = False) -> int:
    return (pixel + up) // GRAIN * GRAIN
