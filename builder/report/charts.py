"""What a report draws: the funnel, how values are spread, what kinds of clips there are, what each stage cost."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.engine import Job
from builder.figures import as_count
from builder.licenses import license_of
from builder.pipeline import Run
from builder.query import Inputs
from builder.report.funnel import Count
from builder.report.stats import aspect, histogram
from builder.stage import Stage
from builder.values import CLIPS, VIDEOS, Value, gather

if TYPE_CHECKING:
    import polars as pl

BINS = 40
ROUNDING = 1e-9  # values that differ by less are the same
TAIL = 0.02  # of the clips at either end are gathered in the outermost bars
MEASURING = ("score.", "hash", "dedupe", "match.")  # no clip is left out there unless it fails


# -- the funnel
@dataclass(frozen=True)
class Row:
    """One row of the funnel: the share of all videos (or clips) that goes in, and that which comes out."""

    name: str
    stages: tuple[str, ...]
    unit: str
    given: int
    kept: int
    rows: int
    top: float
    end: float
    losses: tuple[tuple[str, int, bool], ...]  # why, how many, whether it is a failure
    state: str

    @property
    def becomes(self) -> str:
        """What its rows are, where that is another thing than what goes in."""
        return {"find": "videos", "split": "clips"}.get(self.name, "")


def funnel_rows(counts: Sequence[Count]) -> list[Row]:
    """In order of the stages; those that only measure are one row."""
    measuring = [c for c in counts if c.table.startswith(MEASURING[:1])]
    lines: list[list[Count]] = []
    for c in counts:
        if c.table.startswith(MEASURING):
            if c is next(iter(measuring), None):
                lines.append([x for x in counts if x.table.startswith(MEASURING)])
            elif not measuring:
                lines.append([c])
        else:
            lines.append([c])
    wide = {
        unit: max((c.inputs for c in counts if unit_of(c) == unit), default=0)
        for unit in ("sources", "videos", "clips")
    }
    return [funnel_row(line, wide[unit_of(line[0])]) for line in lines]


def unit_of(c: Count) -> str:
    if c.table == "find":
        return "sources"
    return "videos" if c.table in ("admit", "fetch", "merge", "scan", "detect", "split") else "clips"


def funnel_row(line: Sequence[Count], wide: int) -> Row:
    """Of one stage, or of several through which all clips go."""
    given = max(c.inputs for c in line)
    kept = line[0].kept if len(line) == 1 else given
    losses: Counter[tuple[str, bool]] = Counter()
    for c in line:
        failed = Counter(f.kind for f in c.failures if not f.filtered)
        for kind, n in c.reasons.items():
            label = kind if len(line) == 1 else f"{c.table.removeprefix('score.')}: {kind}"
            losses[label, kind in failed] += n
    ordered = tuple((why, n, failure) for (why, failure), n in losses.most_common())
    top, end = (n / wide if wide else 0.0 for n in (given, kept))
    name = line[0].table if len(line) == 1 else "measure"
    stages = tuple(c.table for c in line)
    return Row(name, stages, unit_of(line[0]), given, kept, sum(c.rows for c in line), top, end, ordered, state(line))


def state(line: Sequence[Count]) -> str:
    """Empty when all is done."""
    open_ = [c for c in line if c.units is None or c.finished < c.units]
    if not open_:
        return ""
    if all(c.finished <= 0 for c in line):
        return "out of date" if any(c.inputs for c in line) else "not run yet"
    done, of = sum(max(c.finished, 0) for c in line), sum(c.units or 0 for c in line)
    return f"{as_count(done)} of {as_count(of)} parts" if all(c.units for c in line) else "in progress"


# -- how values are spread
def spreads(inputs: Inputs, values: Mapping[str, Value]) -> Iterator[dict[str, Any]]:
    """A histogram of every value that some clip has. The columns of one table are in memory at a time."""
    import polars as pl

    verdict = verdicts(inputs)
    tables: dict[str, dict[str, Value]] = {}
    for name, value in values.items():
        tables.setdefault(value.columns[0][0], {})[name] = value
    found: dict[str, dict[str, Any]] = {}
    for group in tables.values():
        frame = gather(inputs, group).join(verdict, on="clip_id", how="left").collect()
        out = frame.select(pl.col("kept").not_().fill_null(value=False))["kept"]
        found |= {name: spread(name, frame[name], out) for name in group if frame[name].count()}
    yield from (found[name] for name in values if name in found)


def verdicts(inputs: Inputs) -> "pl.LazyFrame":
    """What the judges say so far: `clip_id` and `kept`, without the clips that none has seen."""
    import polars as pl

    first = inputs.frame("judge").select("clip_id", pl.col("kept").alias("judged"))
    then = inputs.frame("select").select("clip_id", pl.col("kept").alias("selected"))
    both = first.join(then, on="clip_id", how="left")
    return both.select("clip_id", kept=pl.col("judged") & pl.coalesce("selected", pl.lit(value=True)))


def spread(name: str, column: "pl.Series", out: "pl.Series") -> dict[str, Any]:
    """BINS bars from `low` to `high`; what lies outside counts in the outermost. `out` are the clips not kept."""
    import numpy as np

    there = column.is_not_null() & column.is_finite()
    known = column.filter(there)
    low, high = (float(known.quantile(at, "nearest") or 0.0) for at in (TAIL, 1 - TAIL))
    if low == high:
        low, high = float(known.min() or 0.0), float(known.max() or 0.0)  # type: ignore[arg-type]
    if high - low <= ROUNDING * max(abs(low), abs(high)):
        room = max(0.5, abs(low) / 100)
        low, high = low - room, high + room
    lost = out.filter(there).to_numpy()
    places = np.minimum((np.clip(known.to_numpy(), low, high) - low) / (high - low) * BINS, BINS - 1).astype(int)
    kept_bars, lost_bars = (np.bincount(places[which], minlength=BINS) for which in (~lost, lost))
    figures = {"median": known.median(), "least": known.min(), "most": known.max(), "missing": len(column) - len(known)}
    return {"name": name, "low": low, "high": high, "kept": kept_bars.tolist(), "lost": lost_bars.tolist(), **figures}


# -- what kinds there are
@dataclass(frozen=True)
class Bars:
    """How many clips are of each kind, and how many of those are kept; kinds below 1 % are only counted."""

    title: str
    total: int
    bars: tuple[tuple[str, int, int], ...]
    unlisted: int
    unlisted_kinds: int

    @property
    def most(self) -> int:
        return max((n for _, n, _ in self.bars), default=0) or 1


def kinds(inputs: Inputs) -> list[Bars]:
    """Resolutions, aspects, licences, sources, codecs."""
    import polars as pl

    of_clip = inputs.frame(CLIPS).select("clip_id", "video_id", "width", "height")
    of_video = inputs.frame(VIDEOS).select("video_id", "source", "license", "license_url", "codec")
    frame = of_clip.join(of_video, on="video_id", how="left").join(verdicts(inputs), on="clip_id", how="left")
    columns = ["width", "height", "source", "license", "license_url", "codec"]
    kept = pl.col("kept").fill_null(value=True).sum()
    groups = frame.group_by(columns).agg(pl.len().alias("n"), kept.alias("kept")).collect().to_dicts()
    named: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
        "Resolution": lambda g: f"{g['width']}x{g['height']}",
        "Aspect ratio": lambda g: aspect(g["width"], g["height"]),
        "Source": lambda g: g["source"] or "",
        "Licence": lambda g: license_of(g["license"] or "", g["license_url"] or "").id,
        "Codec": lambda g: g["codec"] or "",
    }
    return [bars(title, [(name(g), g["n"], g["kept"]) for g in groups]) for title, name in named.items()]


def bars(title: str, groups: Sequence[tuple[str, int, int]]) -> Bars:
    counts: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for label, n, good in groups:
        counts[label] += n
        kept[label] += good
    found = histogram(counts)
    listed = tuple((label, n, kept[label]) for label, n in found.bars.items())
    return Bars(title, found.total, listed, found.unlisted, found.unlisted_kinds)


# -- what it cost
@dataclass(frozen=True)
class Cost:
    """Of the units of one table as they were made last. GPU-seconds are those in which a rank held its device."""

    table: str
    computed: int
    cpu_s: float
    gpu_s: float
    wall_s: float


def costs(run: Run, jobs: Sequence[Job]) -> list[Cost]:
    """From the receipts; a damaged one is left out."""
    return [cost for job in jobs if (cost := cost_of(run, job.stage))]


def cost_of(run: Run, stage: Stage[Any, Any]) -> Cost | None:
    folder = f"{stage.table}.receipts"
    receipts: list[dict[str, Any]] = []
    for name in run.storage.list(folder):
        with suppress(ValueError, OSError):
            receipts.append(json.loads(run.storage.read(f"{folder}/{name}")))
    if not receipts:
        return None
    sums = [sum(receipt.get(key, 0) for receipt in receipts) for key in ("computed", "cpu_s", "wall_s")]
    on_gpu = [r for r in receipts if stage.needs.gpus and not r.get("device", "cpu").startswith("cpu")]
    gpu_s = sum(r.get("wall_s", 0.0) for r in on_gpu)
    return Cost(stage.table, sums[0], sums[1], gpu_s, sums[2])
