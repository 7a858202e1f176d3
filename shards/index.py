"""`index.parquet`: one row a sample: captions and scores without the videos, and any sample by its offset.

Columns: key, shard (path in the dataset folder); `<member>_offset` and `<member>_size` for every member;
mp4_sha256; the fields of METADATA; `score_<field>` for every score; the captions under the names of their
members (`txt`, `<name>.txt`); offset and size, both 0 where a sample has none, of every extra member.
"""

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from open_sora_dataset import FORMAT_VERSION, METADATA, check_format_version, member_names, score_fields
from shards.write import Member, checked_metadata

ROWS_PER_GROUP = 10_000  # some MB of captions: a sample is found by reading one group
VERSION_KEY = b"osd.format_version"

NO_MEMBER = Member("", "", 0, 0, "")

type_of = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
Row = dict[str, str | int | float]


def arrow_schema(scores: Sequence[str], captioners: Sequence[str], extras: Sequence[str] = ()) -> pa.Schema:
    members = member_names(captioners)
    columns = {
        "key": pa.string(),
        "shard": pa.string(),
        **{f"{member}_{what}": pa.int64() for member in members for what in ("offset", "size")},
        "mp4_sha256": pa.string(),
        **{name: type_of[dtype] for name, dtype in METADATA.items()},
        **{f"score_{field}": pa.float64() for field in score_fields(scores)},
        **{member: pa.string() for member in members[2:]},
        **{f"{extra}_{what}": pa.int64() for extra in extras for what in ("offset", "size")},
    }
    fields = [pa.field(name, dtype, nullable=False) for name, dtype in columns.items()]
    return pa.schema(fields, metadata={VERSION_KEY: str(FORMAT_VERSION).encode()})


def index_row(
    shard: str,
    metadata: Mapping[str, object],
    captions: Mapping[str, str],
    members: Sequence[Member],
    extras: Sequence[str] = (),
) -> Row:
    """The row of one sample, from what `write_shard` was given and the members it returned for this key."""
    record = checked_metadata(members[0].key, metadata)
    scores = cast(Mapping[str, float], record.pop("scores", {}))
    by_name = {member.name: member for member in members}
    own = [by_name[name] for name in member_names(list(captions))]
    offsets = {f"{member.name}_offset": member.offset for member in own}
    sizes = {f"{member.name}_size": member.size_bytes for member in own}
    further = [(extra, by_name.get(extra, NO_MEMBER)) for extra in extras]
    return {
        "key": members[0].key,
        "shard": shard,
        **offsets,
        **sizes,
        "mp4_sha256": by_name["mp4"].sha256,
        **cast(Row, record),
        **{f"score_{field}": value for field, value in scores.items()},
        **dict(zip(member_names(list(captions))[2:], captions.values(), strict=True)),
        **{f"{extra}_offset": member.offset for extra, member in further},
        **{f"{extra}_size": member.size_bytes for extra, member in further},
    }


def write_index(
    path: Path, rows: Iterable[Row], scores: Sequence[str], captioners: Sequence[str], extras: Sequence[str] = ()
) -> str:
    """Write the rows and return the file's sha256. They come ordered by shard path, then place in the shard,
    and are not collected: an index may be larger than memory. ValueError for another order or columns."""
    schema = arrow_schema(scores, captioners, extras)
    last: tuple[object, ...] = ()
    remaining = iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(itertools.islice(remaining, ROWS_PER_GROUP)):
            for row in group:
                place = (row["shard"], row["json_offset"])
                if place <= last or row.keys() != set(schema.names):
                    raise ValueError(f"index row {row['key']}: out of order, or its columns are not {schema.names}")
                last = place
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_rows(path: Path, column: str, value: str) -> list[Row]:
    """The rows with `value` in `column` (shard, key, ...); reads only the row groups that may hold it."""
    return cast(list[Row], pq.read_table(path, filters=[(column, "=", value)]).to_pylist())


def index_schema(path: Path) -> pa.Schema:
    """Raises NewerFormatError for an index of a later version, ValueError for a file that is no index."""
    schema = pq.read_schema(path)
    if VERSION_KEY not in (schema.metadata or {}):
        raise ValueError(f"{path} is not the index of an Open-Sora dataset")
    check_format_version(int(schema.metadata[VERSION_KEY]), path)
    return schema
