"""Judge: decide on what was measured. A query over finished tables, run before captions and again before packing.

Nothing is deleted and nothing measured again: a changed threshold is a changed verdict.
"""

from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa

from builder.conditions import parse
from builder.digests import short_hash
from builder.query import Inputs, Query
from builder.records import Verdict
from builder.rules import Rule, preset_lines, rules, verdicts
from builder.stage import execution, settings
from builder.stages.rank import Threshold
from builder.values import CLIPS, full_name, gather, value_of

if TYPE_CHECKING:
    import polars as pl

ByHand = Literal["keep", "drop"]
DROPPED = "dropped by hand"
NEEDED = ("no caption", "no match")  # what no decision can replace
DEFAULT_KEEP = (
    "text.overlay_area <= 0",
    "motion.flow >= 0.3",
    "sharpness.laplacian >= 15",
    "brightness.mean in 15..240",
)


@settings
class Override:
    """What holds for the clips of one source instead: `[filter.source.NAME]`."""

    preset: str = ""
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in self.lines:
            parse(line)

    @property
    def lines(self) -> tuple[str, ...]:
        return (*preset_lines(self.preset), *self.keep)


@settings
class Conditions(Query[Any, Any]):
    """What `[filter]` says: the conditions of `preset`, and those of `keep`; without either, DEFAULT_KEEP.

    Needs the scores that the conditions name, and joins no others.
    """

    section: ClassVar[str] = "filter"
    reads: ClassVar[str] = CLIPS
    ranks: ClassVar[str] = "rank"  # the table of its percentiles

    preset: str = ""
    keep: tuple[str, ...] | None = None
    # set by the pipeline: the lines of [filter.source.NAME], by name
    overrides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # set by the pipeline: what people decided about clips, by id
    by_hand: Mapping[str, ByHand] = field(default_factory=dict)
    # set by the pipeline: every value there is with its table, and the table that tells of near-duplicates
    measured: tuple[tuple[str, str], ...] = execution(default=())
    twins: str = execution(default="")

    def __post_init__(self) -> None:
        _ = self.rules  # a bad line is refused at once

    @property
    def lines(self) -> tuple[str, ...]:
        """The conditions, for all sources but those with their own."""
        if self.keep is None and not self.preset:
            return DEFAULT_KEEP
        return (*preset_lines(self.preset), *(self.keep or ()))

    @property
    def written(self) -> tuple[str, ...]:
        """For people: every condition, with the source it is for if that has its own."""
        own = (f"{line} (source {name})" for name, lines in self.overrides.items() for line in lines)
        return (*self.lines, *own)

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        known = dict(self.measured)
        return rules(self.lines, self.overrides, lambda name: full_name(name, known))

    @property
    def values(self) -> dict[str, Any]:
        """What the conditions name, as far as it exists."""
        names = dict.fromkeys(name for rule in self.rules for name in rule.names())
        if self.overrides:
            names["source"] = None
        found = {name: value_of(name, dict(self.measured)) for name in names}
        return {name: value for name, value in found.items() if value}

    @property
    def percentiles(self) -> tuple[str, ...]:
        return tuple(sorted({asked for rule in self.rules for asked in rule.percentiles()}))

    @property
    def joins(self) -> tuple[str, ...]:
        tables = {table for value in self.values.values() for table, _ in value.columns} | {CLIPS}
        ranks = self.ranks if self.percentiles else ""
        return (*sorted(tables - {self.reads}), *filter(None, [self.twins, ranks]))

    def identity(self) -> Mapping[str, str]:
        return {"preset": short_hash(preset_lines(self.preset))} if self.preset else {}

    def thresholds(self, inputs: Inputs) -> dict[str, float]:
        """The numbers of percentiles, by name: `aesthetic.score p30`."""
        if not self.percentiles:
            return {}
        return dict(inputs.frame(self.ranks).select(Threshold.KEY, "value").collect().iter_rows())


