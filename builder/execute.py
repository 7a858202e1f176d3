"""What the commands do: run some steps of a pipeline to the end, and say how it went."""

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from builder import config, releases
from builder.captioning import presets
from builder.captioning.asking import Asking
from builder.errors import ConfigError, RunError
from builder.figures import one_line
from builder.pipeline import Run, check_conditions
from builder.progress import Progress, show_funnel
from builder.receipts import Receipt
from builder.records import Clip, Fetched, Found, Planned, Scanned, Shots
from builder.report.funnel import Count, funnel
from builder.retry import forget_downloads, forget_lost
from builder.stages.split import Split
from builder.table import Table

OK, SOME_FAILED = 0, 3
TOLD = 3  # videos named in a note


def open_run(folder: Path, overrides: Sequence[str] = ()) -> Run:
    """The run in `folder`, its build.toml checked as a whole before anything is done."""
    loaded = config.load(folder, overrides)
    run = Run(loaded.base, loaded)
    _ = run.settings, run.sources, run.stages
    check_conditions(run)
    check_prompts(run)
    return run


def check_prompts(run: Run) -> None:
    """Refuse a slot that nothing fills, and what else captioners check themselves.

    Raises:
        ConfigError: names the slots there are.
    """
    for stage in (stage for _, stage in run.stages if isinstance(stage, Asking)):
        try:
            stage.check()
        except ConfigError as error:
            given = run.config.section(stage.table)
            key = next((key for key in (presets.PROMPT, *presets.KEYS) if key in given), "")
            raise ConfigError(f"{run.config.where(stage.table, key)}: [{stage.table}] {error}") from None


def execute(
    folder: Path, verbs: Sequence[str], overrides: Sequence[str] = (), limit: int = 0, refresh: bool = False
) -> int:
    """Run the steps of `verbs`. Returns the exit code: 0, or 3 when all is finished but some items failed.

    A crawl takes at most `limit` videos of each source (0: all), and with `refresh` asks remote sources anew.
    """
    run = open_run(folder, overrides)
    run.storage.sweep()
    if "crawl" in verbs:
        forget_downloads(run)
        run.write_sources(limit, refresh)
    wanted = {stage.table for verb, stage in run.stages if verb in verbs}
    if "pack" in verbs:
        forget_lost(run, "pack")
    with Progress(lambda: to_fetch(run)) as progress:
        for receipt in receipts(run, wanted, progress):
            progress.add(receipt)
    if not leads():
        return OK
    counts = funnel(run, wanted)
    show_funnel(counts)
    notes = [
        *(liberties(run) if "crawl" in verbs else ()),
        *(of_split(run) if "split" in verbs else ()),
        *(standing(run) if "pack" in verbs else ()),
    ]
    for note in notes:
        print(note, file=sys.stderr)  # noqa: T201
    code = report(counts, run)
    if "pack" in verbs:
        finish(run, counts)
    return code


def finish(run: Run, counts: Sequence[Count]) -> None:
    """Write what belongs to the dataset beside its shards.

    Raises:
        RunError: no clip was kept.
    """
    if not any(count.kept for count in counts if count.table == "pack"):
        raise RunError(
            "no clip is left to pack, the table above shows where they went; "
            f"{run.root / 'dataset'} is as an earlier run left it, if one did"
        )
    from builder.dataset import write_dataset

    write_dataset(run)


def receipts(run: Run, wanted: set[str], progress: Progress) -> Iterator[Receipt]:
    from builder.runners.local import LocalRunner
    from builder.runners.multi_gpu import LaunchedRunner, launched

    if launched():
        return LaunchedRunner(run, progress.hear)(wanted)
    return LocalRunner(run, hear=progress.hear)(wanted, progress.watch)


