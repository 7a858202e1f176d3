"""Score: measure each clip once. A scorer is one file in `builder/scorers`; what it finds is judged elsewhere."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, ClassVar, Generic, TypeVar

from numpy.typing import NDArray

from builder.errors import ItemError
from builder.frames import Frames
from builder.records import Clip, Failure, Scanned, Score
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
        return self.checked(self.score(self.frames(item)))

    def checked(self, found: S) -> Sequence[S]:
        wrong = [k for k, v in dataclasses.asdict(found).items() if isinstance(v, float) and not math.isfinite(v)]
        if wrong:
            raise ItemError("not_finite", f"{self.table}: {', '.join(wrong)} of {found.id} is not a finite number")
        return [found]

    def frames(self, item: Item[Clip]) -> Frames:
        return Frames(item.row, item.get(Scanned), self.context.storage)


class FrameScorer(Scorer[S], Generic[S]):
    """Base of scorers that look at a few frames of each clip: those of all clips of a batch are looked at together.

    Give the settings `frames_per_clip` and `batch_size`, `look` and `sum_up`.
    """

    frames_per_clip: int

    # -- required
    def look(self, images: Sequence[NDArray[Any]]) -> Sequence[float]:
        """One number for each RGB picture; the same for a picture whatever stands beside it."""
        raise NotImplementedError(f"{type(self).__name__} does not define look")

    def sum_up(self, clip_id: str, values: Sequence[float]) -> S:
        """The score of a clip from the numbers of its frames."""
        raise NotImplementedError(f"{type(self).__name__} does not define sum_up")

    # -- given
    def batch(self, items: Sequence[Item[Clip]]) -> list[Sequence[S] | Failure]:
        shown, failed = self.sift(items, lambda item: self.frames(item).images(self.frames_per_clip))
        values = iter(self.look([image for images in shown.values() for image in images]) if shown else ())
        seen = {key: list(islice(values, len(images))) for key, images in shown.items()}
        return [failed.get(i.id) or self.answer(i.id, partial(self._summed, i.id, seen[i.id])) for i in items]

    def _summed(self, clip_id: str, values: Sequence[float]) -> Sequence[S]:
        return self.checked(self.sum_up(clip_id, values))
