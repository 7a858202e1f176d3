"""Forget answers, so that their items are tried again: failures, and rows whose files are gone."""

from collections.abc import Callable
from dataclasses import replace

from builder.engine import Job
from builder.errors import ConfigError
from builder.pipeline import Run
from builder.records import Record
from builder.table import Answer


def forget(run: Run, table: str, kind: str = "") -> int:
    """Drop from `table` failures of `kind` (without one: all retryable) and what was lost. Returns how many.

    Raises:
        ConfigError: the run has no such table.
    """
    jobs = {job.target.name: job for job in run.jobs()}
    if table not in jobs:
        raise ConfigError(f"no stage writes {table!r}; there are: {', '.join(jobs)}")
    job = jobs[table]
    return drop(job, lambda answer: failed(answer, kind) or lost(answer, job))


def forget_lost(run: Run, table: str) -> int:
    """Drop only rows whose files are gone."""
    job = next(job for job in run.jobs() if job.target.name == table)
    return drop(job, lambda answer: lost(answer, job))


def drop(job: Job, unwanted: Callable[[Answer[Record]], bool]) -> int:
    count = 0
    for n in job.target.parts():
        part = job.target.read(n)
        kept = {key: answer for key, answer in part.answers.items() if not unwanted(answer)}
        if len(kept) < len(part.answers):
            count += len(part.answers) - len(kept)
            job.target.write(n, replace(part.stamp, sources="forgotten"), kept)
    return count


def failed(answer: Answer[Record], kind: str) -> bool:
    failure = answer.failure
    if failure is None or failure.filtered:
        return False
    return failure.kind == kind if kind else failure.retryable


def lost(answer: Answer[Record], job: Job) -> bool:
    storage = job.target.storage
    return any(not storage.exists(name) for row in answer.rows for name in job.stage.files(row))
