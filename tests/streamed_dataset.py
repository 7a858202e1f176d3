"""Datasets to stream: many small samples, the bytes of whose videos need not be videos; and what reads them in turn."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shards import training
from shards.index import index_row, write_index
from shards.manifest import Header, ShardEntry, build_manifest
from shards.training import Stream
from shards.write import Sample, write_shard
from small_dataset import CAPTIONERS, SCORES, make_metadata

Order = list[str]


def sample_of(key: str, video: bytes, **changes: object) -> Sample:
    captions = {name: f"{name} says {key}" for name in CAPTIONERS}
    return Sample(key, {**make_metadata(key), **changes}, video, captions)


def write_dataset(folder: Path, shards: Sequence[Sequence[Sample]], split: str = "train") -> Path:
    entries, rows = [], []
    each = 2 + len(CAPTIONERS)
    for number, samples in enumerate(shards):
        path = f"data/pexels/r0001/pexels-{split}-{number:06}.tar"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        written = write_shard(folder / path, samples)
        entries.append(ShardEntry(path, len(samples), written.size_bytes, written.sha256))
        for n, sample in enumerate(samples):
            rows.append(index_row(path, sample.metadata, sample.captions, written.members[each * n : each * (n + 1)]))
    sha256 = write_index(folder / "index.parquet", rows, SCORES, CAPTIONERS)
    manifest = build_manifest(folder, Header("clips", "test 1", SCORES, CAPTIONERS), entries, sha256)
    (folder / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    return folder


def write_numbered(folder: Path, counts: Sequence[int], size: int = 40, split: str = "train") -> Path:
    """Shards of so many samples each, whose keys are s00-00, s00-01, ..., a frame longer each."""
    shards = [
        [
            sample_of(f"s{n:02}-{m:02}", f"video of {n} {m}".encode() * (size // 8 + m % 3), frames=6 + m, width=64 + n)
            for m in range(count)
        ]
        for n, count in enumerate(counts)
    ]
    return write_dataset(folder, shards, split)


def keys_of(unit: dict[str, Any]) -> Order:
    """Without those that repeat others."""
    keys, pads = unit["__key__"], unit["pad"]
    if isinstance(keys, str):
        return [] if pads else [keys]
    return [key for key, pad in zip(keys, pads, strict=True) if not pad]


def for_rank(data: Stream, rank: int, world: int) -> Stream:
    """The same as asked for by another rank, without reading the index again."""
    other = copy.copy(data)
    other.wanted = replace(data.wanted, rank=rank, world=world)
    return other


def in_turn(data: Stream, workers: int, patch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What a loader with so many workers gives, in this process: it asks each worker in turn until none has more."""
    if not workers:
        yield from data
        return
    parts = [iter(copy.copy(data)) for _ in range(workers)]
    while parts:
        for number, part in list(enumerate(parts)):
            with patch.context() as inside:
                inside.setattr(training, "get_worker_info", lambda n=number: SimpleNamespace(id=n, num_workers=workers))
                unit = next(part, None)
            if unit is None:
                return
            yield unit
