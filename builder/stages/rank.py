"""Rank: the numbers that percentiles in conditions stand for. It sees every clip, and runs only when it is asked for.

A percentile is a value that some clip has (nearest rank): p30 is the smallest value with at least 30 % of the clips at
or below it, p0 the smallest of all. Clips without the value do not count, clips that fail other conditions do; ties
are on the same side of it, so `>= p30` keeps 70 % of the clips or more.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from builder.query import Inputs, Query
from builder.records import FACT, Record
from builder.stage import execution, settings
from builder.values import CLIPS, gather, value_of

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Threshold(Record):
    """The number that a percentile of some value comes to, `asked` as "<scorer>.<field> p30", among so many `clips`."""

    KEY: ClassVar[str] = "asked"
    asked: str
    value: float
    clips: int = field(default=0, metadata=FACT)


@settings
class Rank(Query[Any, Threshold]):
    """A row for each of `percentiles` of the clips that `judge` decides on. A value that no clip has gives no row."""

    name: ClassVar[str] = "rank"
    reads: ClassVar[str] = CLIPS
    writes: ClassVar[type[Threshold]] = Threshold
    grain: ClassVar[str] = "one"
    whole: ClassVar[bool] = True

    # set by the pipeline: "<scorer>.<field> p30", and every value there is with its table
    percentiles: tuple[str, ...] = ()
    measured: tuple[tuple[str, str], ...] = execution(default=())

    @property
    def values(self) -> dict[str, Any]:
        names = dict.fromkeys(asked.split()[0] for asked in self.percentiles)
        found = {name: value_of(name, dict(self.measured)) for name in names}
        return {name: value for name, value in found.items() if value}

    @property
    def joins(self) -> tuple[str, ...]:
        tables = {table for value in self.values.values() for table, _ in value.columns} | {CLIPS}
        return tuple(sorted(tables - {self.reads}))

    def query(self, inputs: Inputs) -> "pl.DataFrame":
        import polars as pl

        frame = gather(inputs, self.values).collect()
        rows = []
        for asked in self.percentiles:
            name, percent = asked.split()
            known = frame[name].drop_nulls().sort()
            if len(known):
                rows.append((asked, known[nearest_rank(percent, len(known))], len(known)))
        return pl.DataFrame(rows, {"asked": pl.String, "value": pl.Float64, "clips": pl.Int64}, orient="row")


@settings
class RankSelected(Rank):
    """The same of the clips that `select` decides on: those that `judge` has kept."""

    name: ClassVar[str] = "rank.select"
    reads: ClassVar[str] = "judge"


def nearest_rank(percent: str, count: int) -> int:
    """The place of "p30" in a sorted list of so many, counted from 0; exact for any decimal."""
    return max(0, math.ceil(Fraction(percent[1:]) / 100 * count) - 1)
