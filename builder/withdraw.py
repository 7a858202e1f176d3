"""Take videos out of a run's dataset, and out of what was published of it.

The list of takedowns gets the entries, `removed.parquet` the hashes of those videos (readers leave them out of older
revisions too), the run is built again without them, and what is left is published. A step that is done already changes
nothing, so after an interruption the same command goes on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from builder import removed, takedown
from builder.errors import ConfigError, RunError
from builder.execute import finish, open_run, receipts, report, to_fetch
from builder.pipeline import Run
from builder.progress import Progress, show_funnel
from builder.records import Fetched, Found
from builder.removed import Removed
from builder.report.funnel import funnel
from builder.retry import forget_lost
from builder.stages.pack import DATASET
from builder.table import Table
from shards.manifest import INDEX_NAME
from shards.manifest import NAME as MANIFEST_NAME
from shards.verify import CARD_NAME


@dataclass(frozen=True)
class Named:
    """What to take down: `ids` are SITE:ID, or clips or videos of the dataset; `hashes` those of sources or clips."""

    ids: Sequence[str] = ()
    urls: Sequence[str] = ()
    authors: Sequence[str] = ()
    hashes: Sequence[str] = ()


def withdraw(folder: Path, named: Named) -> Iterator[str]:
    """Take them out of the dataset in the run; tells what it did.

    Raises:
        ConfigError: nothing is named, or something that cannot be.
        RunError: the run cannot be built again.
    """
    run = open_run(folder)
    lines = entries(run, named)
    name = str(run.config.section("licenses").get("takedown", ""))
    yield from takedown.add(run.config.base / Path(name or takedown.DEFAULT_LIST).expanduser(), lines)
    if not name:
        yield takedown.name_list(run.config.path)
    run = open_run(folder)
    gone = videos(run)
    remember(run, gone)
    rebuild(run)
    if not named_here(run, lines):
        raise RunError(
            f"nothing in {folder} is what was named ({'; '.join(lines)}); it is on the list, and kept out from now on. "
            "If it should have been here, look at how it is written"
        )
    yield f"{len(gone)} of this run's videos are taken down; none of their clips is in {run.storage.path(DATASET)}"


# -- what is meant
def entries(run: Run, named: Named) -> list[str]:
    """Lines for the list; what names a clip becomes the sha256 of the video it was cut from.

    Raises:
        ConfigError: nothing is named, or a clip that is not there.
    """
    lines = [id_ if ":" in id_ else source_of(run, id_) for id_ in named.ids]
    lines += [*named.urls, *(f"author: {name}" for name in named.authors)]
    lines += [source_of(run, sha256.lower(), sha256) for sha256 in named.hashes]
    if not lines:
        raise ConfigError("name what to take down: --id, --url, --author or --sha256")
    return lines


def source_of(run: Run, name: str, default: str = "") -> str:
    """The sha256 of the source of a clip (by id or sha256) or of a video (by id) that is, or was, in the dataset."""
    folder = run.storage.path(DATASET)
    for row in removed.read(folder / removed.NAME):
        if name in (row.clip_id, row.mp4_sha256) or (row.clip_id or "").startswith(f"{name}-"):
            return row.source_sha256
    if (folder / INDEX_NAME).exists():
        index = pl.scan_parquet(folder / INDEX_NAME)
        known = pl.any_horizontal(pl.col("key", "video_id", "mp4_sha256") == name)
        if sources := index.filter(known).select("source_sha256").head(1).collect()["source_sha256"].to_list():
            return str(sources[0])
    if not default:
        raise ConfigError(f"{folder} has no clip or video {name!r}; another id is written SITE:ID, as in pexels:123")
    return default


def videos(run: Run) -> set[str]:
    """The sha256 of every video of this run that the list names, under whichever of its addresses."""
    listed = takedown.Takedown(run.taken_down)
    rows = Table(run.storage, "find", Found).rows()
    keys = {row.key for row in rows if listed.names(row)}
    ids = {row.id for row in rows if row.key in keys}
    fetched = Table(run.storage, "fetch", Fetched).columns("found_id", "sha256")
    hashes = {sha256 for found, sha256 in fetched if found in ids or f"sha256:{sha256}" in listed.entries}
    known = removed.read(run.storage.path(f"{DATASET}/{removed.NAME}"))
    return hashes | {row.source_sha256 for row in known if f"sha256:{row.source_sha256}" in listed.entries}


def named_here(run: Run, lines: Sequence[str]) -> bool:
    """Whether any of these lines names a video that the run has, or had."""
    listed = takedown.Takedown([entry for line in lines for entry in takedown.entries_of(line)])
    known = removed.read(run.storage.path(f"{DATASET}/{removed.NAME}"))
    fetched = Table(run.storage, "fetch", Fetched).columns("sha256")
    hashes = {row.source_sha256 for row in known} | {sha256 for (sha256,) in fetched}
    found = any(listed.names(row) for row in Table(run.storage, "find", Found).rows())
    return found or any(f"sha256:{sha256}" in listed.entries for sha256 in hashes)


def remember(run: Run, gone: set[str]) -> None:
    """Write their hashes, and those of their clips, into removed.parquet, before the tables forget them."""
    folder = run.storage.path(DATASET)
    known = removed.read(folder / removed.NAME)
    fresh = {Removed(sha256) for sha256 in gone}
    if (folder / INDEX_NAME).exists():
        rows = pl.scan_parquet(folder / INDEX_NAME).filter(pl.col("source_sha256").is_in(gone))
        clips = rows.select("source_sha256", "key", "mp4_sha256").collect()
        fresh |= {Removed(*row) for row in clips.iter_rows()}
    if fresh - known:
        run.storage.write(f"{DATASET}/{removed.NAME}", removed.as_bytes(known | fresh))


def rebuild(run: Run) -> None:
    """Everything after `find`: no source is asked for more.

    Raises:
        RunError: some step cannot go on.
    """
    run.storage.sweep()
    forget_lost(run, "pack")
    wanted = {stage.table for _, stage in run.stages if stage.table != "find"}
    with Progress(lambda: to_fetch(run)) as progress:
        for receipt in receipts(run, wanted, progress):
            progress.add(receipt)
    counts = funnel(run, wanted)
    show_funnel(counts)
    report(counts, run)
    if any(count.kept for count in counts if count.table == "pack"):
        finish(run, counts)
    else:  # nothing of it may stay
        shards = [name for folder in ("data", "links") for name in run.storage.walk(f"{DATASET}/{folder}")]
        for name in (*shards, *(f"{DATASET}/{name}" for name in (MANIFEST_NAME, CARD_NAME, INDEX_NAME))):
            run.storage.remove(name)


def is_empty(folder: Path) -> bool:
    """Whether nothing is left of the dataset of a run."""
    return not (folder / DATASET / MANIFEST_NAME).exists()
