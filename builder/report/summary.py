"""A run in short: the figures that a person who trains asks for first, and what failed, by kind."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from builder.figures import as_count, as_duration
from builder.query import Inputs
from builder.records import Failure
from builder.report.charts import verdicts
from builder.report.funnel import Count

EXAMPLES = 20  # of a kind of failure


@dataclass(frozen=True)
class Tile:
    figure: str
    label: str
    note: str = ""


def tiles(inputs: Inputs, counts: Sequence[Count]) -> Iterator[Tile]:
    """The figures that a person who trains asks for first."""
    import polars as pl

    clips = inputs.frame("split").select("clip_id", seconds=pl.col("end_s") - pl.col("start_s"))
    seconds = pl.col("seconds")
    sums = [pl.len(), seconds.sum(), seconds.median()]
    total, length_s, _ = clips.select(*(e.alias(str(n)) for n, e in enumerate(sums))).collect().row(0)
    kept_clips = clips.join(verdicts(inputs).filter("kept"), on="clip_id", how="semi")
    kept, kept_s, median = kept_clips.select(*(e.alias(str(n)) for n, e in enumerate(sums))).collect().row(0)
    by_table = {c.table: c for c in counts}
    judged = bool(by_table["judge"].inputs)
    if judged:
        yield Tile(as_count(kept), "clips kept", f"{kept / total:.0%} of {as_count(total)}" if total else "")
        yield Tile(as_duration(kept_s), "of video kept", f"of {as_duration(length_s)} in clips")
        yield Tile(as_duration(median) if kept else "–", "median length", "of the clips kept")
    else:
        yield Tile(as_count(total), "clips", "not judged yet" if total else "none yet")
        yield Tile(as_duration(length_s), "in clips")
    videos = by_table["merge"]
    failed = sum(c.failed for c in counts)
    yield Tile(as_count(videos.rows), "videos", f"{as_count(by_table['scan'].kept)} decoded")
    words = caption_words(inputs)
    if words:
        yield Tile(as_count(words[0]), "captions", f"median {as_count(round(words[1]))} words")
    yield Tile(
        as_count(by_table["pack"].kept),
        "clips packed",
        f"in {as_count(len(inputs.parts['pack']))} shards" if by_table["pack"].kept else "not packed yet",
    )
    yield Tile(as_count(failed), "failures", "what failed is listed below" if failed else "")


def caption_words(inputs: Inputs) -> tuple[int, float] | None:
    """Of all captioners: how many captions, and how many words half of them have at most."""
    import polars as pl

    frames = [
        inputs.frame(n).select(words=pl.col("text").str.count_matches(r"\S+"))
        for n in inputs.tables
        if n.startswith("caption.")
    ]
    words = pl.concat(frames).collect()["words"] if frames else pl.Series("words", [], pl.UInt32)
    return (len(words), float(words.median() or 0)) if len(words) else None  # type: ignore[arg-type]


@dataclass(frozen=True)
class Failures:
    """Those of one kind at one stage."""

    table: str
    kind: str
    filtered: bool
    count: int
    examples: tuple[Failure, ...]


def failures(counts: Sequence[Count]) -> list[Failures]:
    """What failed comes before what was left out on purpose."""
    groups: dict[tuple[bool, str, str], list[Failure]] = defaultdict(list)
    for c in counts:
        for failure in c.failures:
            groups[failure.filtered, c.table, failure.kind].append(failure)
    order = {c.table: n for n, c in enumerate(counts)}
    return [
        Failures(table, kind, filtered, len(found), tuple(found[:EXAMPLES]))
        for (filtered, table, kind), found in sorted(
            groups.items(), key=lambda g: (g[0][0], order[g[0][1]], -len(g[1]))
        )
    ]
