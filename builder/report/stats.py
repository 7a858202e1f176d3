"""Statistics of a run or of a finished dataset, from their parquet files alone.

See builder/report/tables.py for what a video's length is.
"""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl

from builder.errors import RunError
from builder.figures import one_line
from builder.report.tables import MICROSECONDS, Tables, microseconds, read_tables
from shards.manifest import INDEX_NAME

QUANTILES = {"least": 0.0, "5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95, "most": 1.0}
LISTED_PERCENT = 1  # bars with a smaller share are only counted
MAX_WORDS = 300
QUOTED = 80  # characters of the commonest caption


@dataclass(frozen=True)
class Histogram:
    """`bars` in falling order of their counts, those of at least 1 % of `total`; the others are only counted."""

    total: int
    bars: Mapping[str, int]
    unlisted_kinds: int = 0
    unlisted: int = 0


@dataclass(frozen=True)
class Group:
    """One source, or all."""

    source: str
    videos: int
    duration_s: Fraction
    frames: int
    clips: int
    resolutions: Histogram
    aspects: Histogram

    @property
    def fps(self) -> float:
        """Frames over duration: a long video counts for more than a short one."""
        return float(self.frames / self.duration_s) if self.duration_s else 0.0


@dataclass(frozen=True)
class Distribution:
    """Quantiles are values that occur (the nearest one)."""

    count: int
    mean: float
    quantiles: Mapping[str, float]


@dataclass(frozen=True)
class Captions:
    """Lengths in words: what stands between white space. `std_words` is the population's (divided by n).

    `alike` is the share of captions that another clip has too, but for case, punctuation, white space and numbers;
    `most_alike` is how many clips have the commonest of them, and `commonest` what the first one of these says.
    """

    captioner: str
    count: int
    mean_words: float
    std_words: float
    most_words: int
    within_max_words: float  # share of captions
    empty: float  # share of captions
    alike: float = 0.0
    most_alike: int = 0
    commonest: str = ""


@dataclass(frozen=True)
class Stats:
    """`kept` is how many clips a run's conditions let through; None while they were not applied."""

    path: str
    kind: str
    sources: tuple[Group, ...]
    total: Group
    shapes_of: str  # what resolutions and aspects count: videos, or a dataset's clips
    clips: int
    kept: int | None
    clips_duration_s: Fraction
    clip_seconds: Distribution
    scores: Mapping[str, Distribution]
    captions: tuple[Captions, ...]
    captions_max_words: int

    def to_json(self) -> str:
        def shown(value: Any) -> Any:
            if isinstance(value, Group):
                plain = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
                return plain | {"fps": value.fps, "duration": as_duration(value.duration_s)}
            return float(value) if isinstance(value, Fraction) else vars(value)

        return json.dumps(vars(self), default=shown, indent=1)


def stats(path: Path, max_words: int = MAX_WORDS) -> Stats:
    """Of a run folder or a dataset folder. `max_words`: the caption length whose coverage is asked for.

    Raises:
        RunError: it is neither, or nothing has been scanned.
    """
    try:
        found = stats_of(read_tables(path), path, max_words)
    except (ValueError, pl.exceptions.PolarsError) as error:
        if not (path / INDEX_NAME).is_file():
            raise
        raise RunError(f"{path} is damaged ({one_line(str(error))}); see osd-build verify {path}") from error
    if not found.sources:
        raise RunError(f"nothing has been scanned in {path} yet; run: osd-build split {path}")
    return found


def stats_of(tables: Tables, path: Path, max_words: int = MAX_WORDS) -> Stats:
    """As `stats`, of tables that are read already."""
    counted = tables.clips.group_by("source").agg(clips=pl.len(), ticks=microseconds("duration_s").sum()).collect()
    groups, everything = sources(tables, dict(counted.select("source", "clips").iter_rows()))
    return Stats(
        path=str(path),
        kind=tables.kind,
        sources=groups,
        total=everything,
        shapes_of="videos" if tables.kind == "run" else "clips",
        clips=everything.clips,
        kept=None if tables.verdicts is None else tables.verdicts.select(pl.col("kept").sum()).collect().item(),
        clips_duration_s=Fraction(int(counted["ticks"].sum()), MICROSECONDS),
        clip_seconds=distribution(tables.clips, "duration_s"),
        scores={name: distribution(frame, name) for name, frame in tables.scores.items()},
        captions=tuple(captions(name, frame, max_words) for name, frame in tables.captions.items()),
        captions_max_words=max_words,
    )


def sources(tables: Tables, clips: Mapping[str, int]) -> tuple[tuple[Group, ...], Group]:
    """Every source in the order of names, and all of them together."""
    sums = [pl.col("ticks").sum(), pl.col("frames").sum()]
    lengths = tables.shapes.group_by("source", "time_base").agg(sums).collect()
    shapes = tables.shapes.group_by("source", "width", "height").agg(count=pl.len()).collect()
    videos = dict(tables.shapes.group_by("source").agg(pl.col("video_id").n_unique()).collect().iter_rows())
    groups = [
        group(name, lengths.filter(source=name), shapes.filter(source=name), videos[name], clips.get(name, 0))
        for name in sorted(videos)
    ]
    return tuple(groups), group("total", lengths, shapes, sum(videos.values()), sum(clips.values()))


def group(source: str, lengths: pl.DataFrame, shapes: pl.DataFrame, videos: int, clips: int) -> Group:
    """Ticks come summed per time base, so that the duration is exact."""
    ticks = lengths.select("ticks", "time_base").iter_rows()
    sizes: Counter[str] = Counter()
    ratios: Counter[str] = Counter()
    for width, height, count in shapes.select("width", "height", "count").iter_rows():
        sizes[f"{width}x{height}"] += count
        ratios[aspect(width, height)] += count
    return Group(
        source=source,
        videos=videos,
        duration_s=sum((n * Fraction(base) for n, base in ticks), Fraction(0)),
        frames=int(lengths["frames"].sum()),
        clips=clips,
        resolutions=histogram(sizes),
        aspects=histogram(ratios),
    )


def histogram(counts: Mapping[str, int]) -> Histogram:
    """Bars of exactly 1 % are listed."""
    total = sum(counts.values())
    order = sorted(counts.items(), key=lambda bar: (-bar[1], bar[0]))
    bars = {label: n for label, n in order if 100 * n >= LISTED_PERCENT * total}
    return Histogram(total, bars, len(counts) - len(bars), total - sum(bars.values()))


def aspect(width: int, height: int) -> str:
    """Reduced by the greatest common divisor: 1920x1080 is 16:9."""
    divisor = math.gcd(width, height) or 1
    return f"{width // divisor}:{height // divisor}"


def distribution(frame: pl.LazyFrame, name: str) -> Distribution:
    column = pl.col(name)
    wanted = {label: column.quantile(at, "nearest") for label, at in QUANTILES.items()}
    row = frame.select(pl.len().alias("n"), column.mean().alias("mean"), **wanted).collect().row(0, named=True)
    count, mean = row.pop("n"), row.pop("mean")
    return Distribution(count, mean or 0.0, row if count else {})


def captions(name: str, texts: pl.LazyFrame, max_words: int) -> Captions:
    words = texts.select(words=pl.col("text").str.count_matches(r"\S+"))
    column = pl.col("words")
    row = words.select(
        n=pl.len(),
        mean=column.mean(),
        std=column.std(ddof=0),
        most=column.max(),
        within=(column <= max_words).mean(),
        empty=(column == 0).mean(),
    ).collect()
    count, mean, std, most, within, empty = (value or 0 for value in row.row(0))
    return Captions(name, count, mean, std, most, within, empty, *alike(texts, count))


def alike(texts: pl.LazyFrame, count: int) -> tuple[float, int, str]:
    """What captions of different clips have in common; a caption without a letter is alike to none.

    Hashes of 64 bits stand for texts, so that a million of them take seconds and some 100 MB.
    """
    letters = pl.col("text").str.to_lowercase().str.replace_all(r"\d+", "0").str.replace_all(r"[^\pL\pN]+", " ")
    hashed = pl.when(pl.col("text").str.contains(r"\pL")).then(letters.str.strip_chars().hash())
    hashes = texts.select(hashed.alias("same")).collect(engine="streaming").with_row_index("at").drop_nulls()
    groups = hashes.group_by("same").agg(pl.len().alias("clips"), pl.col("at").min()).filter(pl.col("clips") > 1)
    if groups.is_empty():
        return 0.0, 0, ""
    clips, at = groups.sort("clips", "at", descending=[True, False]).select("clips", "at").row(0)
    return int(groups["clips"].sum()) / count, clips, texts.select("text").slice(at, 1).collect().item()


def as_duration(seconds: Fraction | float) -> str:
    """274h 05m 13s; rounded to whole seconds for show only."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}h {minutes % 60:02}m {rest:02}s"


def render(found: Stats) -> str:
    """For people: tables of plain text, a width of 120 at most."""
    groups = found.sources if len(found.sources) == 1 else (*found.sources, found.total)
    kept = "" if found.kept is None else f", {found.kept:,} kept"
    captions_head = (
        f"captions: words (std of the population; within: share of at most {found.captions_max_words} words)"
    )
    lines = [
        f"{found.path} ({found.kind})",
        table("source videos duration frames frames/s clips", [group_cells(g) for g in groups]),
        f"resolutions of {found.shapes_of}",
        *(f"  {g.source}: {as_bars(g.resolutions)}" for g in groups),
        f"aspect ratios of {found.shapes_of}",
        *(f"  {g.source}: {as_bars(g.aspects)}" for g in groups),
        f"clips: {found.clips:,}{kept}, {as_duration(found.clips_duration_s)}",
        table(
            f"values count mean {' '.join(QUANTILES)}",
            [distribution_cells(n, d) for n, d in {"seconds": found.clip_seconds, **found.scores}.items()],
        ),
        captions_head,
        table("captioner count mean std most within empty alike", [caption_cells(c) for c in found.captions]),
        *(f"  {c.captioner}: {c.most_alike:,} clips say “{shortened(c.commonest)}”" for c in found.captions if c.alike),
    ]
    return "\n".join(lines)


def group_cells(g: Group) -> list[str]:
    return [g.source, f"{g.videos:,}", as_duration(g.duration_s), f"{g.frames:,}", f"{g.fps:.3f}", f"{g.clips:,}"]


def distribution_cells(name: str, d: Distribution) -> list[str]:
    return [name, f"{d.count:,}", f"{d.mean:.4g}", *(f"{value:.4g}" for value in d.quantiles.values())]


def caption_cells(c: Captions) -> list[str]:
    figures = [f"{c.mean_words:.1f}", f"{c.std_words:.1f}", str(c.most_words), f"{c.within_max_words:.1%}"]
    return [c.captioner, f"{c.count:,}", *figures, f"{c.empty:.1%}", f"{c.alike:.1%}"]


def shortened(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= QUOTED else f"{line[: QUOTED - 1]}…"


def as_bars(found: Histogram) -> str:
    shown = [f"{label} {count:,} ({count / found.total:.1%})" for label, count in found.bars.items()]
    if found.unlisted:
        shown.append(f"{found.unlisted:,} of {found.unlisted_kinds} other kinds, each below {LISTED_PERCENT} %")
    return ", ".join(shown)


def table(head: str, rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, the first to the left, figures to the right."""
    lines = [head.split(), *rows]
    widths = [max(len(line[n]) for line in lines if n < len(line)) for n in range(len(lines[0]))]
    return "\n".join(
        "  " + "  ".join(c.rjust(w) if n else c.ljust(w) for n, (c, w) in enumerate(zip(line, widths, strict=False)))
        for line in lines
    )
