"""Score: measure each clip once. A scorer is one file in `builder/scorers`; what it finds is judged elsewhere."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from builder.errors import ItemError
from builder.frames import Frames
from builder.records import Clip, Scanned, Score
from builder.stage import Item, Stage

S = TypeVar("S", bound=Score)


@dataclass(frozen=True)
class Mark:
    """What a scorer shows on a picture: a line through `points` (x, y), shares of width and height from the upper left.

    Closed it is an outline, else an arrow.
    """

    points: tuple[tuple[float, float], ...]
    label: str = ""
    closed: bool = True


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

    # -- optional
    def marks(self, frames: Frames, found: S, picture: int) -> Sequence[Mark]:
        """Why: what `osd-build score --preview` draws on one picture of the clip, number `picture` of the strip."""
        return ()

    # -- given
    def each(self, item: Item[Clip]) -> Sequence[S]:
        found = self.score(self.frames(item))
        wrong = [k for k, v in dataclasses.asdict(found).items() if isinstance(v, float) and not math.isfinite(v)]
        if wrong:
            raise ItemError("not_finite", f"{self.table}: {', '.join(wrong)} of {item.id} is not a finite number")
        return [found]

    def frames(self, item: Item[Clip]) -> Frames:
        return Frames(item.row, item.get(Scanned), self.context.storage)
