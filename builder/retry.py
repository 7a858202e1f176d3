"""Forget answers, so that their items are tried again: failures, and rows whose files are gone or damaged."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from builder.config import FILE
from builder.engine import Job
from builder.errors import ConfigError
from builder.pipeline import Run
from builder.records import Fetched, Record
from builder.stages import VERBS
from builder.table import Answer


def what_and_run(words: Sequence[str]) -> tuple[str, Path]:
    """`crawl runs/mine` or `runs/mine`, in either order.

    Raises:
        ConfigError: there is no run among the words, or more than one word beside it.
    """
    runs = [word for word in words if (Path(word) / FILE).is_file()]
    rest = [word for word in words if word not in runs[:1]]
    if not runs or len(rest) > 1:
        raise ConfigError(f"{' '.join(words)}: write osd-build retry [WHAT] RUN; RUN is a folder that holds {FILE}")
    return rest[0] if rest else "", Path(runs[0])


def forget(run: Run, what: str = "", kind: str = "") -> tuple[int, Counter[str]]:
    """Drop from a table, or those of a verb (or from all), items of `kind` (or retryable failures), and what was lost.

    Of a downloaded video that failed to be scanned the file is dropped too: it is downloaded anew. Returns how many
    answers were forgotten, and the failures that stay, as `<table> --kind <kind>`.

    Raises:
        ConfigError: the run has no such table, and there is no such verb.
    """
    jobs = {job.target.name: job for job in run.jobs()}
    verbs = {stage.table: verb for verb, stage in run.stages}
    if what not in ("", *jobs, *verbs.values()):
        raise ConfigError(f"no stage writes {what!r}; there are: {', '.join([*VERBS, *jobs])}")
    chosen = [job for name, job in jobs.items() if what in ("", name, verbs[name])]
    if jobs.get("scan") in chosen:
        drop_downloads(run, jobs["scan"], kind)
        chosen = [jobs["fetch"], *(job for job in chosen if job.target.name != "fetch")]
    count = sum(drop(job, lambda a, job=job: failed(a, kind) or lost(a, job)) for job in chosen)  # type: ignore[misc]
    return count, remaining(chosen)


def forget_lost(run: Run, table: str) -> int:
    """Drop only rows whose files are gone."""
    job = next(job for job in run.jobs() if job.target.name == table)
    return drop(job, lambda answer: lost(answer, job))


def forget_downloads(run: Run) -> int:
    """Drop rows of downloads whose files are gone; but for those that the takedown list names by their hash."""
    job = next(job for job in run.jobs() if job.target.name == "fetch")
    gone = {
        path
        for root, path, size_bytes, sha256 in job.target.columns("root", "path", "size_bytes", "sha256")
        if not root and f"sha256:{sha256}" not in run.taken_down and not run.storage.intact(path, size_bytes)
    }
    return drop(job, lambda answer: any(row.path in gone for row in answer.rows)) if gone else 0  # type: ignore[attr-defined]


def drop(job: Job, unwanted: Callable[[Answer[Record]], bool]) -> int:
    count = 0
    for n in job.target.parts():
        part = job.target.read(n)
        kept = {key: answer for key, answer in part.answers.items() if not unwanted(answer)}
        if len(kept) < len(part.answers):
            count += len(part.answers) - len(kept)
            job.target.write(n, replace(part.stamp, sources="forgotten"), kept)
    return count


def drop_downloads(run: Run, scan: Job, kind: str) -> None:
    """Remove our copy of videos whose scan is to be forgotten; a user's own files are never touched."""
    parts = (scan.target.read(n) for n in scan.target.parts())
    wanted = {key for part in parts for key, answer in part.answers.items() if failed(answer, kind)}
    fetched = next(job.target for job in run.jobs() if job.target.name == "fetch")
    for row in fetched.rows():
        if isinstance(row, Fetched) and row.video_id in wanted and not row.root:
            run.storage.remove(row.path)


def failed(answer: Answer[Record], kind: str) -> bool:
    """Also what was left out on purpose, if its kind is named: a site may have allowed what its robots.txt forbids."""
    failure = answer.failure
    if failure is None:
        return False
    return failure.kind == kind if kind else failure.retryable and not failure.filtered


def lost(answer: Answer[Record], job: Job) -> bool:
    named = (item for row in answer.rows for item in job.stage.files(row).items())
    return any(not job.target.storage.intact(name, size_bytes) for name, size_bytes in named)


def remaining(jobs: list[Job]) -> Counter[str]:
    answers = (
        (job.target.name, a) for job in jobs for n in job.target.parts() for a in job.target.read(n).answers.values()
    )
    return Counter(f"{name} --kind {a.failure.kind}" for name, a in answers if a.failure and not a.failure.filtered)
