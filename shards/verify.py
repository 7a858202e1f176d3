"""Prove that a dataset folder is what its manifest, index and card say. Every byte is read, once.

Readers fill packing mistakes with None instead of failing, so only this finds them.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from shards.configs import check_card
from shards.examine import Expected, Fault, Found, examine
from shards.index import Row, arrow_schema, index_schema, read_rows
from shards.manifest import INDEX_NAME, Manifest, ShardEntry, read_manifest
from shards.manifest import NAME as MANIFEST_NAME
from shards.read_links import check_links
from shards.stream import open_binary

CARD_NAME = "README.md"


@dataclass(frozen=True)
class Problem:
    """`path` is relative to the dataset folder; `key` is that of the sample, where it is one that is wrong."""

    path: str
    what: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def verify(folder: Path, *, card: bool = True) -> list[Problem]:
    """Everything that is wrong; empty means intact. `card=False` while the card is not written yet."""
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError:
        return [Problem(MANIFEST_NAME, "is missing: this is no finished dataset")]
    except (OSError, ValueError) as error:
        return [Problem(MANIFEST_NAME, str(error))]
    listed = {entry.path for entry in manifest.shards}
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*.tar")}
    present = {path for path in present if not path.startswith("links/")}
    problems = [
        *_check_totals(manifest),
        *(Problem(path, "is not listed in the manifest: remove it") for path in sorted(present - listed)),
        *(Problem(path, "is listed in the manifest but missing") for path in sorted(listed - present)),
        *_check_index(folder, manifest),
    ]
    indexed = all(problem.path != INDEX_NAME for problem in problems)
    keys: set[object] = set()
    for entry in manifest.shards:
        if entry.path in present:
            found = examine(folder, Expected(entry.path, manifest.scores, manifest.captioners, manifest.extras))
            problems += [Problem(entry.path, fault.what, fault.key) for fault in _check_shard(entry, found, keys)]
            problems += _check_rows(folder, entry.path, found.rows) if indexed else []
    problems += [Problem(path, what) for path, what in check_links(folder, manifest)]
    return problems + (list(_check_card(folder, manifest)) if card else [])


def _check_totals(manifest: Manifest) -> Iterator[Problem]:
    samples = sum(entry.samples for entry in manifest.shards)
    size_bytes = sum(entry.size_bytes for entry in manifest.shards)
    if (samples, size_bytes) != (manifest.totals.samples, manifest.totals.size_bytes):
        yield Problem(MANIFEST_NAME, f"its shards have {samples} samples, {size_bytes} bytes, not {manifest.totals}")
    if sum(manifest.licenses.values()) != manifest.totals.samples:
        yield Problem(MANIFEST_NAME, "its licences do not add up to its samples")


def _check_index(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    try:
        with open_binary(folder / INDEX_NAME) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != manifest.index_sha256:
                yield Problem(INDEX_NAME, "its sha256 is not the manifest's")
        if not index_schema(folder / INDEX_NAME).equals(
            arrow_schema(manifest.scores, manifest.captioners, manifest.extras)
        ):
            yield Problem(INDEX_NAME, "its columns do not follow from the manifest's scores and captioners")
        shards = set(pq.read_table(folder / INDEX_NAME, columns=["shard"])["shard"].to_pylist())
        for shard in sorted(shards - {entry.path for entry in manifest.shards}):
            yield Problem(INDEX_NAME, f"has rows of {shard}, which the manifest does not list")
    except (OSError, ValueError, pa.ArrowException) as error:
        yield Problem(INDEX_NAME, f"cannot be read: {error}")


def _check_shard(entry: ShardEntry, found: Found, keys: set[object]) -> Iterator[Fault]:
    if found.size_bytes != entry.size_bytes:
        yield Fault(f"has {found.size_bytes} bytes, the manifest says {entry.size_bytes}")
    if found.sha256 != entry.sha256:
        yield Fault("its sha256 is not the manifest's")
    if len(found.rows) != entry.samples and not found.problems:
        yield Fault(f"has {len(found.rows)} samples, the manifest says {entry.samples}")
    yield from found.problems
    for row in found.rows:
        if row["key"] in keys:
            yield Fault(f"sample {row['key']} has a key that came before", str(row["key"]))
        keys.add(row["key"])


def _check_rows(folder: Path, shard: str, found: list[Row]) -> Iterator[Problem]:
    indexed = {row["key"]: row for row in read_rows(folder / INDEX_NAME, "shard", shard)}
    for row in found:
        key = str(row["key"])
        listed = indexed.pop(row["key"], None)
        if listed is None:
            yield Problem(INDEX_NAME, f"has no row for sample {key} of {shard}", key)
        elif wrong := [name for name in row if listed[name] != row[name]]:
            yield Problem(INDEX_NAME, f"sample {key} of {shard} differs in {', '.join(wrong)}", key)
    yield from (Problem(INDEX_NAME, f"has sample {key}, which is not in {shard}", str(key)) for key in indexed)


def _check_card(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    """The card as `load_dataset` reads it: files, columns and counts of every config."""
    if not (folder / CARD_NAME).is_file():
        yield Problem(CARD_NAME, "is missing")
        return
    yield from (Problem(CARD_NAME, what) for what in check_card(folder, manifest))
