"""What statistics are made from: the parquet files of a run or of a finished dataset, brought to one form.

Of a run, videos are what was scanned, with the exact length of what was decoded. Of a dataset only its clips are known:
videos are told by their ids, and lengths, frames and shapes are those of the clips.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from builder.errors import RunError
from builder.storage import Storage
from shards.manifest import INDEX_NAME, read_manifest
from shards.manifest import NAME as MANIFEST_NAME

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Tables:
    """What statistics are made from, whichever kind of folder it was.

    `shapes`: source, video_id, frames, width, height, ticks, time_base; a row per video or, of a dataset, per clip.
    `clips`: video_id, source, duration_s. `captions`: a column of texts named by the captioner.
    """

    kind: str
    shapes: pl.LazyFrame
    clips: pl.LazyFrame
    verdicts: pl.LazyFrame | None
    scores: Mapping[str, pl.LazyFrame]
    captions: Mapping[str, pl.LazyFrame]


def read_tables(path: Path) -> Tables:
    """Of either kind of folder.

    Raises:
        RunError: it is neither, or nothing has been scanned.
    """
    return of_dataset(path) if (path / INDEX_NAME).is_file() else of_run(path)


def of_run(path: Path) -> Tables:
    """From the tables of a run: merge, scan, split, judge, score.*, caption.*."""
    storage = Storage(path)
    folders = [p.name for p in sorted(path.iterdir())] if path.is_dir() else []
    found = {n: frame for n in folders if (frame := parts(storage, n)) is not None}
    if "merge" not in found or "scan" not in found:
        raise RunError(f"{path} is no dataset and no run that has scanned videos; run: osd-build split {path}")
    sources = found["merge"].select("video_id", "source")
    ticks = pl.col("end_pts") - pl.col("start_pts")
    shapes = found["scan"].select("video_id", "frames", "width", "height", "time_base", ticks=ticks)
    clips = sources.clear().with_columns(duration_s=pl.lit(0.0))
    if "split" in found:
        span = pl.col("end_s") - pl.col("start_s")
        clips = found["split"].select("video_id", duration_s=span).join(sources, "video_id")
    return Tables("run", shapes.join(sources, "video_id"), clips, found.get("judge"), scores(found), texts(found))


def scores(found: Mapping[str, pl.LazyFrame]) -> dict[str, pl.LazyFrame]:
    """A column each, as conditions name it: `<scorer>.<field>`."""
    scorers = {name.partition(".")[2]: frame for name, frame in found.items() if re.fullmatch(r"score\.[^.]+", name)}
    return {
        f"{scorer}.{field}": frame.select(pl.col(field).alias(f"{scorer}.{field}"))
        for scorer, frame in scorers.items()
        for field, dtype in frame.collect_schema().items()
        if dtype == pl.Float64
    }


def texts(found: Mapping[str, pl.LazyFrame]) -> dict[str, pl.LazyFrame]:
    """The column `text` of every captioner."""
    return {
        name.partition(".")[2]: frame.select("text")
        for name, frame in found.items()
        if re.fullmatch(r"caption\.[^.]+", name)
    }


def parts(storage: Storage, table: str) -> pl.LazyFrame | None:
    """All finished parts of a table; None when there are none."""
    names = [n for n in storage.list(table) if n.startswith("part-") and n.endswith(".parquet")]
    files = [storage.path(f"{table}/{n}") for n in names]
    return pl.scan_parquet(files, missing_columns="insert") if files else None


def of_dataset(path: Path) -> Tables:
    """From index.parquet, and the captioners' names in manifest.json."""
    if not (path / MANIFEST_NAME).is_file():
        raise RunError(f"{path} has no {MANIFEST_NAME}: it is not finished; run: osd-build pack RUN")
    return of_index(path / INDEX_NAME, read_manifest(path).captioners)


def of_index(path: Path, captioners: Sequence[str]) -> Tables:
    """Of the clips of a dataset whose manifest need not be there yet."""
    index = pl.scan_parquet(path)
    shape = ("source", "video_id", "frames", "width", "height")
    length = {"ticks": microseconds("duration_s"), "time_base": pl.lit(f"1/{MICROSECONDS}")}
    scores = [name for name in index.collect_schema().names() if name.startswith("score_")]
    columns = {name: "txt" if n == 0 else f"{name}.txt" for n, name in enumerate(captioners)}
    return Tables(
        kind="dataset",
        shapes=index.select(*shape, **length),
        clips=index.select("video_id", "source", "duration_s"),
        verdicts=None,
        scores={n.removeprefix("score_"): index.select(pl.col(n).alias(n.removeprefix("score_"))) for n in scores},
        captions={name: index.select(text=pl.col(column)) for name, column in columns.items()},
    )


def microseconds(column: str) -> pl.Expr:
    """As whole numbers: their sum does not depend on the order."""
    return (pl.col(column) * MICROSECONDS).round().cast(pl.Int64)
