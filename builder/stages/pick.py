"""Pick: of clips that show the same, which is kept. It sees every clip, and runs only with `dedupe`.

The best that conditions let through stands for the others: a copy with a logo, however large, takes no clean one along.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from builder.query import Inputs
from builder.records import Record
from builder.stage import settings
from builder.stages.judge import Conditions
from builder.values import gather

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Duplicate(Record):
    """A clip of which others show so much that it is left out: `group` is the one of them that shows most of it, and
    `covered` the share, 0 ... 1, that all of them do."""

    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    group: str
    covered: float


@settings
class Pick(Conditions):
    """A row for each clip that is left out. `least` is `[dedupe] covered`."""

    name: ClassVar[str] = "pick"
    writes: ClassVar[type[Duplicate]] = Duplicate
    grain: ClassVar[str] = "one"
    whole: ClassVar[bool] = True

    least: Annotated[float, Field(gt=0, le=1)] = 0.5  # set by the pipeline

    def query(self, inputs: Inputs) -> "pl.DataFrame":
        return self.duplicates(inputs, self.thresholds(inputs))

    def duplicates(self, inputs: Inputs, known: Mapping[str, float]) -> "pl.DataFrame":
        """The rows, given the numbers that percentiles stand for."""
        import polars as pl

        from builder.duplicates.choose import Shown, choose

        twins = inputs.frame(self.twins).filter(pl.col("moments") > 0)
        columns = twins.select("clip_id", "better", "firsts", "lasts", "moments").collect()
        better, lengths = {}, {}
        for clip, names, firsts, lasts, moments in columns.iter_rows():
            better[clip] = [Shown(*span) for span in zip(names, firsts, lasts, strict=True)]
            lengths[clip] = moments
        fit = self.fit(inputs, columns["better"].explode().unique(), known)
        chosen = choose(better, lengths, self.least, fit.__contains__)
        rows = sorted((clip, choice.kept, choice.covered) for clip, choice in chosen.items())
        return pl.DataFrame(rows, {"clip_id": pl.String, "group": pl.String, "covered": pl.Float64}, orient="row")

    def fit(self, inputs: Inputs, clips: "pl.Series", known: Mapping[str, float]) -> set[str]:
        """Those of the clips that every condition holds for, and those that a person keeps."""
        import polars as pl

        fails = [rule.at(known).fails() for rule in self.rules]
        frame = gather(inputs, self.values).join(pl.LazyFrame({"clip_id": clips}), on="clip_id", how="semi")
        fine = frame.filter(~pl.any_horizontal(pl.lit(value=False), *fails))
        dropped, kept = ({clip for clip, said in self.by_hand.items() if said == what} for what in ("drop", "keep"))
        return set(fine.select("clip_id").collect()["clip_id"]) - dropped | (kept & set(clips))
