"""`removed.parquet`: what was taken out of a dataset for good, so that readers leave it out of older revisions too.

Columns, all strings: `clip_id` and `mp4_sha256` of a clip (both null in a row about a whole source video), and
`source_sha256` of the file that it was cut from, never null. No names, no addresses. Rows are only ever added.
"""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from open_sora_dataset import FORMAT_VERSION, check_format_version
from shards.index import VERSION_KEY

NAME = "removed.parquet"
SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("mp4_sha256", pa.string()),
        pa.field("source_sha256", pa.string(), nullable=False),
    ],
    metadata={VERSION_KEY: str(FORMAT_VERSION).encode()},
)


class Removed(NamedTuple):
    """A clip, or with neither id nor hash of one every clip of a source video."""

    source_sha256: str
    clip_id: str | None = None
    mp4_sha256: str | None = None


def read(source: Path | bytes) -> frozenset[Removed]:
    """The rows of the file, or of its bytes; empty if there is no file.

    Raises:
        ValueError: it is something else, or of a later version.
    """
    if isinstance(source, Path) and not source.exists():
        return frozenset()
    try:
        table = pq.read_table(io.BytesIO(source) if isinstance(source, bytes) else source)
        check_format_version(int((table.schema.metadata or {})[VERSION_KEY]), NAME)
        rows = table.select(Removed._fields).to_pylist()
    except (KeyError, pa.ArrowException) as error:
        raise ValueError(f"{NAME} is damaged, or not what osd-build writes: {error}") from error
    return frozenset(Removed(**row) for row in rows)


def as_bytes(rows: Iterable[Removed]) -> bytes:
    """The file: same rows, same bytes."""
    ordered = sorted(set(rows), key=lambda row: [text or "" for text in row])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row._asdict() for row in ordered], schema=SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()
