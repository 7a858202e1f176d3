"""The funnel: how many went into each stage, how many came out, and what became of the others."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from builder.board import Board
from builder.engine import Job
from builder.errors import RunError
from builder.parquet import read_columns
from builder.pipeline import Run
from builder.query import Query
from builder.records import Failure, Verdict
from builder.table import part_name


@dataclass
class Count:
    """One stage. inputs = kept + filtered + failed; `rows` is what the kept ones became."""

    table: str
    inputs: int = 0
    kept: int = 0
    filtered: int = 0
    failed: int = 0
    rows: int = 0
    finished: int = 0
    units: int | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, outcomes: Iterable[tuple[int, Failure | None]]) -> None:
        """Count inputs by what became of each: a number of rows, or a failure."""
        found = list(outcomes)
        lost = [failure for _, failure in found if failure]
        filtered = sum(failure.filtered for failure in lost)
        self.inputs += len(found)
        self.rows += sum(rows for rows, _ in found)
        self.kept += len(found) - len(lost)
        self.filtered += filtered
        self.failed += len(lost) - filtered
        self.failures += lost
        self.reasons.update(failure.kind for failure in lost)

    def judge(self, kept: Sequence[bool], failed: Sequence[str]) -> None:
        """Of inputs that are counted as kept, those that the verdict is against are filtered."""
        against = len(kept) - sum(kept)
        self.kept -= against
        self.filtered += against
        self.reasons.update(map(subject, failed))


def funnel(run: Run, wanted: Collection[str] = ()) -> list[Count]:
    """One Count per stage (of those that write the tables `wanted`), in order; stages not run yet have no inputs."""
    jobs = run.jobs()
    try:
        progress = Board(jobs, {job.target.name for job in jobs}).progress()
    except RunError:  # a model that cannot be resolved now: what was done can be told all the same
        progress = {}
    through = [
        job for job in jobs if not (job.stage.whole and isinstance(job.stage, Query))
    ]  # no clip goes through those
    chosen = [job for job in through if not wanted or job.target.name in wanted]
    return [count(job, *progress.get(job.target.name, (0, None))) for job in chosen]


def count(job: Job, finished: int, units: int | None) -> Count:
    """From the footers alone, but for verdicts. A whole stage's rows for one input may lie in several parts."""
    result = Count(job.target.name, finished=finished, units=units)
    total = job.layout.parts(job.stage.grain) or 0
    spread: dict[str, tuple[int, Failure | None]] = {}
    for n in (n for n in job.target.parts() if n < total):
        outcomes = job.target.outcomes(n)
        if job.stage.whole:
            for key, rows, failure in outcomes:
                before, earlier = spread.get(key, (0, None))
                spread[key] = before + rows, failure or earlier
            continue
        result.add((rows, failure) for _, rows, failure in outcomes)
        if issubclass(job.target.record, Verdict):
            verdicts = read_columns(job.target.storage, f"{job.target.name}/{part_name(n)}", ["kept", "failed"])
            result.judge(verdicts["kept"].to_pylist(), verdicts["failed"].combine_chunks().flatten().to_pylist())
    result.add(spread.values())
    return result


def subject(reason: str) -> str:
    """What a verdict's reason is about: `motion.flow`, `duplicate`, `no score: text`."""
    return reason.rpartition(": ")[0] if reason.startswith("no ") else reason.partition(" ")[0]
