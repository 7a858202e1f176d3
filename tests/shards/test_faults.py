"""What is broken, lies or is hostile: the right error, naming shard and key, or a counted skip; and nothing else."""

import hashlib
import json
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from open_sora_dataset import stream
from shards.samples import BadSampleError
from streamed_dataset import write_numbered

FIRST = "data/pexels/r0001/pexels-train-000000.tar"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_numbered(tmp_path / "dataset", [4, 3], size=3000)


def read(folder: Path, **asked: Any) -> list[dict[str, Any]]:
    return list(stream(folder, decode=False, shuffle=False, **asked))


def sample(unit: dict[str, Any]) -> tuple[object, ...]:
    return tuple(unit[name] for name in ("__key__", "json", "mp4", "txt"))


def test_a_missing_shard(folder: Path) -> None:
    (folder / FIRST).unlink()
    with pytest.raises(BadSampleError, match=rf"{FIRST}: sample s00-00: {FIRST} is missing"):
        read(folder)


def test_a_shard_cut_off_anywhere(folder: Path) -> None:
    data = (folder / FIRST).read_bytes()
    for length in range(0, len(data), len(data) // 25):
        (folder / FIRST).write_bytes(data[:length])
        with pytest.raises(BadSampleError, match=rf"sample s00-00: {FIRST} has {length} bytes, the manifest says"):
            read(folder)


def test_a_flipped_bit_anywhere(folder: Path) -> None:
    """In what a sample consists of it is found, with the key; elsewhere (owners, padding) it changes no sample."""
    whole, data = [sample(unit) for unit in read(folder)], bytearray((folder / FIRST).read_bytes())
    chooser, found = random.Random(2), 0
    for _ in range(150):
        at, bit = chooser.randrange(len(data)), 1 << chooser.randrange(8)
        data[at] ^= bit
        (folder / FIRST).write_bytes(data)
        try:
            assert [sample(unit) for unit in read(folder)] == whole
        except BadSampleError as error:
            found += 1
            assert FIRST in str(error)
            assert "sample s00-0" in str(error)
        data[at] ^= bit
    assert found > 60


@pytest.mark.parametrize("member", ["json", "mp4", "txt"])
def test_contents_are_checked_once_always_or_never(folder: Path, member: str) -> None:
    data = stream(folder, decode=False, shuffle=False)
    always, never = (stream(folder, decode=False, shuffle=False, check=check) for check in ("always", "never"))
    for each in (data, always, never):
        list(each)
    row = pq.read_table(folder / "index.parquet").slice(1, 1).to_pylist()[0]
    shard = bytearray((folder / FIRST).read_bytes())
    shard[row[f"{member}_offset"] + row[f"{member}_size"] // 2] ^= 1
    (folder / FIRST).write_bytes(shard)
    list(data)  # as it was when it was checked
    list(never)
    for each in (always, stream(folder, decode=False, shuffle=False)):
        with pytest.raises(BadSampleError, match=rf"{FIRST}: sample s00-01: .*{member}.* index"):
            list(each)


def test_bad_samples_are_replaced_and_counted(folder: Path) -> None:
    row = pq.read_table(folder / "index.parquet").slice(0, 1).to_pylist()[0]
    shard = bytearray((folder / FIRST).read_bytes())
    shard[row["mp4_offset"]] ^= 1
    (folder / FIRST).write_bytes(shard)
    units = read(folder, on_error="skip")
    assert [unit["pad"] for unit in units] == [True] + [False] * 6
    assert [unit["skipped"] for unit in units] == [1] + [0] * 6
    assert units[0]["__key__"] == "s00-01"  # nothing good came before
    (folder / FIRST).unlink()
    loader = stream(folder, decode=False, shuffle=False, on_error="skip", batch_size=3).loader(num_workers=2)
    batches = list(loader)
    assert batches[0]["__key__"] == ["s01-00"] * 3
    assert (loader.skipped, loader.pads) == (6, 6)  # the two that fill up the last batch are bad ones too


def test_a_dataset_that_cannot_be_read_at_all_is_no_bad_sample(tmp_path: Path) -> None:
    folder = write_numbered(tmp_path / "many", [1, 40, 1])
    (folder / FIRST.replace("0.tar", "1.tar")).unlink()
    with pytest.raises(BadSampleError, match="is missing"):
        read(folder, on_error="skip")


def repack(folder: Path, change: Callable[[bytearray, dict[str, Any]], None]) -> None:
    """Change the first shard at the second sample, and let manifest and index vouch for what comes out."""
    row = pq.read_table(folder / "index.parquet").slice(1, 1).to_pylist()[0]
    shard = bytearray((folder / FIRST).read_bytes())
    change(shard, row)
    (folder / FIRST).write_bytes(shard)


def header_of(row: dict[str, Any], member: str) -> int:
    return int(row[f"{member}_offset"]) - 512


KINDS = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]
KINDS += [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.CONTTYPE]
NAMES = [
    "../../escaped.mp4",
    "/tmp/escaped.mp4",
    "s00-01.pkl",
    "s00-01.pth",
    "s00-01.pyd",
    "s00-00.mp4",
    "pipe:touch x",
    "",
]


@pytest.mark.parametrize("member", ["json", "mp4", "txt", "llava.txt"])
@pytest.mark.parametrize("kind", KINDS)
def test_special_members_are_refused(folder: Path, kind: bytes, member: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("{}")

    def disguise(shard: bytearray, row: dict[str, Any]) -> None:
        at = header_of(row, member)
        shard[at + 156 : at + 157] = kind
        shard[at + 157 : at + 157 + len(str(canary))] = str(canary).encode()

    repack(folder, disguise)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadSampleError, match=rf"{FIRST}: sample s00-01: there is no plain member"):
        read(folder, check="never")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("member", ["json", "mp4", "txt"])
@pytest.mark.parametrize("name", NAMES)
def test_other_names_are_refused(folder: Path, name: str, member: str, tmp_path: Path) -> None:
    def rename(shard: bytearray, row: dict[str, Any]) -> None:
        at = header_of(row, member)
        shard[at : at + 100] = name.encode().ljust(100, b"\0")

    repack(folder, rename)
    if (name, member) == ("s00-00.mp4", "mp4"):
        name = "another sample's"
    before = sorted(tmp_path.rglob("*"))
    if name == "s00-01.pkl" and member == "txt":
        name = "no text of that name"
    with pytest.raises(BadSampleError, match=rf"{FIRST}: sample s00-01: "):
        read(folder, check="never")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "size", [b"77777777777", b"00000000001", b"-0000000001", b"zzzzzzzzzzz", b"\x80\0\0\0\0\0\0\1\0\0\0"]
)
@pytest.mark.parametrize("member", ["json", "mp4", "txt"])
def test_other_sizes_are_refused(folder: Path, size: bytes, member: str) -> None:
    def resize(shard: bytearray, row: dict[str, Any]) -> None:
        at = header_of(row, member)
        shard[at + 124 : at + 135] = size

    repack(folder, resize)
    with pytest.raises(BadSampleError, match=rf"{FIRST}: sample s00-01: "):
        read(folder)


