"""Releases: what was published, so that it is never packed again, renamed or given other bytes.

    releases/r0001.json                          every shard of the dataset when it was published, and where to
    releases/r0001/pexels-train-000000.parquet   what the samples of a shard first published then were made of

Shards lie in the folder of their release. Publishing closes it: from then on a shard either stands, with every clip as
it was, or its clips go into shards of the next release. A shard that a later release has no longer never comes back.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from builder.digests import short_hash
from builder.errors import RunError
from builder.parquet import decode, encode, from_parquet, read_columns
from builder.records import Packed, Planned
from builder.storage import Storage
from builder.table import Table

if TYPE_CHECKING:
    from builder.pipeline import Run
    from shards.manifest import Manifest, ShardEntry

FOLDER = "releases"
DATASET = "dataset"


@dataclass(frozen=True, slots=True)
class Closed(Packed):
    """A sample of a shard that was published, with the digest of what it was made of, and its side."""

    covers: str = ""
    split: str = "train"


@dataclass(frozen=True)
class Release:
    """The dataset as it was published: all of its `shards`, those of earlier releases too.

    `made` is the digest of the settings they were cut with, `sides` of those that split them; `published` says to
    which repositories it went, in which commits.
    """

    name: str
    made: str
    sides: str
    shards: "tuple[ShardEntry, ...]"
    published: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @property
    def digest(self) -> str:
        return short_hash([self.name, self.made, self.sides, [dataclasses.astuple(entry) for entry in self.shards]])


def releases(storage: Storage) -> list[Release]:
    """The closed ones, in order.

    Raises:
        RunError: the file of one is damaged.
    """
    return [_read(storage, name) for name in storage.list(FOLDER) if name.endswith(".json")]


def _read(storage: Storage, name: str) -> Release:
    from shards.manifest import ShardEntry

    try:
        fields: dict[str, Any] = json.loads(storage.read(f"{FOLDER}/{name}"))
        fields["shards"] = tuple(ShardEntry(**entry) for entry in fields["shards"])
        fields["published"] = tuple((repo, commit) for repo, commit in fields["published"])
        return Release(**fields)
    except (ValueError, TypeError, KeyError) as error:
        path = storage.path(f"{FOLDER}/{name}")
        raise RunError(f"{path} is damaged ({error}); it says what was published, so bring it back first") from error


def digests(storage: Storage) -> tuple[str, ...]:
    return tuple(release.digest for release in releases(storage))


def open_name(closed: int) -> str:
    """Of the release that is open after so many closed ones."""
    return f"r{closed + 1:04d}"


def rows_file(shard: str) -> str:
    """`data/pexels/r0001/pexels-train-000000.tar` -> `releases/r0001/pexels-train-000000.parquet`."""
    path = PurePosixPath(shard)
    return f"{FOLDER}/{path.parent.name}/{path.stem}.parquet"


def is_closed(storage: Storage, shard: str) -> bool:
    """Its rows were written before the release was; what a kill left of a release that is open does not count."""
    return storage.exists(rows_file(shard)) and storage.exists(f"{FOLDER}/{PurePosixPath(shard).parent.name}.json")


def rows_of(storage: Storage, shard: str) -> dict[str, Closed]:
    """The samples of a closed shard, by clip."""
    name = rows_file(shard)
    return {row.id: row for row in decode(Closed, from_parquet(storage.read(name)), name)}


def covers_of(storage: Storage, shard: str) -> dict[str, str]:
    """Clip -> digest of what its sample was made of, of a closed shard."""
    return _column(storage, rows_file(shard), "covers")


def sides_of(storage: Storage) -> dict[str, str]:
    """Clip -> side, of every clip ever published, the latest release last."""
    names = [f"{FOLDER}/{release.name}" for release in releases(storage)]
    files = [f"{folder}/{name}" for folder in names for name in storage.list(folder)]
    return {clip: split for file in files for clip, split in _column(storage, file, "split").items()}


def _column(storage: Storage, name: str, column: str) -> dict[str, str]:
    if not storage.exists(name):
        raise RunError(f"{storage.path(name)} is gone; it says what was published, so bring it back first")
    rows = read_columns(storage, name, ["clip_id", column])
    return dict(zip(rows["clip_id"].to_pylist(), rows[column].to_pylist(), strict=True))


def standing(storage: Storage, made: str, wanted: Mapping[str, Planned]) -> "dict[str, ShardEntry]":
    """Clip -> closed shard, for the shards whose every clip is wanted just as it was.

    `wanted` says of each clip what it is made of, its split and whether it may be redistributed; `made` must be as it
    was when they were cut. Only shards of the latest release can stand.
    """
    found = releases(storage)
    if not found or found[-1].made != made:
        return {}
    stand: dict[str, ShardEntry] = {}
    for entry in found[-1].shards:
        known = covers_of(storage, entry.path)
        if all(_same(wanted.get(clip), made_of, entry) for clip, made_of in known.items()):
            stand |= dict.fromkeys(known, entry)
    return stand


def _same(plan: Planned | None, made_of: str, entry: "ShardEntry") -> bool:
    now = plan and (plan.covers, plan.split, plan.redistributable)
    return now == (made_of, entry.split, entry.redistributable)


def close(run: "Run", repo: str, commit: str, manifest: "Manifest | None" = None) -> Release:
    """Record that the dataset of a run (or `manifest`, as it was published) is in `repo` since `commit`.

    To say the same again changes nothing, so a push that was interrupted says it at the end of the next.

    Raises:
        RunError: the run has been packed anew meanwhile.
    """
    from builder.stages.plan import Plan
    from shards.manifest import read_manifest

    storage, manifest = run.storage, manifest or read_manifest(run.storage.path(DATASET))
    before = releases(storage)
    if before and before[-1].shards == manifest.shards:
        published = tuple(dict.fromkeys([*before[-1].published, (repo, commit)]))
        return _write(storage, dataclasses.replace(before[-1], published=published))
    plan = next(stage for _, stage in run.stages if isinstance(stage, Plan))
    name = open_name(len(before))
    release = Release(name, plan.made, plan.sides, manifest.shards, ((repo, commit),))
    known = {entry.path: entry for old in before for entry in old.shards}
    fresh = [entry for entry in manifest.shards if known.get(entry.path) != entry]
    for file in storage.list(f"{FOLDER}/{name}"):  # of a close that did not finish
        storage.remove(f"{FOLDER}/{name}/{file}")
    _write_rows(storage, name, fresh)
    return _write(storage, release)


def _write(storage: Storage, release: Release) -> Release:
    text = json.dumps(dataclasses.asdict(release), indent=1, sort_keys=True)
    storage.write(f"{FOLDER}/{release.name}.json", f"{text}\n".encode())
    return release


def _write_rows(storage: Storage, name: str, entries: "Iterable[ShardEntry]") -> None:
    plan = Table(storage, "plan", Planned).columns("clip_id", "covers")
    covers = dict(plan)
    rows = _rows_by_shard(storage)
    for entry in entries:
        packed = rows(entry.path)
        digest = {row.shard_sha256 for row in packed}
        if digest != {entry.sha256} or f"/{name}/" not in entry.path or any(row.id not in covers for row in packed):
            raise RunError(
                f"{entry.path} is not what the run now packs; publish again what `osd-build pack` makes of it"
            )
        fields = [dataclasses.asdict(row) for row in packed]
        closed = [Closed(**f, covers=covers[f["clip_id"]], split=entry.split) for f in fields]
        storage.write(rows_file(entry.path), encode(Closed, closed, {}))


def _rows_by_shard(storage: Storage) -> Any:
    """A function: shard -> its rows in the table `pack`, read when asked for."""
    table: Table[Packed] = Table(storage, "pack", Packed)
    of = {}
    for n in table.parts():
        shards = read_columns(storage, f"pack/part-{n:05d}.parquet", ["shard"])["shard"]
        if len(shards):
            of[shards[0].as_py()] = n

    def rows(shard: str) -> Sequence[Packed]:
        return table.read(of[shard]).rows() if shard in of else ()

    return rows
