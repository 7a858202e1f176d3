"""The funnel: how many went into each stage, how many came out, and what became of the others."""

from collections import Counter
from dataclasses import dataclass, field

from builder.board import Board
from builder.engine import Job
from builder.errors import RunError
from builder.pipeline import Run
from builder.records import Failure, Verdict


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

    def add(self, rows: int, failure: Failure | None, verdict: Verdict | None) -> None:
        """Count one input by what became of it."""
        self.inputs += 1
        self.rows += rows
        if failure:
            self.failures.append(failure)
            self.reasons[failure.kind] += 1
            self.failed += not failure.filtered
            self.filtered += failure.filtered
        elif verdict and not verdict.kept:
            self.filtered += 1
            self.reasons.update(text.partition(" ")[0] for text in verdict.failed)
        else:
            self.kept += 1


def funnel(run: Run) -> list[Count]:
    """One Count per stage, in order; stages not run yet have no inputs."""
    jobs = run.jobs()
    try:
        progress = Board(jobs, {job.target.name for job in jobs}).progress()
    except RunError:  # a model that cannot be resolved now: what was done can be told all the same
        progress = {}
    return [count(job, *progress.get(job.target.name, (0, None))) for job in jobs]


def count(job: Job, finished: int, units: int | None) -> Count:
    """From the footers alone, but for verdicts. A whole stage's rows for one input may lie in several parts."""
    rows: Counter[str] = Counter()
    failures: dict[str, Failure] = {}
    verdicts: dict[str, Verdict] = {}
    total = job.layout.parts(job.stage.grain) or 0
    for n in (n for n in job.target.parts() if n < total):
        for key, found, failure in job.target.outcomes(n):
            rows[key] += found
            if failure:
                failures[key] = failure
        if issubclass(job.target.record, Verdict):
            verdicts |= {row.id: row for row in job.target.read(n).rows() if isinstance(row, Verdict)}
    result = Count(job.target.name, finished=finished, units=units)
    for key, found in rows.items():
        result.add(found, failures.get(key), verdicts.get(key))
    return result
