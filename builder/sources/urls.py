"""A list of videos: CSV, TSV, JSONL or Parquet, as a file or at a URL of its own."""

import contextlib
import csv
import gzip
import hashlib
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Annotated, Any, AnyStr, BinaryIO, ClassVar, Generic, cast

import pyarrow.parquet as pq
from pydantic import Field

from builder.errors import ItemError
from builder.records import Found
from builder.stage import Context, settings
from builder.stages.find import Source

MAX_ROW = 16 << 20  # characters; Panda-70M has rows of several 100,000
BATCH = 256  # rows of a Parquet file that are held at a time
COLUMNS: Mapping[str, tuple[str, ...]] = {  # ours -> what others call it; case, `-`, `_` and spaces do not count
    "url": ("contenturl", "videourl", "mediaurl", "videoloc", "link"),
    "id": ("videoid", "siteid"),
    "page_url": (),
    "author": ("uploader", "creator"),
    "author_url": (),
    "title": ("name",),
    "tags": ("keywords",),
    "license": ("licence",),
    "license_url": ("licenceurl",),
    "sha256": (),
    "start": ("starts", "starttime"),
    "end": ("ends", "endtime"),
    "timestamp": ("timestamps",),
}
KEPT = {"id": "site_id"} | {n: n for n in ("page_url", "author", "author_url", "title", "license", "license_url")}
SEPARATORS = re.compile(r"[-_\s]")
SHA256 = re.compile(r"[0-9a-f]{64}")
TIMECODE = re.compile(r"(?:(\d{1,4}) days?, *)?(?:(\d{1,4}):([0-5]?\d)|(\d{1,4})):([0-5]?\d)(?:\.(\d{1,9}))?", re.ASCII)
LONGEST_S = 10_000 * 86_400
SIDE = r"""\s{0,9}(["']?)([^"'\[\]()]{0,40}?)\%d\s{0,9}"""  # bounded, so that no text takes long to match
PAIR = re.compile(rf"[\[(]{SIDE % 1},{SIDE % 3}[\])]")
Row = Mapping[str, Any]  # by our names, of the columns that are there


