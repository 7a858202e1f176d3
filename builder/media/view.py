"""Which part of the picture a clip shows, and how large: crop, then scale. And at which moments: resampling."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

T = TypeVar("T")
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class View:
    """Of upright pictures of the size `of`, the pixels x0 <= x < x1, y0 <= y < y1 of `box`, scaled to `size`.

    All numbers of box and size are even, as 4:2:0 needs. `square`: the result's pixels are; else as they were.
    """

    of: tuple[int, int]
    box: Box
    size: tuple[int, int]
    square: bool = False

    @property
    def words(self) -> list[str]:
        x0, x1, y0, y1 = self.box
        cropped = (x0, y0, x1, y1) != (0, 0, self.of[0] & ~1, self.of[1] & ~1)
        scaled = self.size != (x1 - x0, y1 - y0)
        return [f"cropped to x {x0}:{x1} y {y0}:{y1} of {self.of[0]}x{self.of[1]}"] * cropped + [
            f"scaled to {self.size[0]}x{self.size[1]} (bicubic)"
        ] * scaled


def view_of(
    of: tuple[int, int], aspect: Fraction, crop: Box | None, short_side: int, size: tuple[int, int] | None
) -> View | None:
    """What is asked for, or None where that is the whole picture as it is.

    `aspect` is that of a pixel. `crop` as View.box, rounded inwards; `short_side` 0 and `size` None leave the size as
    it is. Where `size` has another shape than the picture, its middle is shown: nothing is stretched.
    """
    x0, x1, y0, y1 = crop or (0, of[0], 0, of[1])
    x0, x1, y0, y1 = x0 + (x0 & 1), x1 & ~1, y0 + (y0 & 1), y1 & ~1
    if size:
        x0, x1 = _middle(x0, x1, Fraction(size[0], size[1]) / aspect * (y1 - y0))
        y0, y1 = _middle(y0, y1, Fraction(size[1], size[0]) * aspect * (x1 - x0))
    wide, high = x1 - x0, y1 - y0
    if wide <= 0 or high <= 0:
        return None
    if size:
        wide, high = size
    elif short_side and min(wide, high) > short_side:
        scale = Fraction(short_side, min(wide, high))
        wide, high = _even(wide * scale), _even(high * scale)
    whole = (x0, x1, y0, y1) == (0, of[0] & ~1, 0, of[1] & ~1) and (wide, high) == (x1 - x0, y1 - y0)
    square = bool(size) and aspect != 1
    return None if whole and not square else View(of, (x0, x1, y0, y1), (wide, high), square)


def _middle(start: int, end: int, most: Fraction) -> tuple[int, int]:
    """The middle of a range, of at most so much."""
    kept = min(end - start, _even(most))
    start += (end - start - kept) // 2 & ~1
    return start, start + kept


def _even(number: Fraction) -> int:
    return max(2, 2 * round(number / 2))


def resampled(shown: Iterable[tuple[T, Fraction]], end_s: Fraction, fps: Fraction) -> Iterator[tuple[T, int]]:
    """The picture that is on screen at the middle of each of round(end_s * fps) frames, with the frame's number.

    `shown` are pictures with their times, the first at 0. So pictures are left out or repeated, never moved by more
    than half a frame, and a rate that is a whole fraction of the source's takes each n-th.
    """
    total, number, held = frames_of(end_s, fps), 0, None
    for picture, time_s in shown:
        while held is not None and number < total and number + Fraction(1, 2) <= time_s * fps:
            yield held[0], number
            number += 1
        held = (picture,)
    while held is not None and number < total:
        yield held[0], number
        number += 1


def frames_of(duration_s: Fraction, fps: Fraction) -> int:
    return max(1, round(duration_s * fps))
