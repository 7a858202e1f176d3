"""Tells the stages of a run what each other write."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from builder.conditions import parse
from builder.stage import Stage
from builder.stages.dedupe import Dedupe
from builder.stages.judge import DEFAULT_KEEP, Conditions, Select
from builder.stages.pick import Pick
from builder.stages.rank import Rank
from builder.values import measured

KINDS = ("score", "caption", "match")  # of tables there may be several of
Staged = tuple[str, Stage[Any, Any]]


def wire(
    stage: Stage[Any, Any], tables: Mapping[str, tuple[str, ...]], earlier: Sequence[Stage[Any, Any]]
) -> Stage[Any, Any]:
    """Tell the stages that read whatever is on which tables those are. Default conditions on what is off go."""
    scores, captions, matches = (tables[kind] for kind in KINDS)
    dedupe = next((s for s in earlier if isinstance(s, Dedupe)), None)
    if isinstance(stage, Conditions):
        known = measured(earlier)
        stage = dataclasses.replace(stage, measured=tuple(known.items()))
        if isinstance(stage, Select):
            return dataclasses.replace(stage, captions=captions + matches)
        if stage.lines == DEFAULT_KEEP:
            on = [text for text in DEFAULT_KEEP if all(leaf.name in known for leaf in parse(text).leaves())]
            stage = dataclasses.replace(stage, keep=tuple(on))
        if isinstance(stage, Pick) and dedupe:
            return dataclasses.replace(stage, twins=dedupe.table, least=dedupe.covered)
        return dataclasses.replace(stage, twins=Pick.name if dedupe else "")
    wanted: Mapping[str, Mapping[str, Any]] = {
        "caption": {"scores": scores, "captions": tuple(table for table in captions if table != stage.table)},
        "plan": {"scores": scores + matches, "captions": captions, "twins": Dedupe.name if dedupe else ""},
        "pack": {"scores": scores + matches, "captions": captions},
    }
    return dataclasses.replace(stage, **wanted[stage.name]) if stage.name in wanted else stage


def with_ranks(stages: Sequence[Staged]) -> Iterator[Staged]:
    """A stage that ranks is told what for by the judge after it; where no percentile is asked for there is none."""
    for n, (verb, stage) in enumerate(stages):
        if not isinstance(stage, Rank):
            yield verb, stage
            continue
        judge = next(s for _, s in stages[n:] if isinstance(s, Conditions))
        if judge.percentiles:
            yield verb, dataclasses.replace(stage, percentiles=judge.percentiles, measured=judge.measured)
