"""What is exported: the clips of a finished dataset, row by row from its index, never all of them in memory."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builder.errors import ConfigError, RunError
from open_sora_dataset import member_names
from shards.configs import split_of
from shards.index import index_schema
from shards.manifest import INDEX_NAME, Manifest, read_manifest
from shards.manifest import NAME as MANIFEST_NAME
from shards.write import NAME

BATCH = 1000
Row = dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    folder: Path
    manifest: Manifest

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The index in order, with the column `split` behind `shard`."""
        with pq.ParquetFile(self.folder / INDEX_NAME) as file:
            for batch in file.iter_batches(BATCH):
                at = batch.schema.get_field_index("shard") + 1
                splits = pa.array([split_of(path) for path in batch["shard"].to_pylist()], pa.string())
                columns = [*batch.columns[:at], splits, *batch.columns[at:]]
                names = [*batch.schema.names[:at], "split", *batch.schema.names[at:]]
                yield pa.RecordBatch.from_arrays(columns, names=names)

    def rows(self) -> Iterator[Row]:
        """Raises RunError for a row that cannot be trusted: its shard and key become file names."""
        shards = {entry.path for entry in self.manifest.shards}
        for batch in self.batches():
            for row in batch.to_pylist():
                if row["shard"] not in shards or not NAME.fullmatch(row["key"]):
                    where = f"{self.folder / INDEX_NAME}: sample {row['key']!r} of {row['shard']!r}"
                    raise RunError(f"{where} does not belong to this dataset; see osd-build verify {self.folder}")
                yield row

    def texts(self, captioner: str) -> list[str]:
        """Columns of captions: of one captioner, or of all, that of `txt` first.

        Raises:
            ConfigError: there is no such captioner.
        """
        columns = dict(zip(self.manifest.captioners, member_names(self.manifest.captioners)[2:], strict=True))
        if not captioner:
            return list(columns.values())
        if captioner not in columns:
            raise ConfigError(f"{self.folder} has no captions named {captioner!r}; there are: {', '.join(columns)}")
        return [columns[captioner]]


def open_dataset(path: Path) -> Dataset:
    """The dataset in a folder, or that of a run.

    Raises:
        RunError: there is none, or its index is another one's.
    """
    folder = next((f for f in (path, path / "dataset") if (f / MANIFEST_NAME).is_file()), None)
    if folder is None:
        raise RunError(
            f"{path} is no finished dataset and no run with one (no {MANIFEST_NAME}); run: osd-build pack RUN"
        )
    try:
        manifest = read_manifest(folder)
        index_schema(folder / INDEX_NAME)
        with (folder / INDEX_NAME).open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == manifest.index_sha256
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} cannot be read: {error}; see osd-build verify {folder}") from error
    if not same:
        raise RunError(f"{folder / INDEX_NAME} is not the one of {MANIFEST_NAME}; see osd-build verify {folder}")
    return Dataset(folder, manifest)
