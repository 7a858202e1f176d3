"""The search for text in one clip: which frames are looked at, what is read, and what each box turned out to be."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.frames import Frames
from builder.pretrained.ppocr import PPOCR, Box, Line
from builder.text.crop import largest_crop
from builder.text.drawn import drawn
from builder.text.motion import Area, Shown
from builder.text.presets import Preset
from builder.text.strokes import Screen
from builder.text.tracks import Look, Track, area_of, find_rolling

Picture = NDArray[Any]
CLOSE, QUICK = 288, 208  # pixels, short side of a frame as the detector sees it: the first one, and the others
LIKELY = 0.5  # score from which on a box is followed; PaddleOCR's 0.6 is for a frame at its full size
FOLLOWED = 4  # frames of the strip, spread over the clip, in which text is looked for again
LARGE = 0.1  # share of the frame above which a box that cannot be read is no text
SURE_BOX, WORD = 0.7, 2.0  # score, and length over height, of a box that may hold a word although it cannot be read
KNOWN = 0.5  # share of a box inside a place of a track: it is the same text


@dataclass(frozen=True)
class Rules:
    """What counts as text: read with at least this score (0..1) and so many characters, in a box of at most `max_box`
    of the frame.
    """

    score: float
    characters: int
    max_box: float

    def counts(self, line: Line) -> bool:
        return line.score >= self.score and len("".join(line.text.split())) >= self.characters


@dataclass
class Text:
    """A text of the clip: where it is, whether it was put over the picture, what it says (None: not read)."""

    track: Track
    overlay: bool
    line: Line | None = None
    refuted: bool = False

    @property
    def share(self) -> float:
        """Pixels inside its box."""
        return float(cv2.contourArea(self.track.box.corners))


class Search:
    """Of one clip; `run` it once."""

    def __init__(self, frames: Frames, reader: PPOCR, preset: Preset, rules: Rules) -> None:
        self.frames, self.reader, self.preset, self.rules = frames, reader, preset, rules
        self.strip, self.picks = frames.strip, frames.picks
        self.picture = lru_cache(maxsize=None)(self._picture)
        self.shown = lru_cache(maxsize=None)(self._shown)
        self.texts: list[Text] = []
        self.width, self.height = 0, 0
        self._screen = Screen()

    def run(self) -> list[Text]:
        """All text that counts.

        No more frames are looked at once the verdict is clear and no crop could save the clip.
        """
        for number in self.order:
            boxes = [box for box in self._detected(number) if not self._known(box, number)]
            if boxes:
                self.texts += [Text(track, False) for track in Look(number, self._around(number), boxes).follow()]
                self._settle()
                if self._decided() and self.crop() is None:
                    break
        return [text for text in self.texts if not text.refuted]

    @cached_property
    def order(self) -> list[int]:
        """Numbers of the frames to look at, from the middle of the clip outwards."""
        count, n = self.preset.frames, len(self.picks)
        starts = [self.picks[n * i // count] for i in range(count)]
        looks = self.frames.spread(count) if self.preset.at == "spread" else list(dict.fromkeys(starts))
        middle = (looks[0] + looks[-1]) / 2
        return sorted(looks, key=lambda number: (abs(number - middle), number))

    @cached_property
    def watched(self) -> list[int]:
        """Numbers of the frames over which persistence is measured."""
        return sorted({*self.order, *self.frames.spread(FOLLOWED)})

    def crop(self, width: int = 0, height: int = 0) -> Area | None:
        """The largest part without overlay, in pixels of a picture of this size (of the strip, if none is given)."""
        width, height = width or self.width, height or self.height
        across, down = width / self.width, height / self.height
        overlays = (text for text in self.texts if text.overlay and not text.refuted)
        places = {place.scaled(across, down) for text in overlays for place in text.track.places.values()}
        return largest_crop(width, height, places)

    def share(self, texts: Iterable[Text]) -> float:
        """Of the frame, inside the boxes of these texts, in the frame where they cover most; 0..1."""
        return max(self.shares(texts).values(), default=0.0)

    def shares(self, texts: Iterable[Text]) -> Mapping[int, float]:
        """By frame."""
        sums: dict[int, float] = {}
        for text in texts:
            for number in text.track.places:
                sums[number] = sums.get(number, 0.0) + text.share
        return {number: min(1.0, pixels / (self.width * self.height)) for number, pixels in sums.items()}

    def count(self, texts: Iterable[Text]) -> float:
        """How many of these texts one frame shows at most."""
        numbers = Counter(number for text in texts for number in text.track.places)
        return float(max(numbers.values(), default=0))

    def persistence(self, texts: Iterable[Text]) -> float:
        """Share of the watched frames in which one of these texts is; 0..1."""
        shown = {number for text in texts for number in text.track.places}
        return sum(number in shown for number in self.watched) / len(self.watched)

    def _settle(self) -> None:
        """Tell overlays from the scene, and read what decides, the largest first, until it has decided."""
        find_rolling([text.track for text in self.texts])
        for text in self.texts:
            shown = text.track.overlay
            corners, area = text.track.box.corners, text.track.area
            text.overlay = drawn(corners, area, self.width, self.height) if shown is None else shown
        for text in sorted(self._deciding(), key=lambda text: -text.share):
            if self._decided() or self.share(self._deciding()) <= self.preset.limit:
                break
            if text.line is None:
                text.line = self.reader.read(self.picture(text.track.look), text.track.box.corners)
                text.refuted = not self._confirmed(text)

    def _confirmed(self, text: Text) -> bool:
        """Read; or what cannot be read (the recogniser knows Latin, Greek, Chinese and Japanese) but stays on the
        screen while the rest moves, or, where nothing moves, is likely to be a word.
        """
        if text.line is None or self.rules.counts(text.line):
            return text.line is not None
        if text.track.proven:
            return text.share <= LARGE * self.width * self.height
        return text.overlay and text.track.box.score >= SURE_BOX and text.track.area.slender >= WORD

    def _deciding(self) -> list[Text]:
        return [t for t in self.texts if not t.refuted and (t.overlay or self.preset.decides == "text")]

    def _decided(self) -> bool:
        return self.share(text for text in self._deciding() if text.line is not None) > self.preset.limit

    def _detected(self, number: int) -> list[Box]:
        """Boxes that may hold text, where there are strokes that no earlier look has seen."""
        picture = self.picture(number)
        self.height, self.width = picture.shape[:2]
        part = self._screen.part(picture)
        if part is None:
            return []
        corner = np.array([part.x0, part.y0], np.float32)
        side = CLOSE if number == self.order[0] else QUICK
        found = self.reader.boxes(part.of(picture), min(1.0, side / min(self.width, self.height)), LIKELY)
        boxes = (Box(box.corners + corner, box.score) for box in found)
        return [box for box in boxes if cv2.contourArea(box.corners) <= self.rules.max_box * self.width * self.height]

    def _known(self, box: Box, number: int) -> bool:
        area = area_of(box, self.width, self.height)
        places = (text.track.places.get(number) for text in self.texts)
        return any(place is not None and area.common(place).size >= KNOWN * area.size for place in places)

    def _around(self, number: int) -> dict[int, Shown]:
        """The frames in which what was found in one of them is looked for."""
        at = self.picks.index(number)
        beside = self.picks[max(0, at - 1) : at + 2]
        return {n: self.shown(n) for n in sorted({*beside, *self.watched})}

    def _picture(self, number: int) -> Picture:
        return self.strip.image(number)

    def _shown(self, number: int) -> Shown:
        grey = cv2.cvtColor(self.picture(number), cv2.COLOR_RGB2GRAY)
        return Shown(cast(NDArray[np.uint8], grey), float(self.strip.times_s[number]))
