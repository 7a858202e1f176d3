"""Exported files: written whole, and never over what is there."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from builder.errors import ConfigError, RunError
from builder.storage import Storage, sha256_of, sync


@contextmanager
def new_file(storage: Storage, name: str) -> Iterator[Path]:
    """A temporary path whose file appears under its name at the end, if nothing went wrong.

    Raises:
        RunError: there is another file of that name.
    """
    with storage.scratch() as temporary:
        yield temporary
        sync(temporary)
        target = storage.path(name)
        try:
            os.link(temporary, target)
        except FileExistsError:
            if sha256_of(target) != sha256_of(temporary):  # else a run that was killed got so far
                raise RunError(
                    f"{target} is there with other contents; it is left as it is: choose another --out"
                ) from None
        except OSError:  # a file system without links
            storage.adopt(temporary, name)
        sync(target.parent)


def check_new(out: Path, names: Iterable[str]) -> None:
    """Raises ConfigError where something of an export is there already."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder")
    for name in names:
        if (out / name).exists():
            raise ConfigError(f"{out / name} is there already; it is not overwritten: choose another --out")


class JsonLists:
    """Lists of items, one file for each name, which appear together at the end. In ASCII, for any locale."""

    def __init__(self, storage: Storage, stack: ExitStack) -> None:
        self.storage, self.stack = storage, stack
        self.files: dict[str, TextIO] = {}
        self.counts: dict[str, int] = {}

    def add(self, name: str, item: dict[str, Any]) -> None:
        if name not in self.files:
            path = self.stack.enter_context(new_file(self.storage, name))
            self.files[name] = self.stack.enter_context(path.open("w", encoding="ascii"))
            self.counts[name] = 0
        self.files[name].write((",\n" if self.counts[name] else "[\n") + json.dumps(item))
        self.counts[name] += 1

    def close(self) -> None:
        for file in self.files.values():
            file.write("\n]\n")
            file.flush()


def write_parquet(path: Path, batches: Iterable[pa.RecordBatch]) -> int:
    count = 0
    writer: pq.ParquetWriter | None = None
    try:
        for batch in batches:
            writer = writer or pq.ParquetWriter(path, batch.schema, compression="zstd")
            writer.write_batch(batch)
            count += batch.num_rows
    finally:
        if writer:
            writer.close()
    return count


def write_csv(path: Path, batches: Iterable[pa.RecordBatch]) -> int:
    """As RFC 4180 has it, with a line of names. For programs: a spreadsheet takes `=...` in a caption for a formula."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\r\n")
        for batch in batches:
            if not count:
                table.writerow(batch.schema.names)
            table.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))
            count += batch.num_rows
    return count


def write_jsonl(path: Path, batches: Iterable[pa.RecordBatch]) -> int:
    """In ASCII, so that a line is a line for every reader: some end one at U+2028."""
    count = 0
    with path.open("w", encoding="ascii") as file:
        for batch in batches:
            file.writelines(f"{json.dumps(row, allow_nan=False)}\n" for row in batch.to_pylist())
            count += batch.num_rows
    return count


TABLES: dict[str, Callable[[Path, Iterable[pa.RecordBatch]], int]] = {
    "parquet": write_parquet,
    "csv": write_csv,
    "jsonl": write_jsonl,
}
