"""The licence gate: which shards of a dataset may be published, and why the others may not."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from builder.licenses import license_of
from shards.manifest import INDEX_NAME, Manifest, ShardEntry

NEIGHBOURS = "the licence allows it, but they lie in a shard with clips of which it does not: osd-build pack parts them"


@dataclass(frozen=True)
class Gate:
    """`open` and `barred` are the shards of a manifest; `reasons` says of the barred clips why, and of how many."""

    open: tuple[ShardEntry, ...]
    barred: tuple[ShardEntry, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)


def gate(folder: Path, manifest: Manifest) -> Gate:
    """Look at the licence of every clip, as the table of licences has it today.

    A shard passes as a whole or not at all: its bytes are published as they are, or not.
    """
    index = pl.scan_parquet(folder / INDEX_NAME)
    groups = index.group_by("shard", "license", "license_url").len().collect()
    barred = {entry.path for entry in manifest.shards if not entry.redistributable}
    reasons: Counter[str] = Counter()
    allowed: Counter[str] = Counter()
    for shard, name, url, clips in groups.iter_rows():
        if why := license_of(name, url).barriers():
            barred.add(shard)
            reasons[why[0]] += clips
        else:
            allowed[shard] += clips
    if neighbours := sum(clips for shard, clips in allowed.items() if shard in barred):
        reasons[NEIGHBOURS] += neighbours
    shards = {False: [], True: []}  # type: dict[bool, list[ShardEntry]]
    for entry in manifest.shards:
        shards[entry.path in barred].append(entry)
    return Gate(tuple(shards[False]), tuple(shards[True]), dict(sorted(reasons.items())))
