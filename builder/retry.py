"""Forget failures, so that their items are tried again."""

from dataclasses import replace

from builder.errors import ConfigError
from builder.pipeline import Run
from builder.records import Failure


def forget(run: Run, table: str, kind: str = "") -> int:
    """Drop the failures of `table` that are of `kind` (or, without a kind, that are retryable). Returns how many.

    Raises:
        ConfigError: the run has no such table.
    """
    jobs = {job.target.name: job for job in run.jobs()}
    if table not in jobs:
        raise ConfigError(f"no stage writes {table!r}; there are: {', '.join(jobs)}")
    target, count = jobs[table].target, 0
    for n in target.parts():
        part = target.read(n)
        kept = {key: a for key, a in part.answers.items() if not matches(a.failure, kind)}
        if len(kept) < len(part.answers):
            count += len(part.answers) - len(kept)
            target.write(n, replace(part.stamp, sources="retry"), kept)
    return count


def matches(failure: Failure | None, kind: str) -> bool:
    if failure is None or failure.filtered:
        return False
    return failure.kind == kind if kind else failure.retryable
