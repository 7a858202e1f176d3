"""Verification finds every kind of damage, names the file, and does nothing that a hostile archive wants."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from shards.manifest import read_manifest
from shards.verify import Problem, verify
from small_dataset import SmallDataset

SHARD = "data/pexels/r0001/pexels-train-000000.tar"
Change = Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]


def test_an_intact_dataset_has_no_problems(intact: SmallDataset) -> None:
    assert verify(intact.folder) == []


def found(dataset: SmallDataset, path: str) -> str:
    """What is wrong with this file, as one text; nothing may be wrong with any other."""
    problems = verify(dataset.folder)
    assert {problem.path for problem in problems} == {path}, problems
    return "; ".join(problem.what for problem in problems)


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    fields = json.loads((folder / "manifest.json").read_text())
    edit(fields)
    (folder / "manifest.json").write_text(json.dumps(fields))


def repack(folder: Path, change: Change) -> None:
    """Rewrite SHARD with changed members, and make the manifest agree with its size and checksum."""
    with tarfile.open(folder / SHARD) as tar:
        members = [(info, content.read() if (content := tar.extractfile(info)) else b"") for info in tar]
    change(members)
    with tarfile.open(folder / SHARD, "w", format=tarfile.USTAR_FORMAT) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    agree(folder)


def agree(folder: Path) -> None:
    data = (folder / SHARD).read_bytes()
    entry = {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    edit_manifest(folder, lambda fields: [e.update(entry) for e in fields["shards"] if e["path"] == SHARD])
    sizes = sum(path.stat().st_size for path in folder.rglob("*.tar"))
    edit_manifest(folder, lambda fields: fields["totals"].update(size_bytes=sizes))


def test_every_flipped_byte_is_found(dataset: SmallDataset) -> None:
    path = dataset.folder / SHARD
    data = path.read_bytes()
    for position in (0, 130, 600, 2500, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert f"{SHARD}: its sha256 is not the manifest's" in map(str, verify(dataset.folder))


@pytest.mark.parametrize("length", [0, 100, 512, 3000, 10_240])
def test_truncated_shard(dataset: SmallDataset, length: int) -> None:
    data = (dataset.folder / SHARD).read_bytes()
    (dataset.folder / SHARD).write_bytes(data[:length])
    problems = verify(dataset.folder)
    assert Problem(SHARD, f"has {length} bytes, the manifest says {len(data)}") in problems


def test_missing_and_extra_shards(dataset: SmallDataset) -> None:
    (dataset.folder / SHARD).rename(dataset.folder / "data/nasa/r0001/moved.tar")
    problems = verify(dataset.folder, card=False)
    assert Problem(SHARD, "is listed in the manifest but missing") in problems
    assert Problem("data/nasa/r0001/moved.tar", "is not listed in the manifest: remove it") in problems


def test_missing_manifest_index_and_card(dataset: SmallDataset) -> None:
    (dataset.folder / "README.md").unlink()
    assert verify(dataset.folder, card=False) == []
    assert found(dataset, "README.md") == "is missing"
    (dataset.folder / "index.parquet").unlink()
    assert {problem.path for problem in verify(dataset.folder)} == {"README.md", "index.parquet"}
    (dataset.folder / "manifest.json").unlink()
    assert "no finished dataset" in found(dataset, "manifest.json")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("num_examples: 5", "num_examples: 6", "config default: promises 6"),
        ("num_examples: 2", "num_examples: 3", "config nasa: promises 3"),
        (
            "    - data/nasa/r0001/nasa-train-*.tar\n    - data/pexels",
            "    - data/pexels",
            "does not list exactly the shards",
        ),
        ("dtype: float64", "dtype: float32", "its features are not those of the manifest"),
        ("version: 1.0.0", "version: 2.0.0", "its version is not 1.0.0"),
        ("data/nasa/r0001/nasa-train-*.tar", "data/elsewhere/*.tar", "does not list exactly the shards"),
        ("---\n", "", "its features are not those of the manifest"),
        ("configs:", "configs: {", "load_dataset cannot use it"),
    ],
)
def test_edited_card(dataset: SmallDataset, old: str, new: str, complaint: str) -> None:
    text = (dataset.folder / "README.md").read_text()
    assert old in text
    (dataset.folder / "README.md").write_text(text.replace(old, new, 1))
    assert complaint in found(dataset, "README.md")


def test_a_newer_format_is_refused_by_name(dataset: SmallDataset) -> None:
    edit_manifest(dataset.folder, lambda fields: fields.update(format_version=2))
    assert "has format_version 2" in found(dataset, "manifest.json")


def test_counts_of_the_manifest(dataset: SmallDataset) -> None:
    edit_manifest(dataset.folder, lambda fields: fields["shards"][2].update(samples=4))
    assert {problem.path for problem in verify(dataset.folder)} >= {"manifest.json", fields_path(dataset)}
    edit_manifest(dataset.folder, lambda fields: fields["licenses"].update(Pexels=7))
    assert "its licences do not add up" in "".join(p.what for p in verify(dataset.folder))


def fields_path(dataset: SmallDataset) -> str:
    return read_manifest(dataset.folder).shards[2].path


def rewrite_index(folder: Path, column: str, change: Callable[[Any], Any]) -> None:
    """Change the first value of a column, and make the manifest agree with the file's checksum."""
    table = pq.read_table(folder / "index.parquet")
    values = table[column].to_pylist()
    values[0] = change(values[0])
    position = table.schema.get_field_index(column)
    table = table.set_column(position, table.schema.field(column), [values])
    pq.write_table(table, folder / "index.parquet")
    digest = hashlib.sha256((folder / "index.parquet").read_bytes()).hexdigest()
    edit_manifest(folder, lambda fields: fields.update(index_sha256=digest))


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("mp4_offset", lambda offset: offset + 512),
        ("llava.txt_size", lambda size: size - 1),
        ("score_motion_flow", lambda score: score + 1e-9),
        ("txt", lambda text: text + "."),
        ("mp4_sha256", lambda digest: digest[::-1]),
        ("license", lambda _: "CC0-1.0"),
    ],
)
def test_index_that_differs_from_the_shards(dataset: SmallDataset, column: str, change: Change) -> None:
    rewrite_index(dataset.folder, column, change)
    assert f"differs in {column}" in found(dataset, "index.parquet")


