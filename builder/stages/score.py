"""Score: measure each clip once. A scorer is one file in `builder/scorers`; what it finds is judged elsewhere."""

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from builder.errors import ItemError
from builder.records import Clip, Scanned, Score
from builder.stage import Item, Stage
from builder.storage import Storage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from builder.media.evidence import Evidence, Strip

S = TypeVar("S", bound=Score)


class Frames:
    """What the decode pass kept of one clip. Nothing is decoded here; each part is read when it is first asked for."""

    def __init__(self, clip: Clip, scan: Scanned, storage: Storage) -> None:
        self.clip, self.scan, self.storage = clip, scan, storage

    @property
    def strip(self) -> "Strip":
        return open_strip(self.storage.path(self.scan.strip))

    @property
    def evidence(self) -> "Evidence":
        return open_evidence(self.storage.path(self.scan.evidence))

    @cached_property
    def picks(self) -> list[int]:
        """Indices into the strip of the frames inside the clip; the nearest one when none is."""
        inside = [int(i) for i in self.strip.between(self.clip.start_pts, self.clip.end_pts)]
        middle = (self.clip.start_frame + self.clip.end_frame) // 2
        return inside or [int(abs(self.strip.frames - middle).argmin())]

    def spread(self, count: int) -> list[int]:
        """At most `count` of `picks`, evenly spread over the clip (the middle one for 1)."""
        n = len(self.picks)
        return self.picks if n <= count else [self.picks[(2 * i + 1) * n // (2 * count)] for i in range(count)]

    def images(self, count: int | None = None) -> list["NDArray[Any]"]:
        """Upright RGB strip frames, uint8 (h, w, 3), short side at most 480."""
        return [self.strip.image(i) for i in (self.picks if count is None else self.spread(count))]

    def times_s(self, count: int | None = None) -> list[float]:
        """Source times of what `images` gives."""
        return [float(self.strip.times_s[i]) for i in (self.picks if count is None else self.spread(count))]

    def thumbs(self) -> "NDArray[Any]":
        """A 48x27 RGB thumbnail of every frame of the clip, uint8 (n, 27, 48, 3)."""
        return self.evidence.thumbs(self.clip.start_frame, self.clip.end_frame)


@lru_cache(maxsize=2)
def open_strip(path: Path) -> "Strip":
    """Kept open while the clips of one video pass by; files are named by their content, so they never change."""
    from builder.media.evidence import Strip

    return Strip(path)


@lru_cache(maxsize=2)
def open_evidence(path: Path) -> "Evidence":
    from builder.media.evidence import Evidence

    return Evidence(path)


class Scorer(Stage[Clip, S], Generic[S]):
    """Base of scorers: give `plugin`, `writes` (a Score with the fields that conditions may name) and `score`."""

    name: ClassVar[str] = "score"
    plugin: ClassVar[str]
    reads: ClassVar[str] = "split"
    grain: ClassVar[str] = "clip"

    @property
    def table(self) -> str:
        return f"score.{self.plugin}"

    @property
    def joins(self) -> tuple[str, ...]:
        return ("scan",)

    # -- required: one of the two
    def score(self, frames: Frames) -> S:
        """Measure one clip. A number that cannot be had is an ItemError, never a default."""
        raise NotImplementedError(f"{type(self).__name__} defines neither score nor batch")

    # -- given
    def each(self, item: Item[Clip]) -> Sequence[S]:
        found = self.score(self.frames(item))
        wrong = [k for k, v in dataclasses.asdict(found).items() if isinstance(v, float) and not math.isfinite(v)]
        if wrong:
            raise ItemError("not_finite", f"{self.table}: {', '.join(wrong)} of {item.id} is not a finite number")
        return [found]

    def frames(self, item: Item[Clip]) -> Frames:
        return Frames(item.row, item.get(Scanned), self.context.storage)
