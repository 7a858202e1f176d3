"""Judge: decide on what was measured. A query over finished tables, run before captions and again before packing.

Nothing is deleted and nothing measured again: a changed threshold is a changed verdict.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from builder.conditions import Condition, parse
from builder.records import Caption, Clip, Record, Score, Verdict
from builder.stage import Item, Stage, execution, settings

DEFAULT_KEEP = (
    "text.overlay_area <= 0",
    "motion.flow >= 0.3",
    "sharpness.laplacian >= 15",
    "brightness.mean in 15..240",
)


@settings
class Judge(Stage[Clip, Verdict]):
    """Keep the clips for which every condition of `keep` holds. Needs the scores that the conditions name."""

    name: ClassVar[str] = "judge"
    reads: ClassVar[str] = "split"
    writes: ClassVar[type[Verdict]] = Verdict
    grain: ClassVar[str] = "clip"

    keep: tuple[str, ...] = DEFAULT_KEEP
    # set by the pipeline: the tables of the scorers (captioners) that are on. What they hold is an input, not a setting
    tables: tuple[str, ...] = execution(default=())

    def __post_init__(self) -> None:
        vars(self)["conditions"] = tuple(parse(text) for text in self.keep)  # a bad one is refused at once

    @property
    def joins(self) -> tuple[str, ...]:
        return self.tables

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return cast(tuple[Condition, ...], vars(self)["conditions"])

    def each(self, item: Item[Any]) -> Sequence[Verdict]:
        values = measured(item.joined)
        failed = tuple(text for condition in self.conditions for text in condition.failed(values))
        return [Verdict(item.id, kept=not failed, failed=failed)]


@settings
class Select(Judge):
    """Judge again, on captions, before packing. A clip that a captioner failed on is never packed."""

    name: ClassVar[str] = "select"
    reads: ClassVar[str] = "judge"

    keep: tuple[str, ...] = ()

    def each(self, item: Item[Any]) -> Sequence[Verdict]:
        missing = tuple(f"{table} has none" for table in self.tables if table not in item.joined)
        verdict = super().each(item)[0]
        return [Verdict(item.id, kept=verdict.kept and not missing, failed=missing + verdict.failed)]


def measured(joined: Mapping[str, Record]) -> dict[str, float]:
    """Values by the name a condition uses: `<scorer>.<field>`, and `caption-<name>.words`."""
    values: dict[str, float] = {}
    for table, row in joined.items():
        kind, _, name = table.partition(".")
        if isinstance(row, Score):
            values |= {f"{name}.{key}": value for key, value in row.values().items()}
        elif isinstance(row, Caption):
            values[f"{kind}-{name}.words"] = float(row.words)
    return values