@settings
class Judge(Conditions):
    """Keep the clips for which every condition holds, and of those that show the same the one that `pick` names."""

    name: ClassVar[str] = "judge"
    writes: ClassVar[type[Verdict]] = Verdict
    grain: ClassVar[str] = "clip"
    version: ClassVar[int] = 3

    def query(self, inputs: Inputs) -> "pl.DataFrame":
        import polars as pl

        frame = gather(inputs, self.values).collect()
        known = self.thresholds(inputs)
        failed = verdicts(frame, [rule.at(known) for rule in self.rules], absence(inputs, dict(self.measured)))
        against = self.against(inputs)
        for clip, texts in zip(frame["clip_id"], failed, strict=True):
            texts[:0] = [text for text in against.get(clip, ()) if text not in texts]
            if clip in self.by_hand:
                texts[:] = self.decided(clip, texts)
        kept = [not texts for texts in failed]
        reasons = pl.Series("failed", pa.array(failed, pa.list_(pa.string())))  # ten times as fast as from lists
        return frame.select("clip_id", pl.Series("kept", kept, pl.Boolean), reasons)

    def decided(self, clip: str, texts: list[str]) -> list[str]:
        """What is left of the reasons after what a person said."""
        return [DROPPED] if self.by_hand[clip] == "drop" else [text for text in texts if text.startswith(NEEDED)]

    def against(self, inputs: Inputs) -> dict[str, list[str]]:
        """What speaks against a clip beside the conditions, by id: its better twin."""
        if not self.twins:
            return {}
        mine = inputs.frame(self.reads).select("clip_id")
        twins = inputs.frame(self.twins).join(mine, on="clip_id", how="semi").select("clip_id", "group", "covered")
        return {clip: [instead(group, covered)] for clip, group, covered in twins.collect().iter_rows()}


@settings
class Select(Judge):
    """Judge again, on captions, before packing. A clip without a caption (or match) is never packed."""

    name: ClassVar[str] = "select"
    section: ClassVar[str] = ""
    reads: ClassVar[str] = "judge"
    ranks: ClassVar[str] = "rank.select"

    # set by the pipeline: the tables of the captioners that are on, and of how their captions match
    captions: tuple[str, ...] = execution(default=())

    @property
    def lines(self) -> tuple[str, ...]:
        return (*preset_lines(self.preset), *(self.keep or ()))

    @property
    def joins(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*super().joins, *self.captions]))

    def against(self, inputs: Inputs) -> dict[str, list[str]]:
        found = super().against(inputs)
        for table in self.captions:
            for clip, kind in lost(inputs, table).items():
                found.setdefault(clip, []).append(missing(table, kind))
        return found


def instead(group: str, covered: float) -> str:
    return f"duplicate of {group}, which shows {covered:.0%} of it"


def absence(inputs: Inputs, tables: Mapping[str, str]) -> Callable[[str, str], str]:
    """Says why a clip has no value of some name: how the scorer failed on it."""
    failed = cache(inputs.failures)

    def says(name: str, clip: str) -> str:
        return missing(tables[name], failed(tables[name]).get(clip, "")) if name in tables else f"no value: {name}"

    return says


def lost(inputs: Inputs, table: str) -> dict[str, str]:
    """The kind of failure of the clips that a table has no row for, by id."""
    keys = inputs.frame(inputs.main).select("clip_id").collect()
    rest = keys.lazy().join(inputs.frame(table).select("clip_id"), on="clip_id", how="anti").collect()
    kinds = inputs.failures(table) if len(rest) else {}
    return {clip: kinds.get(clip, "") for clip in rest["clip_id"]}


def missing(table: str, kind: str) -> str:
    """`no score: text: timeout`, `no caption: llava: truncated`."""
    return ": ".join(["no " + table.partition(".")[0], *filter(None, [table.partition(".")[2], kind or "not made"])])