@settings
class Urls(Source):
    """One row a video, or a span of one: `url`, and if known id, page_url, author, author_url, title, tags (a;b),
    license, license_url, sha256, and the span wanted: start and end (seconds or HH:MM:SS.mmm), or several spans as a
    list of pairs in timestamp, as Panda-70M has it. Names that others use are known, too: contentUrl, videoid, name.

    With `pages`, the URLs are pages of YouTube, Vimeo and others, and yt-dlp finds the file of each, one of at most
    `max_height` pixels if that is not 0. A list on the web is read once per run, until `osd-build crawl --refresh`.
    """

    plugin: ClassVar[str] = "urls"
    path: str = field(kw_only=True)
    pages: bool = False
    max_height: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.max_height and not self.pages:
            raise ValueError("max_height chooses among the files of a page; it needs pages = true")

    def state(self, base: Path) -> str:
        if not self.is_remote:
            with contextlib.suppress(OSError), self._local(base).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        return ""

    def find(self, context: Context) -> Iterator[Found]:
        name = (self.path.partition("?")[0] if self.is_remote else self.path).lower()
        plain = name.removesuffix(".gz")
        read = next((read for ending, read in READERS.items() if plain.endswith(ending)), None)
        if read is None:
            text = f"{self.shown!r} ends in none of {', '.join(READERS)} (nor these with .gz); convert or rename it"
            raise ItemError("bad_list", text)
        try:
            with self._opened(context) as file:
                unpacked = file if plain == name else cast(BinaryIO, gzip.GzipFile(fileobj=file))
                for number, row in read(unpacked):
                    yield self._found(number, row)
        except (ValueError, csv.Error, EOFError, zlib.error, gzip.BadGzipFile) as error:  # not UTF-8, not Parquet, ...
            text = f"{self.shown!r} cannot be used ({error}); correct it and run again"
            raise ItemError("bad_list", text) from error
        except OSError as error:
            text = f"{self.shown!r} cannot be read ({error.strerror or error}); relative paths start at build.toml"
            raise ItemError("unreadable_list", text) from error

    def media_url(self, found: Found, context: Context) -> str:
        url = super().media_url(found, context)
        if not self.pages:
            return url
        from builder.web.extract import media_url

        return media_url(url, context.client, self.max_height)

    def sought(self) -> str:
        return f"at least one row in {self.shown!r}"

    @property
    def is_remote(self) -> bool:
        return self.path.startswith(("http://", "https://"))

    @property
    def shown(self) -> str:
        """The list's name for messages and tables: its URL may hold a key."""
        from builder.web.address import shown

        return shown(self.path) if self.is_remote else self.path

    def _local(self, base: Path) -> Path:
        return base / Path(self.path).expanduser()

    @contextlib.contextmanager
    def _opened(self, context: Context) -> Iterator[BinaryIO]:
        if not self.is_remote:
            with self._local(context.base).open("rb") as file:
                yield file
            return
        from builder.web.address import normalised
        from builder.web.download import Wanted, download, exclusive

        with context.storage.scratch(".list") as path:
            try:
                with exclusive(path) as part:
                    download(context.client, normalised(self.path), part, path, Wanted())
            finally:
                path.with_suffix(".note").unlink(missing_ok=True)
            with path.open("rb") as file:
                yield file

    def _found(self, number: int, row: Row) -> Found:
        """A row that cannot be used keeps its place in the list, without a URL, so that its failure can name it."""
        text = dict.fromkeys(COLUMNS, "") | {name: as_text(value) for name, value in row.items()}
        url, place, times, sha256 = text["url"], "", list[tuple[float, float]](), text["sha256"].lower()
        try:
            times = spans(row)
            if sha256 and not SHA256.fullmatch(sha256):
                raise ValueError(f"sha256 {sha256[:80]!r} is not 64 hex digits")
        except ValueError as error:
            url, sha256, place = "", "", f" ({error})"
        given: dict[str, Any] = {ours: text[name] for name, ours in KEPT.items()}
        starts_s, ends_s = tuple(start for start, _ in times), tuple(end for _, end in times)
        path = "" if url else f"{self.shown} row {number}{place}"
        more = {"tags": as_tags(row.get("tags")), "listed_sha256": sha256, "starts_s": starts_s, "ends_s": ends_s}
        return Found("", "", url=url, path=path, **given | more)


@lru_cache(maxsize=256)
def columns(given: tuple[str, ...]) -> Mapping[str, str]:
    """Our names of the columns that are read -> those in the list. The exact name wins, then the order in COLUMNS."""
    plain = {plain_name(name): name for name in reversed(given)} | {name: name for name in given}
    spellings = {ours: (ours, plain_name(ours), *others) for ours, others in COLUMNS.items()}
    found = {ours: next(filter(None, map(plain.get, names)), "") for ours, names in spellings.items()}
    return {ours: name for ours, name in found.items() if name}


def plain_name(name: str) -> str:
    return SEPARATORS.sub("", name).lower()


def checked_columns(given: tuple[str, ...]) -> Mapping[str, str]:
    """As `columns`.

    Raises:
        ValueError: none of them holds URLs.
    """
    if "url" not in (found := columns(given)):
        has, accepted = ", ".join(map(repr, given))[:500] or "none", ", ".join(("url", *COLUMNS["url"]))
        raise ValueError(f"it has no column {accepted}, in any case, with or without `_`; it has: {has}")
    return found


# -- the formats: each gives the rows with their numbers, for a text file that of the row's last line
@dataclass
class Lines(Generic[AnyStr]):
    """The lines of a file, several of which may be one row: who has read a row sets `room` anew. Without a bound, a
    stray quotation mark fills the memory."""

    file: IO[AnyStr]
    number: int = 0
    room: int = field(default_factory=lambda: MAX_ROW)

    def __iter__(self) -> Iterator[AnyStr]:
        while line := self.file.readline(self.room):
            self.number += 1
            self.room -= len(line)
            if not self.room:
                text = f"line {self.number} belongs to a row of more than {MAX_ROW:,} characters"
                raise ValueError(f"{text}: is a quotation mark missing?")
            yield line


