"""A part of a dataset, by shards: its index and manifest, and the links of the other shards. No shard is copied."""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from builder.storage import sha256_of
from shards.index import ROWS_PER_GROUP, read_rows
from shards.links import NAME as LINKS_NAME
from shards.links import Links, links_path, write_links
from shards.manifest import INDEX_NAME, NAME, Manifest, ShardEntry, Totals


def subset(folder: Path, manifest: Manifest, shards: Sequence[ShardEntry], target: Path) -> Manifest:
    """Write index and manifest of these shards alone below `target`."""
    paths = [entry.path for entry in shards]
    durations_s, licenses = copy_index(folder / INDEX_NAME, target / INDEX_NAME, paths)
    size_bytes = sum(entry.size_bytes for entry in shards)
    part = dataclasses.replace(
        manifest,
        shards=tuple(shards),
        totals=Totals(len(durations_s), math.fsum(durations_s), size_bytes),
        licenses=licenses,
        index_sha256=sha256_of(target / INDEX_NAME),
    )
    (target / NAME).write_text(part.to_json(), encoding="utf-8")
    return part


def copy_index(source: Path, target: Path, shards: Sequence[str]) -> tuple[list[float], Mapping[str, int]]:
    """Write the rows of these shards in their order, never all of them in memory; their seconds, and their licences."""
    durations_s: list[float] = []
    licenses: Counter[str] = Counter()
    wanted = pa.array(shards, pa.string())
    with pq.ParquetFile(source) as file, pq.ParquetWriter(target, file.schema_arrow, compression="zstd") as writer:
        for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
            kept = batch.filter(pc.is_in(batch["shard"], value_set=wanted))
            if kept.num_rows:
                writer.write_batch(kept)
                durations_s += kept["duration_s"].to_pylist()
                licenses.update(kept["license"].to_pylist())
    return durations_s, dict(licenses)


def written_links(folder: Path, manifest: Manifest, shards: Sequence[ShardEntry], target: Path) -> Links:
    """Write the links of these shards, and what lists them, below `target`."""
    entries = []
    for entry in shards:
        path = target / links_path(entry.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = read_rows(folder / INDEX_NAME, "shard", entry.path)
        size_bytes, sha256 = write_links(path, rows, manifest.scores, manifest.captioners)
        entries.append(dataclasses.replace(entry, path=links_path(entry.path), size_bytes=size_bytes, sha256=sha256))
    links = Links(tuple(entries))
    if entries:
        (target / LINKS_NAME).write_text(links.to_json(), encoding="utf-8")
    return links
