"""`manifest.json`: what a dataset consists of. Written last: where it lies, the dataset is complete."""

import dataclasses
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from open_sora_dataset import FORMAT_VERSION, check_format_version

NAME = "manifest.json"
INDEX_NAME = "index.parquet"
SHARD_PATH = re.compile(r"data/([a-z0-9_-]+/)+[a-z0-9_-]+\.tar")


@dataclass(frozen=True)
class ShardEntry:
    """`path` is relative to the dataset folder. Shards that are not `redistributable` are for their maker alone."""

    path: str
    samples: int
    size_bytes: int
    sha256: str
    redistributable: bool = True


@dataclass(frozen=True)
class Totals:
    samples: int
    duration_s: float
    size_bytes: int  # of the shards


@dataclass(frozen=True)
class Manifest:
    name: str
    created_by: str
    scores: tuple[str, ...]
    captioners: tuple[str, ...]  # the first one's text is the `txt` member
    shards: tuple[ShardEntry, ...]
    totals: Totals
    licenses: Mapping[str, int]  # licence -> samples
    index_sha256: str
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """The file's text: the same for the same dataset, in particular without any time."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Raises NewerFormatError, or ValueError for anything that is not a manifest."""
        try:
            fields: dict[str, Any] = json.loads(text)
            check_format_version(fields["format_version"], NAME)
            fields["shards"] = tuple(ShardEntry(**entry) for entry in fields["shards"])
            fields["totals"] = Totals(**fields["totals"])
            fields |= {name: tuple(fields[name]) for name in ("scores", "captioners")}
            manifest = cls(**fields)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{NAME} is damaged or no manifest: {type(error).__name__}: {error}") from error
        for entry in manifest.shards:  # a manifest may come from anywhere: its paths must stay in its folder
            if not SHARD_PATH.fullmatch(entry.path):
                raise ValueError(f"{NAME}: shard path {entry.path!r} is not data/<folders>/<name>.tar")
        return manifest


@dataclass(frozen=True)
class Header:
    """What a manifest says that shards and index do not: `created_by` names program and version."""

    name: str
    created_by: str
    scores: Sequence[str]
    captioners: Sequence[str]


def build_manifest(folder: Path, header: Header, shards: Sequence[ShardEntry], index_sha256: str) -> Manifest:
    """The manifest of these shards, totals from the folder's index. ValueError when the two disagree."""
    columns = pq.read_table(folder / INDEX_NAME, columns=["shard", "duration_s", "license"]).to_pydict()
    indexed, expected = Counter(columns["shard"]), {entry.path: entry.samples for entry in shards}
    if indexed != expected:
        wrong = sorted(path for path in {*indexed, *expected} if indexed[path] != expected.get(path))
        raise ValueError(f"{INDEX_NAME} and shards disagree about {', '.join(wrong[:5])}: pack again")
    durations_s: list[float] = columns["duration_s"]
    totals = Totals(len(durations_s), math.fsum(durations_s), sum(entry.size_bytes for entry in shards))
    return Manifest(
        name=header.name,
        created_by=header.created_by,
        scores=tuple(sorted(header.scores)),
        captioners=tuple(header.captioners),
        shards=tuple(sorted(shards, key=lambda entry: entry.path)),
        totals=totals,
        licenses=dict(Counter(columns["license"])),
        index_sha256=index_sha256,
    )


def read_manifest(folder: Path) -> Manifest:
    return Manifest.from_json((folder / NAME).read_text(encoding="utf-8"))