def vouch(folder: Path, table: pa.Table) -> None:
    pq.write_table(table, folder / "index.parquet")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["index_sha256"] = hashlib.sha256((folder / "index.parquet").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


IMPOSSIBLE = [("json_offset", -512), ("json_offset", 1 << 40), ("mp4_size", -1), ("mp4_size", 1 << 40)]
IMPOSSIBLE += [("txt_size", 1 << 40), ("mp4_offset", 0), ("frames", 0), ("fps", 0.0)]


@pytest.mark.parametrize(("column", "value"), IMPOSSIBLE)
def test_an_index_of_impossible_places_is_refused(folder: Path, column: str, value: float) -> None:
    table = pq.read_table(folder / "index.parquet")
    values = table[column].to_pylist()
    values[2] = value
    place = table.column_names.index(column)
    vouch(
        folder, table.set_column(place, table.schema.field(column), pa.array(values, table.schema.field(column).type))
    )
    with pytest.raises(ValueError, match=r"index\.parquet: sample s00-02 lies where it cannot"):
        read(folder)


def test_an_index_out_of_order_is_refused(folder: Path) -> None:
    table = pq.read_table(folder / "index.parquet")
    vouch(folder, table.take(np.array([1, 0, *range(2, len(table))])))
    with pytest.raises(ValueError, match="is out of order"):
        read(folder)


def test_an_index_that_the_manifest_does_not_know_is_refused(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / "index.parquet").slice(1), folder / "index.parquet")
    with pytest.raises(ValueError, match=r"index\.parquet is not the one of manifest\.json"):
        read(folder)


def test_what_was_taken_down_is_left_out(folder: Path) -> None:
    table = pq.read_table(folder / "index.parquet")
    gone = [table["mp4_sha256"][0].as_py(), table["key"][5].as_py(), "0" * 64]
    pq.write_table(pa.table({"sha256": gone}), folder / "removed.parquet")
    assert [unit["__key__"] for unit in read(folder)] == ["s00-01", "s00-02", "s00-03", "s01-00", "s01-02"]


def test_members_that_others_added_do_no_harm(folder: Path) -> None:
    """After the known ones of a sample, in the tar alone: the index has the places of the known ones."""
    whole = [sample(unit) for unit in read(folder)]
    table, shard = pq.read_table(folder / "index.parquet"), (folder / FIRST).read_bytes()
    info = tarfile.TarInfo("s00-00.latents.npy")
    info.size = 700
    more = info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)
    end = table["json_offset"][1].as_py() - 512
    (folder / FIRST).write_bytes(shard[:end] + more + shard[end:])
    for name in table.column_names:
        if name.endswith("_offset"):
            moved = [v + len(more) if 0 < n < 4 else v for n, v in enumerate(table[name].to_pylist())]
            table = table.set_column(table.column_names.index(name), table.schema.field(name), pa.array(moved))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0]["size_bytes"] += len(more)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    vouch(folder, table)
    assert [sample(unit) for unit in read(folder)] == whole
