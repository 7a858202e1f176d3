"""Borders: bars around the picture (letterbox, pillarbox, windowbox), and the crop without them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from builder.frames import Frames
from builder.records import Score
from builder.stage import settings
from builder.stages.score import Mark, Scorer

NEAR = 8  # levels of luma by which an encoded bar differs from its own colour
FLAT, BUSY = 0.97, 0.4  # shares of a line: in one colour, of the outermost; in others, where there is writing in a bar
BLUR = 2  # lines over which an edge may be spread, and by which bars of the same width differ
TWINS, ALONE = 0.35, 0.6  # share of the line along which the picture begins: at each of two equal bars, at a single one
WHOLE = 0.9  # of that share: there the picture has begun
BLACK = 24


@dataclass(frozen=True, slots=True)
class BordersScore(Score):
    """From frames of the strip: lines that keep one colour all the time, up to a sharp edge along the picture.

    (FFmpeg's cropdetect asks that they be dark; a dark scene is no border here, and a white bar is one.)

    Attributes:
        share: share of the frame that is border, 0 none ... 1.
        letterbox: share of the height above and below the picture, 0 ... 1.
        pillarbox: share of the width left and right of it, 0 ... 1.
        s_x: the crop without borders is s_x <= x < e_x and s_y <= y < e_y, in whole pixels of the clip.
        e_x: see `s_x`.
        s_y: see `s_x`.
        e_y: see `s_x`.
    """

    share: float
    letterbox: float
    pillarbox: float
    s_x: float
    e_x: float
    s_y: float
    e_y: float


@settings
class Borders(Scorer[BordersScore]):
    """Bars of equal width on both sides, or a black one on one side, that are there on `frames_per_clip` frames.

    Looking ends at the first frame without. Bars filled with a blurred picture are none. About 2 ms a clip, 10 with.
    """

    plugin: ClassVar[str] = "borders"
    writes: ClassVar[type[BordersScore]] = BordersScore

    frames_per_clip: Annotated[int, Field(ge=1)] = 6

    def score(self, frames: Frames) -> BordersScore:
        clip = frames.clip
        pictures = list(framed(frames.strip.grey(i) for i in frames.spread(self.frames_per_clip)))
        top, bottom = bars(pictures)
        left, right = bars([picture.T for picture in pictures])
        return BordersScore(
            clip.clip_id,
            share=1 - (1 - left - right) * (1 - top - bottom),
            letterbox=top + bottom,
            pillarbox=left + right,
            s_x=float(round(left * clip.width)),
            e_x=float(round((1 - right) * clip.width)),
            s_y=float(round(top * clip.height)),
            e_y=float(round((1 - bottom) * clip.height)),
        )

    def marks(self, frames: Frames, found: BordersScore, picture: int) -> list[Mark]:
        """The crop, where there is one."""
        wide, high = frames.clip.width, frames.clip.height
        left, right, top, bottom = found.s_x / wide, found.e_x / wide, found.s_y / high, found.e_y / high
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        return [Mark(corners, "crop")] if found.share else []


def framed(pictures: Iterable[NDArray[Any]]) -> Iterable[NDArray[Any]]:
    """The pictures; none of them if one has no outermost lines like those of bars."""
    found = []
    for picture in pictures:
        sides = [outermost(line) for line in (picture[0], picture[-1], picture[:, 0], picture[:, -1])]
        twins = any(a >= 0 and b >= 0 and abs(a - b) <= NEAR for a, b in (sides[:2], sides[2:]))
        if not (twins or any(0 <= side <= BLACK for side in sides)):
            return []
        found.append(picture)
    return found


def outermost(line: NDArray[Any]) -> float:
    """The colour of a line; -1 if it has several."""
    colour = float(np.median(line))
    return colour if (abs(line - colour) <= NEAR).mean() >= FLAT else -1.0


@dataclass(frozen=True)
class Bar:
    """What may be a border above the picture, with the share of the line along which the picture begins."""

    lines: int = 0
    colour: float = 0.0
    edge: float = 0.0
    blank: bool = False


def bars(pictures: list[NDArray[Any]]) -> tuple[float, float]:
    """Shares of the height that are border, above and below."""
    if not pictures:
        return 0.0, 0.0
    found, height = [bar(pictures), bar([picture[::-1] for picture in pictures])], len(pictures[0])
    above, below = found
    twins = abs(above.lines - below.lines) <= BLUR and abs(above.colour - below.colour) <= NEAR
    if twins and min(above.edge, below.edge) >= TWINS:
        return above.lines / height, below.lines / height
    alone = [one.colour <= BLACK and one.blank and one.edge >= ALONE for one in found]
    first, last = (one.lines / height if right else 0.0 for one, right in zip(found, alone, strict=True))
    return first, last


def bar(pictures: list[NDArray[Any]]) -> Bar:
    """Where most of a line, within BLUR lines, begins to be of another colour than the outermost line."""
    colour = float(np.median([np.median(picture[0]) for picture in pictures]))
    half = len(pictures[0]) // 2
    same = [cv2.inRange(np.ascontiguousarray(p[:half]), colour - NEAR, colour + NEAR) for p in pictures]  # type: ignore[call-overload]
    share = 1 - np.logical_and.reduce(same).mean(axis=1)  # that differs at any time
    if share[0] > 1 - FLAT or half <= 2 * BLUR:
        return Bar()
    jump = share[2 * BLUR :] - share[: -2 * BLUR]
    within = np.flatnonzero(np.maximum.accumulate(share)[: len(jump)] <= BUSY)
    at = int(within[jump[within].argmax()])
    edge = share[at : at + 2 * BLUR + 1]
    lines = at + int((edge >= WHOLE * edge[-1]).argmax())
    return Bar(lines, colour, float(jump[at]), bool(share[: at + 1].max() <= 1 - FLAT))