def from_csv(file: BinaryIO, delimiter: str = ",") -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(MAX_ROW)  # 128 KiB by default
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        # Strict, for else a quotation mark that is not closed eats all rows after it without a word.
        rows = csv.reader(lines := Lines(text), delimiter=delimiter, strict=True)
        given = next(rows, [])
        places = {ours: given.index(name) for ours, name in checked_columns(tuple(given)).items()}
        for row in rows:
            lines.room = MAX_ROW
            if row:
                yield lines.number, {ours: row[place] for ours, place in places.items() if place < len(row)}


def from_jsonl(file: BinaryIO) -> Iterator[tuple[int, Row]]:
    for line in (lines := Lines(file)):
        lines.room = MAX_ROW
        if line.strip():
            row = as_object(line)
            yield lines.number, {ours: row[name] for ours, name in columns(tuple(row)).items()}


def from_parquet(file: BinaryIO) -> Iterator[tuple[int, Row]]:
    table = pq.ParquetFile(file)
    names = checked_columns(tuple(table.schema_arrow.names))
    batches = table.iter_batches(batch_size=BATCH, columns=list(names.values()))
    rows = (row for batch in batches for row in batch.to_pylist())
    yield from enumerate(({ours: row[name] for ours, name in names.items()} for row in rows), 1)


READERS: Mapping[str, Callable[[BinaryIO], Iterator[tuple[int, Row]]]] = {
    ".csv": from_csv,
    ".tsv": partial(from_csv, delimiter="\t"),
    ".jsonl": from_jsonl,
    ".ndjson": from_jsonl,
    ".parquet": from_parquet,
}


# -- the values
def as_object(line: bytes) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def as_text(value: Any) -> str:
    """Text that a table can hold: JSON may smuggle in half a character, and NaN is what pandas writes for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip().encode("utf-8", "replace").decode()


def as_tags(value: Any) -> tuple[str, ...]:
    """A list, or text with `;` between the tags, or with commas where there is none."""
    text = as_text(value)
    parts = value if isinstance(value, list) else text.split(";" if ";" in text else ",")
    return tuple(tag for tag in map(as_text, parts) if tag)


def spans(row: Row) -> list[tuple[float, float]]:
    """The spans that a row asks for, in seconds; none if it does not say.

    Raises:
        ValueError: one of them is none; says which.
    """
    listed = row.get("timestamp")
    if isinstance(listed, list) or as_text(listed).startswith("["):  # else it is a date, of which nothing is made
        return [span(start, end) for start, end in pairs(listed)]
    start, end = row.get("start"), row.get("end")
    return [span(start, end)] if as_text(start) or as_text(end) else []


def pairs(value: Any) -> list[tuple[str, str]]:
    """A list of pairs, as it is or as Python or JSON writes it; text is matched, never evaluated."""
    text = json.dumps(value, default=str) if isinstance(value, list) else as_text(value)
    found = [(match[2], match[4]) for match in PAIR.finditer(text[1:-1])]
    if not found or not text.endswith("]") or PAIR.sub("", text[1:-1]).strip(", \r\n\t"):
        raise ValueError(f"timestamp {text[:80]!r} is no list of [start, end]")
    return found


def span(start: Any, end: Any) -> tuple[float, float]:
    with contextlib.suppress(ValueError):
        start_s, end_s = seconds(as_text(start)), seconds(as_text(end))
        if 0 <= start_s < end_s <= LONGEST_S:
            return start_s, end_s
    raise ValueError(f"{as_text(start)[:40]!r} to {as_text(end)[:40]!r} is no span")


def seconds(text: str) -> float:
    """Of a number or a timecode: `1:02:03.5`, `62:03.5`, and of long videos `1 day, 1:02:03.5`."""
    if not (match := TIMECODE.fullmatch(text)):
        return float(text)
    days, hours, minutes, all_minutes, whole = (int(part or 0) for part in match.groups()[:5])
    return float(f"{((days * 24 + hours) * 60 + minutes + all_minutes) * 60 + whole}.{match[6] or 0}")