def to_fetch(run: Run) -> tuple[int, int]:
    """How many of the videos admitted have no answer yet, and their bytes; 0 bytes if those of one are not known."""
    table: Table[Fetched] = Table(run.storage, "fetch", Fetched)
    answered = {key for n in table.parts() for key, _, _ in table.outcomes(n)}
    rows = [row for row in Table(run.storage, "admit", Found).rows() if row.id not in answered and not row.root]
    return len(rows), sum(row.size_bytes for row in rows) if all(row.size_bytes for row in rows) else 0


def liberties(run: Run) -> Iterator[str]:
    """What was allowed that is not by default."""
    if run.web.allow_private_hosts:
        yield "note: web.allow_private_hosts is on; lists could reach hosts of your own network"
    if not run.web.robots:
        yield "note: web.robots is off; robots.txt and X-Robots-Tag were not looked at"


def standing(run: Run) -> Iterator[str]:
    """Which shards no setting changes any more."""
    if closed := releases.releases(run.storage):
        planned = {shard for (shard,) in Table(run.storage, "plan", Planned).columns("shard")}
        stand = planned & {entry.path for entry in closed[-1].shards}
        if stand:
            text = f"{len(stand)} of {len(planned)} shards stand as they were published ({closed[-1].name})"
            yield f"note: {text}; --shards and [plan] are for the others"


def of_split(run: Run) -> Iterator[str]:
    """What a user would miss otherwise."""
    yield from broken_off(run)
    yield from without_clip(run)


def without_clip(run: Run) -> Iterator[str]:
    """How many shots became no clip, in videos of which others did; a video without any says so itself."""
    used: dict[str, set[int]] = defaultdict(set)
    for video, shot in Table(run.storage, "split", Clip).columns("video_id", "shot"):
        used[video].add(shot)
    shots = {video: len(starts) for video, starts in Table(run.storage, "detect", Shots).columns(Shots.KEY, "starts")}
    lost = [shots[video] - len(clips) for video, clips in used.items() if shots.get(video, 0) > len(clips)]
    if lost:
        least = next(stage.min_s for _, stage in run.stages if isinstance(stage, Split))
        videos = "a video" if len(lost) == 1 else f"{len(lost)} videos"
        yield (
            f"note: {sum(lost)} of the shots of {videos} became no clip: shorter than split.min_s = {least:g} s, "
            "outside of the listed spans, or damaged; those that did are named by the column `shot`"
        )


def broken_off(run: Run) -> Iterator[str]:
    """Which videos are kept in part."""
    rows = Table(run.storage, "scan", Scanned).columns("complete", Scanned.KEY, "lost")
    heads = [(key, lost) for complete, key, lost in rows if not complete]
    if heads:
        videos = "1 video breaks" if len(heads) == 1 else f"{len(heads)} videos break"
        named = "; ".join(f"{key}: {lost}" for key, lost in heads[:TOLD]) + ("; ..." if len(heads) > TOLD else "")
        yield f"note: {videos} off, the good head is kept: {named}"


def leads() -> bool:
    """Whether this process speaks for the run: the only one, or rank 0 of those that accelerate launched."""
    import os

    return os.environ.get("RANK", "0") == "0"


def report(counts: Sequence[Count], run: Run) -> int:
    """Name the first failures, and where all of them are."""
    failed = [(c.table, f) for c in counts for f in c.failures if not f.filtered]
    for table, failure in failed[:10]:
        print(f"  {table} {failure.item_id}: {failure.kind}: {one_line(failure.message)}", file=sys.stderr)  # noqa: T201
    if failed:
        tables = ", ".join(sorted({f"{run.root}/{table}.failures" for table, _ in failed}))
        print(f"failed: {len(failed)}; all of them are in {tables}", file=sys.stderr)  # noqa: T201
        tries = sorted({f"osd-build retry {table} {run.root} --kind {f.kind}" for table, f in failed})
        print("to try some again:\n  " + "\n  ".join(tries), file=sys.stderr)  # noqa: T201
    return SOME_FAILED if failed else OK
