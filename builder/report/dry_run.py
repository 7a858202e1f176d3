"""What a filter would keep and what each condition costs: one query over finished score tables, nothing written."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from builder.engine import Job
from builder.errors import RunError
from builder.figures import as_count, as_duration
from builder.pipeline import Run
from builder.query import Inputs
from builder.rules import Rule, presets
from builder.stages.judge import Conditions, Judge
from builder.stages.pick import Pick
from builder.stages.rank import Rank
from builder.values import CLIPS, FACTS, gather

if TYPE_CHECKING:
    import polars as pl

DUPLICATES = "near-duplicates"


@dataclass(frozen=True)
class Cost:
    """Of one condition: the clips it fails, those that nothing but it keeps out, those of which a value is missing."""

    line: str
    source: str
    fails: int
    alone: int
    lacks: int


@dataclass(frozen=True)
class Forecast:
    """What would be kept of the clips there are. `measured` clips have every value that a condition asks for."""

    run: str
    clips: int
    measured: int
    kept: int
    clips_s: float
    kept_s: float
    conditions: tuple[Cost, ...]
    notes: tuple[str, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


def forecast(run: Run) -> Forecast:
    """Of the judge of a run.

    Raises:
        RunError: there is no clip yet, or none of what the conditions name has been measured.
    """
    jobs = {job.target.name: job for job in run.jobs()}
    judge = judge_of(run)
    inputs = everything(jobs, judge.table)
    notes = [*unfinished(jobs, judge), *not_measured(judge)]
    known = thresholds(run, jobs)
    rules = [rule.at(known) for rule in judge.rules]
    row = counted(judge, inputs, rules, left_out(run, jobs, known))
    costs = [Cost(told(rule), rule.source, *(row[f"{x} {n}"] for x in COUNTS)) for n, rule in enumerate(rules)]
    if judge.twins:
        costs.append(Cost(DUPLICATES, "", row["fails twin"], row["alone twin"], 0))
    totals = (row["clips"], row["measured"], row["kept"], row["clips_s"], row["kept_s"])
    return Forecast(str(run.root), *totals, tuple(costs), tuple(notes))


COUNTS = ("fails", "alone", "lacks")


def counted(judge: Judge, inputs: Inputs, rules: Sequence[Rule], twins: "pl.DataFrame | None" = None) -> dict[str, Any]:
    """The query; `twins` are the rows of `pick`."""
    import polars as pl

    frame = gather(inputs, {**judge.values, "duration_s": FACTS["duration_s"]})
    fails = {str(n): rule.fails() for n, rule in enumerate(rules)}
    if twins is not None:
        frame = frame.join(twins.lazy(), on="clip_id", how="left")
        fails["twin"] = pl.col("group").is_not_null()
    frame = frame.with_columns(found.alias(f"fails {name}") for name, found in fails.items())
    wrong = pl.sum_horizontal(pl.lit(0), *(pl.col(f"fails {name}").cast(pl.Int32) for name in fails))
    lacking = [rule.lacks() for rule in rules] or [pl.lit(value=False)]
    length = pl.col("duration_s")
    frame = frame.with_columns(wrong.alias("wrong"), pl.any_horizontal(lacking).alias("lacking"))
    alone = {f"alone {name}": (pl.col(f"fails {name}") & (pl.col("wrong") == 1)).sum() for name in fails}
    lacks = {f"lacks {n}": rule.lacks().sum() for n, rule in enumerate(rules)}
    sums = frame.select(
        pl.len().alias("clips"),
        (~pl.col("lacking")).sum().alias("measured"),
        (pl.col("wrong") == 0).sum().alias("kept"),
        length.sum().alias("clips_s"),
        length.filter(pl.col("wrong") == 0).sum().alias("kept_s"),
        *(pl.col(f"fails {name}").sum() for name in fails),
        **alone,
        **lacks,
    )
    return sums.collect().row(0, named=True)


# -- what is there
def judge_of(run: Run) -> Judge:
    return next(stage for _, stage in run.stages if isinstance(stage, Judge) and stage.name == "judge")


def everything(jobs: dict[str, Job], table: str) -> Inputs:
    """All finished parts of what a query reads.

    Raises:
        RunError: there is no clip yet, or nothing to judge it by.
    """
    job = jobs[table]
    tables = {job.main.name: job.main, **job.sides}
    parts = {name: present(jobs[name]) for name in tables}
    root = job.target.storage.root
    if not parts[CLIPS]:
        raise RunError(f"{root} has no clips yet; run: osd-build split {root}")
    scores = [name for name in parts if name.startswith("score.")]
    if scores and not any(parts[name] for name in scores):
        raise RunError(f"nothing has been scored in {root} yet; run: osd-build filter {root}")
    return Inputs(job.main.name, tables, parts)


def present(job: Job) -> list[int]:
    total = job.layout.parts(job.stage.grain) or 0
    return [n for n in job.target.parts() if n < total]


def thresholds(run: Run, jobs: dict[str, Job]) -> dict[str, float]:
    """The numbers of percentiles over all that is scored now."""
    rank = next((stage for _, stage in run.stages if type(stage) is Rank), None)
    if rank is None:
        return {}
    rows = rank.query(everything(jobs, rank.table))
    return dict(rows.select("asked", "value").iter_rows())


def left_out(run: Run, jobs: dict[str, Job], known: Mapping[str, float]) -> "pl.DataFrame | None":
    """What `pick` would leave out under the conditions of now; None where near-duplicates are not looked for."""
    pick = next((stage for _, stage in run.stages if isinstance(stage, Pick)), None)
    return pick.duplicates(everything(jobs, pick.table), known) if pick else None


def unfinished(jobs: dict[str, Job], judge: Conditions) -> Iterator[str]:
    """Which score tables are not as the next `osd-build filter` will make them."""
    for name in (name for name in judge.joins if name.startswith("score.")):
        job = jobs[name]
        there = set(present(job))
        stamps = {n: stamp for n, stamp in job.target.stamps().items() if n in there}
        total = job.layout.parts(job.stage.grain)
        if len(stamps) != total:
            yield f"{name}: {len(stamps)} of {total or '?'} parts are finished; the other clips have no value yet"
        try:
            stale = sum(stamp.stage != job.stage.fingerprint() for stamp in stamps.values())
        except RunError:  # a model that cannot be resolved now
            continue
        if stale:
            yield f"{name}: {stale} parts were made with other settings; `osd-build filter` makes them anew"


def not_measured(judge: Judge) -> Iterator[str]:
    """What the preset in use cannot do, and what the figures leave out."""
    if judge.by_hand:
        yield f"{as_count(len(judge.by_hand))} clips are decided by hand; the figures are of the conditions alone"
    if judge.preset:
        yield from (f"preset {judge.preset}: {text}" for text in presets()[judge.preset].missing)


# -- how it is shown
def told(rule: Rule) -> str:
    """The line as written, and the numbers of its percentiles."""
    limits = [x for leaf in rule.condition.leaves() for x in getattr(leaf, "limits", ())]
    numbers = [f"{x.percentile} = {'none' if x.value is None else f'{x.value:g}'}" for x in limits if x.percentile]
    return f"{rule.line}  [{', '.join(numbers)}]" if numbers else rule.line


def render(found: Forecast) -> str:
    """For people."""
    share = f"{found.kept / found.clips:.1%}" if found.clips else "none"
    head = [
        f"{found.run}: dry run, nothing is written",
        f"  clips                {as_count(found.clips)}  {as_duration(found.clips_s)}",
        f"  with all values      {as_count(found.measured)}",
        f"  kept                 {as_count(found.kept)}  {as_duration(found.kept_s)}  ({share})",
    ]
    rows = [("condition", "fails", "alone", "no value")]
    for cost in found.conditions:
        line = f"{cost.line} (source {cost.source})" if cost.source else cost.line
        rows.append((line, as_count(cost.fails), as_count(cost.alone), as_count(cost.lacks)))
    wide = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    grid = ["  " + row[0].ljust(wide[0]) + "".join(f"  {row[n]:>{wide[n]}}" for n in (1, 2, 3)) for row in rows]
    explained = ["  alone: clips that nothing else keeps out; without the condition they would be kept"]
    return "\n".join([*head, *grid, *explained, *(f"note: {note}" for note in found.notes)])
