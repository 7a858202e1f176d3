"""Finish RUN/dataset: index, manifest, card and loader beside the shards that `pack` wrote."""

import json
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from builder.card import render
from builder.card_facts import card_facts
from builder.errors import RunError
from builder.pipeline import Run
from builder.records import Packed, Planned, Score
from builder.stages.pack import DATASET
from builder.table import Table
from shards.index import Row, index_row, write_index
from shards.manifest import INDEX_NAME, NAME, Header, ShardEntry, build_manifest
from shards.write import Member

LOADER = "open_sora_dataset.py"


def write_dataset(run: Run) -> None:
    """Write everything but the shards; the manifest last. Shards of an earlier plan are removed.

    Raises:
        RunError: plan and shards do not agree.
    """
    packed: Table[Packed] = Table(run.storage, "pack", Packed)
    shards = {row.shard: row for row in packed.rows()}
    check_complete(run, packed)
    folder = run.storage.path(DATASET)
    scores, captioners = columns(run)
    with run.storage.scratch() as path:
        digest = write_index(path, index_rows(packed), scores, captioners)
        run.storage.remove(f"{DATASET}/{NAME}")  # until it is back, the folder does not claim to be complete
        run.storage.adopt(path, f"{DATASET}/{INDEX_NAME}")
    for name in run.storage.walk(f"{DATASET}/data"):
        if name.removeprefix(f"{DATASET}/") not in shards:
            run.storage.remove(name)
    samples = Counter(row.shard for row in packed.rows())
    plans = dict(kinds(run))
    entries = [
        ShardEntry(n, samples[n], r.shard_size_bytes, r.shard_sha256, *plans[n]) for n, r in sorted(shards.items())
    ]
    header = Header(name_of(run), f"osd-build {version('open-sora-dataset')}", scores, captioners)
    manifest = build_manifest(folder, header, entries, digest)
    run.storage.write(f"{DATASET}/README.md", render(folder, manifest, card_facts(run, captioners)).encode())
    run.storage.write(f"{DATASET}/{LOADER}", loader_source())
    run.storage.write(f"{DATASET}/{NAME}", manifest.to_json().encode())


def check_complete(run: Run, packed: Table[Packed]) -> None:
    """Every clip that is planned was packed or failed to be: a dataset never lacks a clip without a word."""
    planned = {row.id for row in Table(run.storage, "plan", Planned).rows()}
    answered = {key for n in packed.parts() for key in packed.read(n).answers}
    if planned != answered:
        raise RunError(f"{len(planned ^ answered)} clips of the plan are not in step with what is packed; run again")


def kinds(run: Run) -> Iterator[tuple[str, tuple[str, bool, str]]]:
    """Of every planned shard its split, whether it may be redistributed, and its bucket."""
    columns = ("shard", "split", "redistributable", "bucket")
    for shard, split, redistributable, bucket in Table(run.storage, "plan", Planned).columns(*columns):
        yield shard, (split, redistributable, bucket)


def name_of(run: Run) -> str:
    return str(run.config.values.get("name") or run.root.name)


def columns(run: Run) -> tuple[list[str], list[str]]:
    """Score names (`text.area`) and captioners of the run, the one that becomes `txt` first."""
    stages = [stage for _, stage in run.stages]
    tables = {s.table: s.writes for s in stages if issubclass(s.writes, Score)}
    scores = [f"{table.partition('.')[2]}.{f}" for table, record in tables.items() for f in record.names()]
    return scores, [s.table.partition(".")[2] for s in stages if s.name == "caption"]


def index_rows(packed: Table[Packed]) -> Iterator[Row]:
    """Rows by shard, then by place in the shard; a part of the table is one shard, in this order."""
    order = sorted((packed.read(n) for n in packed.parts()), key=lambda part: [r.shard for r in part.rows()][:1])
    for row in (row for part in order for row in part.rows()):
        members = [Member(**member) for member in json.loads(row.members)]
        yield index_row(row.shard, json.loads(row.metadata), json.loads(row.captions), members)


def loader_source() -> bytes:
    import open_sora_dataset

    return Path(open_sora_dataset.__file__).read_bytes()
