"""Make index and manifest of a dataset anew, from its shards: after something was added to them (latents, say)."""

import dataclasses
import tarfile
from collections.abc import Iterator
from pathlib import Path

from builder.errors import RunError
from builder.storage import Storage
from open_sora_dataset import member_names
from shards.examine import Expected, Found, examine
from shards.index import Row, write_index
from shards.manifest import INDEX_NAME, NAME, Header, Manifest, ShardEntry, build_manifest, read_manifest


def reindex(folder: Path) -> Manifest:
    """The shards of the manifest, as they are now. Sources, splits and licences are read from them, never guessed.

    Raises:
        RunError: there is no manifest, or a shard is none that `verify` would accept; nothing is changed then.
    """
    try:
        manifest = read_manifest(folder)
        extras = sorted({name for entry in manifest.shards for name in further_members(folder / entry.path, manifest)})
    except (OSError, ValueError, tarfile.TarError) as error:
        raise RunError(f"{folder} cannot be indexed: {error}") from error
    storage, entries = Storage(folder), list[ShardEntry]()
    with storage.scratch(".parquet") as path:
        rows = _rows(folder, manifest, extras, entries)
        digest = write_index(path, rows, manifest.scores, manifest.captioners, extras)
        storage.remove(NAME)  # until it is back, the folder does not claim to be whole
        storage.adopt(path, INDEX_NAME)
    header = Header(manifest.name, manifest.created_by, manifest.scores, manifest.captioners, extras)
    made = build_manifest(folder, header, entries, digest)
    storage.write(NAME, made.to_json().encode())
    return made


def further_members(shard: Path, manifest: Manifest) -> set[str]:
    """Names of members beside those of the format. Reads the headers only."""
    known = set(member_names(manifest.captioners))
    with tarfile.open(shard) as tar:
        return {info.name.partition(".")[2] for info in tar} - known


def _rows(folder: Path, manifest: Manifest, extras: list[str], entries: list[ShardEntry]) -> Iterator[Row]:
    """By shard; what is found of each is added to `entries`."""
    for entry in sorted(manifest.shards, key=lambda entry: entry.path):
        found = examine(folder, Expected(entry.path, manifest.scores, manifest.captioners, extras))
        check_sound(entry.path, found)
        entries.append(
            dataclasses.replace(entry, samples=len(found.rows), size_bytes=found.size_bytes, sha256=found.sha256)
        )
        yield from found.rows


def check_sound(path: str, found: Found) -> None:
    if found.problems:
        raise RunError(f"{path}: {found.problems[0].what}; mend the shard first")
