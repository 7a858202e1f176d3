"""What conditions may name: facts of a clip and of its video by a bare name, and whatever was measured of the clip.

    duration_s               one of FACTS; those of a video are of the video that the clip is from
    text.area                the field `area` of the scorer `text`
    caption-llava.words      of the captions named `llava` (only after captions: in [select])
    match.similarity         the field of a stage with a table of its own

Numbers are floats, yes and no are 1 and 0; a few facts are texts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from builder.conditions import Bound, Condition
from builder.query import Inputs
from builder.records import Caption, Clip, Record, Score
from builder.stage import Stage

if TYPE_CHECKING:
    import polars as pl

CLIPS, SCANS, VIDEOS = "split", "scan", "merge"
Make = Callable[..., "pl.Expr"]
Column = tuple[str, str]


@dataclass(frozen=True)
class Value:
    """Columns of tables, and how the value is made of them."""

    columns: tuple[Column, ...]
    make: Make
    text: bool = False


def number(table: str, column: str) -> Value:
    return Value(((table, column),), lambda x: x.cast(float))


def text(table: str, column: str) -> Value:
    return Value(((table, column),), lambda x: x, text=True)


def of_clip(make: Make, *columns: str) -> Value:
    return Value(tuple((CLIPS, column) for column in columns), make)


def shorter(width: "pl.Expr", height: "pl.Expr") -> "pl.Expr":
    import polars as pl

    return pl.min_horizontal(width, height)


def longer(width: "pl.Expr", height: "pl.Expr") -> "pl.Expr":
    import polars as pl

    return pl.max_horizontal(width, height)


def shown_aspect(width: "pl.Expr", height: "pl.Expr", sar: "pl.Expr") -> "pl.Expr":
    """Width by height as displayed; `sar` is "num/den"."""
    parts = sar.str.split_exact("/", 1)
    return width * parts.struct.field("field_0").cast(float) / (height * parts.struct.field("field_1").cast(float))


def licence_id(name: "pl.Expr", url: "pl.Expr") -> "pl.Expr":
    """As [licenses] names licences: SPDX ids, however a source spells them."""
    import polars as pl

    from builder.licenses import license_of

    def known(row: Mapping[str, str]) -> str:
        return license_of(*row.values()).id

    return pl.struct(name, url).map_elements(known, return_dtype=pl.String)


FACTS: Mapping[str, Value] = {
    "duration_s": of_clip(lambda start, end: end - start, "start_s", "end_s"),
    "start_s": number(CLIPS, "start_s"),
    "frames": of_clip(lambda first, last: last - first, "start_frame", "end_frame"),
    "fps": number(CLIPS, "fps"),
    "width": number(CLIPS, "width"),
    "height": number(CLIPS, "height"),
    "short_side": of_clip(shorter, "width", "height"),
    "long_side": of_clip(longer, "width", "height"),
    "pixels": of_clip(lambda width, height: width * height, "width", "height"),
    "aspect": Value(((SCANS, "width"), (SCANS, "height"), (SCANS, "sar")), shown_aspect),
    "bit_depth": number(SCANS, "bit_depth"),
    "damaged_frames": number(SCANS, "damaged_frames"),
    "interlaced": number(SCANS, "interlaced"),
    "vfr": number(SCANS, "vfr"),
    "source_duration_s": number(SCANS, "duration_s"),
    "bits_per_s": Value(((VIDEOS, "size_bytes"), (SCANS, "duration_s")), lambda size, length: size * 8 / length),
    "has_audio": number(VIDEOS, "has_audio"),
    "source": text(VIDEOS, "source"),
    "site": text(VIDEOS, "site"),
    "author": text(VIDEOS, "author"),
    "codec": text(VIDEOS, "codec"),
    "container": text(VIDEOS, "container"),
    "license": Value(((VIDEOS, "license"), (VIDEOS, "license_url")), licence_id, text=True),
}


def measured(stages: Iterable[Stage[Any, Any]]) -> dict[str, str]:
    """The table of every value that these stages write, by the name that conditions use."""
    return {f"{prefix(s.table)}.{name}": s.table for s in stages for name in fields(s.writes)}


def fields(record: type[Record]) -> Sequence[str]:
    if issubclass(record, Score):
        return record.names()
    return ["words"] if issubclass(record, Caption) else []


def prefix(table: str) -> str:
    return table.removeprefix("score.").replace(".", "-")


def value_of(name: str, tables: Mapping[str, str]) -> Value | None:
    """What a full name stands for; `tables` are those of what was measured."""
    if name in FACTS:
        return FACTS[name]
    column = name.rpartition(".")[2]
    if name not in tables:
        return None
    if column == "words" and tables[name].startswith("caption."):
        return Value(((tables[name], "text"),), lambda text: text.str.count_matches(r"\S+"))
    return number(tables[name], column)


def full_name(name: str, tables: Mapping[str, str]) -> str:
    """`aesthetic` is `aesthetic.score` if that is all this scorer measures; other names are as they are."""
    if "." in name or name in FACTS:
        return name
    own = [full for full in tables if full.partition(".")[0] == name]
    return own[0] if len(own) == 1 else name


def unfit(condition: Condition, tables: Mapping[str, str]) -> str:
    """Why a condition cannot be judged; empty when it can."""
    for leaf in condition.leaves():
        value = value_of(leaf.name, tables)
        if value is None:
            names = [*tables, *FACTS]
            own = [full for full in names if full.partition(".")[0] == leaf.name.partition(".")[0]]
            near = get_close_matches(leaf.name, names, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            return f"nothing measures {leaf.name!r}; {hint}there are: {', '.join(own or names)}"
        if value.text == isinstance(leaf, Bound):
            kind, fits = ("a text", '== "..." or != "..."') if value.text else ("a number", "a number or a percentile")
            return f"{leaf.name!r} is {kind}: compare it by {fits}"
    return ""


def gather(inputs: Inputs, values: Mapping[str, Value]) -> "pl.LazyFrame":
    """A row a clip, in order of its id: `clip_id` and a column a value, null where there is none."""
    import polars as pl

    wanted: dict[str, list[str]] = {CLIPS: []}
    for table, column in sorted({column for value in values.values() for column in value.columns}):
        wanted.setdefault(table, []).append(column)
    own = [pl.col(column).alias(f"{CLIPS}:{column}") for column in wanted.pop(CLIPS)]
    frame = inputs.frame(CLIPS).select("clip_id", "video_id", *own)
    if inputs.main != CLIPS:
        frame = frame.join(inputs.frame(inputs.main).select(Clip.KEY), on=Clip.KEY, how="semi")
    for table, columns in wanted.items():
        key = inputs.tables[table].record.KEY
        side = inputs.frame(table).select(key, *(pl.col(column).alias(f"{table}:{column}") for column in columns))
        frame = frame.join(side, on=key, how="left")
    made = {name: value.make(*(pl.col(f"{t}:{c}") for t, c in value.columns)) for name, value in values.items()}
    known = [column if values[name].text else column.cast(float).fill_nan(None) for name, column in made.items()]
    named = [column.alias(name) for name, column in zip(made, known, strict=True)]
    return frame.select(Clip.KEY, *named).sort(Clip.KEY)
