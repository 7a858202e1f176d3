"""Rows as parquet and back: the columns are the fields of the record."""

import dataclasses
import io
import json
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from builder.digests import per_type
from builder.errors import RunError
from builder.records import Record
from builder.storage import Storage

R = TypeVar("R", bound=Record)
FORMAT_VERSION = 1

ARROW: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    tuple[str, ...]: pa.list_(pa.string()),
    tuple[int, ...]: pa.list_(pa.int64()),
    tuple[float, ...]: pa.list_(pa.float64()),
}


@per_type
def arrow_schema(record: type[Any]) -> pa.Schema:
    hints = typing.get_type_hints(record)
    return pa.schema([pa.field(f.name, ARROW[hints[f.name]], nullable=False) for f in dataclasses.fields(record)])


def to_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def from_parquet(data: bytes) -> pa.Table:
    """In this thread alone: parts are small, and see `Storage.open` for what other threads may do."""
    return pq.ParquetFile(pa.BufferReader(data), pre_buffer=False).read(use_threads=False)


def read_columns(storage: Storage, name: str, columns: Sequence[str]) -> pa.Table:
    """A few columns of a part, without the rest of it.

    Raises:
        RunError: the part is damaged.
    """
    try:
        with storage.open(name) as file:
            return pq.ParquetFile(file, pre_buffer=False).read(columns=list(columns), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        path = storage.path(name)
        raise RunError(f"{path} is damaged; remove it and run again: only its rows are made anew") from error


def encode(record: type[Record], rows: Sequence[Record], metadata: Mapping[str, Any]) -> bytes:
    return to_parquet(as_table(record, rows).replace_schema_metadata(as_text(metadata)))


def as_table(record: type[Record], rows: Sequence[Record]) -> pa.Table:
    schema = arrow_schema(record)
    columns = [pa.array([getattr(row, f.name) for row in rows], f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def as_text(metadata: Mapping[str, Any]) -> dict[str, str]:
    """What a footer can hold: JSON by key."""
    return {key: json.dumps(value, separators=(",", ":")) for key, value in metadata.items()}


def decode(record: type[R], table: pa.Table, path: str) -> list[R]:
    """Rows of a table written by this or an earlier version: a missing field takes its default.

    Raises:
        RunError: a field is unknown, or one without a default is missing.
    """
    fields = {f.name: f for f in dataclasses.fields(record)}
    unknown = set(table.column_names) - set(fields)
    required = {n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING}
    missing = required - set(table.column_names)
    if unknown or missing:
        wrong = ", ".join([f"unknown {n!r}" for n in sorted(unknown)] + [f"missing {n!r}" for n in sorted(missing)])
        raise RunError(f"{path} does not fit {record.__name__} (format {FORMAT_VERSION}): {wrong}")
    lists = {n for n in table.column_names if pa.types.is_list(table.schema.field(n).type)}
    columns = [
        [tuple(v) for v in table.column(n).to_pylist()] if n in lists else table.column(n).to_pylist()
        for n in table.column_names
    ]
    return [record(**dict(zip(table.column_names, values, strict=True))) for values in zip(*columns, strict=True)]
