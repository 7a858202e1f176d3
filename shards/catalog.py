"""The samples to be streamed, as arrays: where each lies, and what decides about it. From the index, no shard is
read."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from open_sora_dataset import METADATA, check_conditions, holds, member_names, score_fields
from shards.index import index_schema
from shards.manifest import INDEX_NAME, Manifest, ShardEntry
from shards.manifest import NAME as MANIFEST_NAME
from shards.order import Ints
from shards.places import Place

SPLIT = re.compile(r"-(train|validation)-\d+\.tar$")
BLOCK = 512
NAMES_OF_A_CLIP = ("key", "clip_id", "mp4_sha256", "source_sha256")  # what removed.parquet may list
GROUPS_KEPT = 12  # row groups of the index in memory, a few MB each: those of the shards that are read side by side


@dataclass(frozen=True)
class Catalog:
    """The samples that were asked for, ordered by shard and place. Arrays have one entry a sample.

    A sample's bytes are [`start`, `end`) of its shard: the header of its json, json, mp4 (`video_bytes` at `video`),
    the texts; what else stands in the shard is not read. `row` is its row in the index.
    """

    index: Path
    captioners: tuple[str, ...]
    scores: tuple[str, ...]
    shards: tuple[str, ...]
    sizes_bytes: tuple[int, ...]
    shard: Ints
    row: Ints
    start: Ints
    video: Ints
    video_bytes: Ints
    end: Ints
    frames: Ints
    fps: NDArray[np.float64]
    aspect: NDArray[np.float64]
    keys: pa.Array

    def __len__(self) -> int:
        return len(self.row)

    def key(self, number: int) -> str:
        return str(self.keys[number].as_py())

    def only(self, wanted: NDArray[Any]) -> "Catalog":
        arrays = ("shard", "row", "start", "video", "video_bytes", "end", "frames", "fps", "aspect")
        chosen = {name: getattr(self, name)[wanted] for name in arrays}
        return Catalog(**{**vars(self), **chosen, "keys": self.keys.filter(pa.array(wanted))})


def read_catalog(place: Place, split: str, keep: Sequence[str]) -> tuple[Catalog, str]:
    """The samples of a split for which all of `keep` holds and that removed.parquet does not list, and the sha256 of
    the index. Raises NewerFormatError, OSError, and ValueError for a damaged dataset, unknown splits, or wrong
    conditions."""
    manifest = Manifest.from_json(place.text(MANIFEST_NAME))
    check_conditions(keep, manifest.scores)
    keep = [keep] if isinstance(keep, str) else keep
    index = place.file(INDEX_NAME, manifest.index_sha256)
    index_schema(index)
    of_split = [entry for entry in manifest.shards if (SPLIT.search(entry.path) or ["", "train"])[1] == split]
    if not of_split:
        known = sorted({(SPLIT.search(entry.path) or ["", "train"])[1] for entry in manifest.shards})
        raise ValueError(f"no shards of the split {split!r}; there are: {', '.join(known)}")
    members = member_names(manifest.captioners)
    table = _columns(index, members, _named_in(keep, manifest.scores))
    paths = [entry.path for entry in of_split]
    shard = pc.index_in(table["shard"], pa.array(paths)).fill_null(-1).to_numpy().astype(np.int64)
    wanted = shard >= 0
    gone = place.removed()
    for name in NAMES_OF_A_CLIP if gone else ():
        wanted &= ~pc.is_in(table[name], pa.array(sorted(gone))).to_numpy(zero_copy_only=False)
    for condition in keep:
        wanted &= holds(condition, lambda name: _column(table, name))
    catalog = _arrays(manifest, of_split, index, table, shard).only(wanted)
    _check_places(catalog)
    return catalog, manifest.index_sha256


def _arrays(manifest: Manifest, of_split: Sequence[ShardEntry], index: Path, table: pa.Table, shard: Ints) -> Catalog:
    members = member_names(manifest.captioners)
    ends = [_column(table, f"{name}_offset") + _column(table, f"{name}_size") for name in members]
    return Catalog(
        index=index,
        captioners=manifest.captioners,
        scores=tuple(score_fields(manifest.scores)),
        shards=tuple(entry.path for entry in of_split),
        sizes_bytes=tuple(entry.size_bytes for entry in of_split),
        shard=shard,
        row=np.arange(len(table)),
        start=_column(table, "json_offset") - BLOCK,
        video=_column(table, "mp4_offset"),
        video_bytes=_column(table, "mp4_size"),
        end=np.maximum.reduce(ends),
        frames=_column(table, "frames"),
        fps=_column(table, "fps"),
        aspect=_column(table, "width") / _column(table, "height"),
        keys=pa.concat_arrays(table["key"].chunks) if len(table) else pa.array([], pa.string()),
    )


def _check_places(c: Catalog) -> None:
    """An index may come from anywhere: what it says of places must be possible."""
    sizes = np.array(c.sizes_bytes)[c.shard]
    inside = (c.start >= 0) & (c.start + 2 * BLOCK <= c.video) & (c.video_bytes > 0)
    inside &= (c.video + c.video_bytes <= c.end) & (c.end <= sizes) & (c.frames > 0) & (c.fps > 0)
    if not inside.all():
        raise ValueError(f"{INDEX_NAME}: sample {c.key(int(np.argmin(inside)))} lies where it cannot: build it again")
    follows = (np.diff(c.shard) > 0) | ((np.diff(c.shard) == 0) & (c.start[1:] >= c.end[:-1]))
    if not follows.all():
        raise ValueError(f"{INDEX_NAME}: sample {c.key(int(np.argmin(follows)) + 1)} is out of order: build it again")


def _columns(index: Path, members: Sequence[str], more: set[str]) -> pa.Table:
    names = {"key", "shard", "frames", "fps", "width", "height", *NAMES_OF_A_CLIP, *more}
    names |= {f"{member}_{what}" for member in members for what in ("offset", "size")}
    return pq.read_table(index, columns=sorted(names))


def _named_in(keep: Sequence[str], scores: Sequence[str]) -> set[str]:
    """The columns that conditions name."""
    types = {**METADATA, **dict.fromkeys(score_fields(scores), "float64")}
    asked: set[str] = set()

    def ask(name: str) -> Any:
        asked.add(name if name in METADATA else f"score_{name}")
        return "" if types[name] == "string" else 1.0

    for condition in keep:
        holds(condition, ask)
    return asked


def _column(table: pa.Table, name: str) -> NDArray[Any]:
    name = name if name in table.column_names else f"score_{name}"
    return np.asarray(table[name].to_numpy())


class Rows:
    """Rows of the index, whole, by number; the row groups used last stay in memory."""

    def __init__(self, index: Path) -> None:
        self.index, self.groups = index, dict[int, dict[str, pa.Array]]()

    def __getstate__(self) -> dict[str, Any]:
        return {"index": self.index, "groups": {}}

    @cached_property
    def file(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.index, memory_map=True)

    @cached_property
    def firsts(self) -> Ints:
        sizes = [self.file.metadata.row_group(n).num_rows for n in range(self.file.num_row_groups)]
        return np.cumsum([0, *sizes])

    def get(self, row: int) -> Mapping[str, Any]:
        number = int(np.searchsorted(self.firsts, row, side="right")) - 1
        group = self.groups.pop(number, None)
        if group is None:
            table = self.file.read_row_group(number).combine_chunks()
            group = {name: table[name].chunk(0) for name in table.column_names}  # a third of the cost of a table's rows
        self.groups[number] = group  # last again
        if len(self.groups) > GROUPS_KEPT:
            del self.groups[next(iter(self.groups))]
        place = row - int(self.firsts[number])
        return {name: column[place].as_py() for name, column in group.items()}


def differs(row: Mapping[str, Any], metadata: bytes, texts: Mapping[str, bytes], scores: Sequence[str]) -> str:
    """The member that is not what the index says, or nothing."""
    try:
        record = json.loads(metadata)
        found = {name: record[name] for name in METADATA}
        found |= {f"score_{name}": record["scores"][name] for name in scores}
    except (ValueError, KeyError, TypeError, RecursionError):
        return "json"
    if any(row[name] != value for name, value in found.items()):
        return "json"
    return next((name for name, text in texts.items() if name not in row or row[name].encode() != text), "")
