"""The clips that a report shows: what every table says of them, as columns, in blocks for the page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.errors import RunError
from builder.licenses import license_of
from builder.pipeline import Run
from builder.query import Inputs
from builder.report.dry_run import judge_of, present
from builder.values import CLIPS, FACTS, SCANS, VIDEOS, Value, gather, measured, value_of

if TYPE_CHECKING:
    import polars as pl

MOST = 20_000  # clips in a gallery; of more, an even choice
BLOCK = 250  # clips
DIGITS = 6  # of values that no condition names
SHOWN_FACTS = ("duration_s", "fps", "frames", "short_side", "aspect")
OF_CLIP = ("start_s", "end_s", "start_frame", "end_frame", "start_pts", "end_pts", "width", "height")
OF_VIDEO = ("title", "author", "author_url", "license_url", "page_url", "url", "site", "site_id", "source", "path")
OF_FILE = ("sha256", "size_bytes", "container", "codec", "retrieved_at", "tags")
OF_SCAN = ("duration_s", "frames", "fps", "width", "height", "vfr", "interlaced", "hdr", "complete", "lost")
HOW = ("model", "revision", "engine", "prompt", "parameters")  # what captions of one captioner share
OF_CAPTION = ("text", "status", "tokens", "language")
TAKEN = "clip_id"


@dataclass(frozen=True)
class Chosen(Inputs):
    """The inputs of a query, of some clips alone: what is joined stays small however many there are."""

    clips: "pl.Series"

    def frame(self, name: str) -> "pl.LazyFrame":
        import polars as pl

        rows = super().frame(name)
        if self.tables[name].record.KEY != TAKEN:
            return rows
        return rows.join(pl.LazyFrame({TAKEN: self.clips}), on=TAKEN, how="semi")


@dataclass(frozen=True)
class Gallery:
    """The chosen clips of a run in order of their ids, and the videos they are from.

    `rows`: a row a clip with its span, verdicts, values and captions. `total` is how many clips there are.
    """

    rows: "pl.DataFrame"
    videos: Mapping[str, Mapping[str, Any]]
    names: tuple[str, ...]
    captioners: tuple[str, ...]
    total: int

    def blocks(self) -> Iterator["pl.DataFrame"]:
        yield from self.rows.iter_slices(BLOCK)


def gallery(run: Run, inputs: Inputs, most: int = MOST) -> Gallery:
    """At most `most` of the clips, an even choice.

    Raises:
        RunError: a part is damaged; names it.
    """
    import polars as pl

    try:
        ids = inputs.frame(CLIPS).select(TAKEN).collect()[TAKEN].sort()
        step = max(1, -(-len(ids) // most))
        chosen = Chosen(inputs.main, inputs.tables, inputs.parts, ids.gather_every(step))
        rows = clip_rows(run, chosen).collect()
        videos = video_rows(run, chosen, rows["video_id"].unique())
    except (pl.exceptions.PolarsError, OSError) as error:
        inputs.check()
        raise RunError(f"the tables of {run.root} cannot be read ({error}); run again") from error
    captioners = tuple(name.partition(".")[2] for name in inputs.tables if name.startswith("caption."))
    return Gallery(rows, videos, tuple(values_of(run)), captioners, len(ids))


def everything(run: Run) -> Inputs:
    """All finished parts of all tables, whatever there is."""
    jobs = {job.target.name: job for job in run.jobs()}
    tables = {name: job.target for name, job in jobs.items()}
    return Inputs(CLIPS, tables, {name: present(job) for name, job in jobs.items()})


def values_of(run: Run) -> dict[str, Value]:
    """What can be shown and asked of a clip: some facts, all that conditions name, all that is measured."""
    tables = measured(stage for _, stage in run.stages)
    asked = [name for rule in judge_of(run).rules for name in rule.names()]
    names = dict.fromkeys([*SHOWN_FACTS, *asked, *tables])
    found = {name: value_of(name, tables) for name in names}
    return {name: value for name, value in found.items() if value and not value.text}


def clip_rows(run: Run, inputs: Inputs) -> "pl.LazyFrame":
    """Sorted by id. `judged` is the verdict before captions, null while there is none, `kept` that of all judges."""
    import polars as pl

    values = values_of(run)
    frame = gather(inputs, values).with_columns(tidy(run, values))
    own = [pl.col(name).alias(f"clip {name}") for name in OF_CLIP]  # conditions may name some of them as values
    frame = frame.join(inputs.frame(CLIPS).select(TAKEN, "video_id", *own), on=TAKEN, how="left")
    for name, column in (("judge", "judged"), ("select", "selected")):
        found = inputs.frame(name).select(TAKEN, pl.col("kept").alias(column), pl.col("failed").alias(f"{column} why"))
        frame = frame.join(found, on=TAKEN, how="left")
    frame = frame.join(inputs.frame("plan").select(TAKEN, "shard"), on=TAKEN, how="left")
    for table in (name for name in inputs.tables if name.startswith("caption.")):
        frame = frame.join(caption_rows(inputs, table), on=TAKEN, how="left")
    kept = pl.col("judged") & pl.coalesce("selected", pl.lit(value=True))
    why = pl.concat_list(*(pl.col(f"{name} why").fill_null([]) for name in ("judged", "selected")))
    return frame.with_columns(kept=kept, why=why).drop("judged why", "selected why").sort(TAKEN)


def caption_rows(inputs: Inputs, table: str) -> "pl.LazyFrame":
    """A struct named `caption.<captioner>`."""
    import polars as pl

    rows = inputs.frame(table)
    there = rows.collect_schema().names()
    return rows.select(TAKEN, pl.struct(*(n for n in (*OF_CAPTION, *HOW) if n in there)).alias(table))


def tidy(run: Run, values: Mapping[str, Value]) -> list["pl.Expr"]:
    """Values that conditions name stay exact, as they are compared; others are rounded. None is infinite."""
    import polars as pl

    exact = {name for rule in judge_of(run).rules for name in rule.names()}
    finite = {name: pl.when(pl.col(name).is_finite()).then(pl.col(name)) for name in values}
    return [(e if name in exact else e.round_sig_figs(DIGITS)).alias(name) for name, e in finite.items()]


def video_rows(run: Run, inputs: Inputs, ids: "pl.Series") -> dict[str, dict[str, Any]]:
    """Where each video is from and what was found in it, by its id."""
    import polars as pl

    wanted = pl.LazyFrame({"video_id": ids})
    scans = inputs.frame(SCANS).select("video_id", *(pl.col(n).alias(f"scan {n}") for n in OF_SCAN), "strip")
    frame = inputs.frame(VIDEOS).join(wanted, on="video_id", how="semi").join(scans, on="video_id", how="left")
    columns = ("video_id", "root", "license", *OF_VIDEO, *OF_FILE)
    rows = frame.select(*columns, "strip", *(f"scan {n}" for n in OF_SCAN)).collect().to_dicts()
    return {row["video_id"]: row | {"license_id": license_of(row["license"], row["license_url"]).id} for row in rows}


def text_facts() -> list[str]:
    """The facts that are texts; the page finds them in the row of the video."""
    return [name for name, value in FACTS.items() if value.text]
