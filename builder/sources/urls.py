"""A list of video URLs: CSV, JSONL or Parquet, as a file or at a URL of its own."""

import contextlib
import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar

import pyarrow.parquet as pq

from builder.errors import ItemError
from builder.records import Found
from builder.stage import settings
from builder.stages.find import Source

MAX_LIST_BYTES = 1 << 30  # a list from the web is held in memory
COLUMNS = {  # in a list -> in a row; others are not read
    "url": "url",
    "id": "site_id",
    "page_url": "page_url",
    "author": "author",
    "author_url": "author_url",
    "title": "title",
    "tags": "tags",
    "license": "license",
    "license_url": "license_url",
}
Row = Mapping[str, Any]


@settings
class Urls(Source):
    """One video a row: `url`, and if known id, page_url, author, author_url, title, tags (a;b), license, license_url.

    A list on the web is read once per run: `osd-build retry RUN` after a failure, another `path` to read it anew.
    """

    plugin: ClassVar[str] = "urls"
    path: str = field(kw_only=True)

    def state(self, base: Path) -> str:
        if not self.is_remote:
            with contextlib.suppress(OSError), self._local(base).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        return ""

    def find(self, base: Path) -> Iterator[Found]:
        read = READERS.get(PurePosixPath(self.path.partition("?")[0]).suffix.lower())
        if read is None:
            raise ItemError("bad_list", f"{self.path!r} ends in none of {', '.join(READERS)}; convert or rename it")
        try:
            with self._open(base) as file:
                for row, values in read(file):
                    yield self._found(row, values)
        except OSError as error:
            text = f"{self.path!r} cannot be read ({error.strerror or error}); relative paths start at build.toml"
            raise ItemError("unreadable_list", text) from error
        except (ValueError, csv.Error) as error:  # not UTF-8, not Parquet, not CSV
            raise ItemError("bad_list", f"{self.path!r} is damaged ({error}); correct it and run again") from error

    def sought(self) -> str:
        return f"at least one row in {self.path!r}"

    @property
    def is_remote(self) -> bool:
        return self.path.startswith(("http://", "https://"))

    def _local(self, base: Path) -> Path:
        return base / Path(self.path).expanduser()

    def _open(self, base: Path) -> BinaryIO:
        if not self.is_remote:
            return self._local(base).open("rb")
        from builder.web.address import normalised
        from builder.web.client import Client, Limits

        with Client(Limits(size_bytes=MAX_LIST_BYTES)) as client:
            client.download(normalised(self.path), body := io.BytesIO())
        body.seek(0)
        return body

    def _found(self, row: int, values: Row) -> Found:
        """A row without a URL keeps its place in the list, so that its failure can name it."""
        given: dict[str, Any] = {name: as_text(values.get(column)) for column, name in COLUMNS.items()}
        place = "" if given["url"] else f"{self.path} row {row}"
        return Found("", "", path=place, **given | {"tags": as_tags(values.get("tags"))})


def from_csv(file: BinaryIO) -> Iterator[tuple[int, Row]]:
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        rows = csv.DictReader(text)
        check_columns(rows.fieldnames or [])
        yield from ((rows.line_num, row) for row in rows)


def from_jsonl(file: BinaryIO) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            yield number, row if isinstance(row, dict) else {}


def from_parquet(file: BinaryIO) -> Iterator[tuple[int, Row]]:
    table = pq.ParquetFile(file)
    names = check_columns(table.schema_arrow.names)
    rows = (row for batch in table.iter_batches(columns=names) for row in batch.to_pylist())
    yield from enumerate(rows, 1)


def check_columns(names: Iterable[str]) -> list[str]:
    """Those of `names` that are read."""
    if "url" not in (names := list(names)):
        given = ", ".join(map(repr, names)) or "none"
        raise ItemError("bad_list", f"the list has no column 'url' (it has: {given}); name the columns first")
    return [name for name in names if name in COLUMNS]


def as_text(value: Any) -> str:
    """Text that a table can hold: JSON may smuggle in half a character."""
    return "" if value is None else str(value).strip().encode("utf-8", "replace").decode()


def as_tags(value: Any) -> tuple[str, ...]:
    parts = value if isinstance(value, list) else as_text(value).split(";")
    return tuple(tag for tag in map(as_text, parts) if tag)


READERS: Mapping[str, Callable[[BinaryIO], Iterator[tuple[int, Row]]]] = {
    ".csv": from_csv,
    ".jsonl": from_jsonl,
    ".parquet": from_parquet,
}
