"""Boxes followed over the strip: whether their text was put over the picture or belongs to the scene.

What was put over the picture stays on the screen while what surrounds it, or the picture as a whole, moves or changes;
or it rolls evenly along one axis without it. What belongs to the scene goes where the scene goes. Where nothing moves,
motion says nothing; nor does text that goes while the rest stays, for things are taken out of a picture, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from builder.pretrained.ppocr import Box
from builder.text.motion import REACH, Area, Shown, alike, found, stays

STAYS, GONE = 0.5, 0.2  # correlation of a box with the same place in another frame: its text is there, or is not
MOVED, MAYBE = 0.7, 0.4  # correlation of a box with another place: its text is there, or is if others roll so, too
AGREES, DIFFERS = 0.6, 0.3  # correlation of surroundings that stayed, or did not
UNLIKE = 0.45  # correlation of a whole picture that did not stay: the edges of black bars always do
TEXTURE, FAINT = 2.0, 1.0  # levels a pixel: least texture of surroundings, and of a whole picture, to be compared
COLLAR = 12  # pixels, at least, of surroundings on each side of a box; its own height if that is more
CLEAR = 4  # pixels around all boxes that are no surroundings
SHARE = 3  # one frame in so many, of those in which text stays, must show that the rest does not
SLOWEST = 4  # pixels that a thing which moves goes from one frame to another
ROLLING = 18  # pixels a second: slower text is not taken for credits
STRAIGHT = 2  # pixels across the way that rolling text may seem to stray
ROLLS = 1.2  # sum of the correlations of moves that agree
EVEN = 0.25  # share by which its speed may seem to differ from the others'


@dataclass(frozen=True)
class Move:
    """A box found elsewhere with a correlation of `score`: seconds later (negative: earlier), pixels right and down.

    `alone`: what is around it did not go along; `apart`: the picture as a whole did not.
    """

    score: float
    later_s: float
    right: int
    down: int
    alone: bool
    apart: bool

    @property
    def rolling(self) -> tuple[float, float] | None:
        """Pixels a second right and down if this is how credits or tickers move: straight, and not with the picture.

        Vehicles move sideways, too, but what is around their lettering goes along.
        """
        right, down = self.right / self.later_s, self.down / self.later_s
        if abs(self.right) <= STRAIGHT and abs(down) >= ROLLING and self.apart:
            return 0.0, down
        if abs(self.down) <= STRAIGHT and abs(right) >= ROLLING and self.apart and self.alone:
            return right, 0.0
        return None


@dataclass
class Track:
    """One box of one frame, and where its text is in the others.

    `over` and `scene` count the frames that speak for text put over the picture, or for text in the scene; `still`
    those in which nothing moves.
    """

    box: Box
    area: Area
    look: int
    places: dict[int, Area] = field(default_factory=dict)
    over: int = 0
    scene: int = 0
    still: int = 0
    moves: list[Move] = field(default_factory=list)
    rolls: bool = False

    @property
    def proven(self) -> bool:
        """Whether its motion shows, more than once, that it was put over the picture."""
        return self.overlay is True and (self.rolls or self.over >= 2)  # noqa: PLR2004

    @property
    def overlay(self) -> bool | None:
        """Whether its motion shows that it was put over the picture; None if nothing moves that could show it."""
        if self.rolls or (self.over > self.scene and self.over * SHARE >= self.still):
            return True
        return None if self.still and not self.scene else False


class Look:
    """The boxes that were found in one frame, and the other frames they are followed to."""

    def __init__(self, number: int, shown: Mapping[int, Shown], boxes: Sequence[Box]) -> None:
        self.number, self.shown, self.here = number, shown, shown[number]
        size = self.here.width, self.here.height
        self.tracks = [Track(box, area_of(box, *size), number) for box in boxes]
        self.everywhere = lru_cache(maxsize=None)(self._everywhere)

    def follow(self) -> list[Track]:
        """The tracks, once their text has been looked for in every frame."""
        for track in self.tracks:
            track.places[self.number] = track.area
            for number in sorted(self.shown):
                if number != self.number:
                    self._compare(track, number)
        return self.tracks

    @cached_property
    def free(self) -> NDArray[np.float32]:
        """1 where no box is."""
        free = np.ones((self.here.height, self.here.width), np.float32)
        for track in self.tracks:
            track.area.grown(CLEAR).within(self.here.width, self.here.height).of(free)[:] = 0
        return free

    def _compare(self, track: Track, number: int) -> None:
        """Note what one other frame says of a track."""
        box, there = track.area, self.shown[number]
        kept, x, y = stays(self.here.edges, there.edges, box)
        if kept >= STAYS:
            track.places[number] = box.moved(x, y)
            changed = self._changed(box, number, x, y)
            if x == y == 0:
                track.over += changed
                track.still += not changed
            else:  # what creeps by a pixel was not drawn there
                track.scene += not changed
            return
        moved, x, y = self._elsewhere(box, there)
        if moved >= MAYBE:
            self._note(track, number, moved, x, y)
        if moved >= MOVED:
            track.places[number] = box.moved(x, y).within(self.here.width, self.here.height)
            return
        around, texture = self._around(box, number, 0, 0)
        track.still += kept < GONE and texture >= TEXTURE and around >= AGREES

    def _changed(self, box: Area, number: int, x: int, y: int) -> bool:
        """Whether the picture as a whole is not what it was, or at least what surrounds a box is not.

        While the picture rests, hands and passers-by change what surrounds a box and prove nothing.
        """
        picture, faint = self.everywhere(number, x // 2, y // 2)
        if faint >= FAINT and not UNLIKE <= picture < AGREES:
            return picture < UNLIKE
        around, texture = self._around(box, number, x, y)
        return texture >= TEXTURE and around < DIFFERS

    def _note(self, track: Track, number: int, score: float, x: int, y: int) -> None:
        if max(abs(x), abs(y)) < SLOWEST:
            return
        around, texture = self._around(track.area, number, x, y)
        picture, faint = self.everywhere(number, x // 2, y // 2)
        apart = faint < FAINT or picture < DIFFERS
        alone = around < DIFFERS if texture >= TEXTURE else apart
        track.moves.append(Move(score, self.shown[number].time_s - self.here.time_s, x, y, alone, apart))
        track.scene += score >= MOVED and not (alone and apart)

    def _around(self, box: Area, number: int, x: int, y: int) -> tuple[float, float]:
        collar = box.grown(max(COLLAR, box.y1 - box.y0))
        return alike(self.here.edges, self.shown[number].edges, self.free, collar, (x, y))

    def _everywhere(self, number: int, x: int, y: int) -> tuple[float, float]:
        """At half the size."""
        a, b = self.here.coarse, self.shown[number].coarse
        free = self.free[: 2 * a.height : 2, : 2 * a.width : 2]
        return alike(a.edges, b.edges, free, Area(0, 0, a.width, a.height), (x, y))

    def _elsewhere(self, box: Area, there: Shown) -> tuple[float, int, int]:
        """As `found`, over the whole reach, at half the size."""
        a, b = self.here.coarse, there.coarse
        half = Area(box.x0 // 2, box.y0 // 2, -(-box.x1 // 2), -(-box.y1 // 2)).within(a.width, a.height)
        score, x, y = found(a.edges, b.edges, half, REACH // 2)
        return score, 2 * x, 2 * y


def area_of(box: Box, width: int, height: int) -> Area:
    (left, top), (right, bottom) = np.floor(box.corners.min(axis=0)), np.ceil(box.corners.max(axis=0))
    return Area(int(left), int(top), int(right), int(bottom)).within(width, height)


def find_rolling(tracks: Sequence[Track]) -> None:
    """Mark the tracks that roll: moves of the clip that agree on one speed along one axis, and add up to ROLLS."""
    loose = [track for track in tracks if track.over + track.still <= 1]  # what stays where it is does not roll
    moves = [(track, move, move.rolling) for track in loose for move in track.moves]
    going = [(track, move, speed) for track, move, speed in moves if speed is not None]
    for axis in (0, 1):
        along = [(track, move, speed[axis]) for track, move, speed in going if speed[axis]]
        if not along:
            continue
        typical = float(np.median([speed for _, _, speed in along]))
        even = [(t, m) for t, m, speed in along if abs((speed - typical) * m.later_s) <= stray(typical * m.later_s)]
        if len(even) >= 2 and len(even) * 2 > len(going) and sum(move.score for _, move in even) >= ROLLS:  # noqa: PLR2004
            for track, _ in even:
                track.rolls = True


def stray(way: float) -> float:
    return STRAIGHT + EVEN * abs(way)