def test_index_of_other_samples(dataset: SmallDataset) -> None:
    rewrite_index(dataset.folder, "key", lambda _: "zz")
    assert "has no row for sample ba-0001" in (what := found(dataset, "index.parquet"))
    assert "has sample zz" in what


def test_index_with_another_checksum(dataset: SmallDataset) -> None:
    (dataset.folder / "index.parquet").write_bytes(b"PAR1")
    assert "its sha256 is not the manifest's" in found(dataset, "index.parquet")


def swap(members: list[tuple[tarfile.TarInfo, bytes]], one: int, other: int) -> None:
    members[one], members[other] = members[other], members[one]


def set_json(members: list[tuple[tarfile.TarInfo, bytes]], **changes: object) -> None:
    info, content = members[0]
    members[0] = info, json.dumps({**json.loads(content), **changes}).encode()


def set_content(members: list[tuple[tarfile.TarInfo, bytes]], position: int, content: bytes) -> None:
    members[position] = members[position][0], content


def rename(members: list[tuple[tarfile.TarInfo, bytes]], position: int, name: str) -> None:
    members[position][0].name = name


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda members: swap(members, 0, 1), "stands where a <key>.json must"),
        (lambda members: swap(members, 3, 7), "stands between the members of sample aa-0001"),
        (lambda members: members.pop(), "ends before its member llava.txt"),
        (lambda members: members.insert(4, members[3]), "stands where a <key>.json must"),
        (lambda members: members.extend(members[:4]), "has a key that came before"),
        (lambda members: rename(members, 0, "aa.0001.json"), "stands where a <key>.json must"),
        (lambda members: set_json(members, fps=24), "sample aa-0001: fps"),
        (lambda members: set_json(members, title=None), "sample aa-0001: title"),
        (lambda members: set_json(members, more=1), "sample aa-0001: fields missing or unknown: more"),
        (
            lambda members: set_json(members, scores={"text_area": 0.0}),
            "its scores are not the declared ones",
        ),
        (lambda members: set_json(members, scores=None), "sample aa-0001: scores"),
        (lambda members: set_content(members, 0, b"{"), "sample aa-0001: "),
        (lambda members: set_content(members, 0, b"[" * 100_000), "sample aa-0001: "),
        (lambda members: set_content(members, 0, b"[1]"), "sample aa-0001: "),
        (lambda members: set_content(members, 1, b""), "sample aa-0001: the video is empty"),
        (lambda members: set_content(members, 2, b"\xff"), "sample aa-0001: "),
        (lambda members: set_content(members, 2, b"x" * (1 << 21)), "more than any text"),
    ],
)
def test_shards_packed_wrongly(dataset: SmallDataset, change: Change, complaint: str) -> None:
    """Size and checksum are those of the manifest: only looking inside finds these."""
    repack(dataset.folder, change)
    problems = [problem.what for problem in verify(dataset.folder) if problem.path == SHARD]
    assert any(complaint in what for what in problems), problems
    assert not any("sha256" in what for what in problems)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_special_members_are_never_followed(dataset: SmallDataset, kind: bytes, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"canary": 1}')

    def disguise(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[0][0].type, members[0][0].linkname = kind, str(tmp_path / "secret")
        set_content(members, 0, b"")

    repack(dataset.folder, disguise)
    problems = [problem.what for problem in verify(dataset.folder) if problem.path == SHARD]
    assert problems == ["is not a sound shard: member 'aa-0001.json' is not a plain file with a plain USTAR header"]


def test_hostile_names_write_nothing(dataset: SmallDataset, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for name in ("../../escaped.json", "/tmp/escaped.json", "data/aa.json", "__aa.json", ".json"):
        repack(dataset.folder, lambda members, name=name: rename(members, 0, name))  # type: ignore[misc]
        assert any("stands where a <key>.json must" in problem.what for problem in verify(dataset.folder))
    assert sorted(tmp_path.rglob("*")) == before


def test_extended_headers_are_refused(dataset: SmallDataset) -> None:
    """A reader that takes USTAR headers at their word would see another size or name than tar does."""
    with tarfile.open(dataset.folder / SHARD) as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
    with tarfile.open(dataset.folder / SHARD, "w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            info.pax_headers = {"comment": "x"}
            tar.addfile(info, io.BytesIO(content))
    agree(dataset.folder)
    assert any("plain USTAR header" in problem.what for problem in verify(dataset.folder))
