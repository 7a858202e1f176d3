"""`osd-build verify` and `index`: clips decode, faults are named by shard and key, members that others add are kept."""

import dataclasses
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from builder.errors import RunError
from builder.reindex import reindex
from builder.verify import sampled, verify
from command_line import STOPPED, WRONG, osd_build
from shards.index import read_rows
from shards.manifest import read_manifest
from shards.verify import verify as verify_bytes
from shards.write import write_shard
from small_dataset import LAYOUT, SmallDataset, make_sample, write_small_dataset

SHARD = "data/pexels/r0001/pexels-train-000000.tar"


@pytest.fixture
def dataset(tmp_path: Path) -> SmallDataset:
    return write_small_dataset(tmp_path / "dataset")


def add_members(path: Path, content: Callable[[str], bytes | None], name: str = "latent.npy") -> None:
    """Rewrite a shard with one more member behind those of each sample, as a program for latents would."""
    with tarfile.open(path) as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
    keys = [info.name.partition(".")[0] for info, _ in members]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for n, (info, data) in enumerate(members):
            tar.addfile(info, io.BytesIO(data))
            if keys[n + 1 : n + 2] != [keys[n]] and (more := content(keys[n])) is not None:
                extra = tarfile.TarInfo(f"{keys[n]}.{name}")
                extra.size = len(more)
                tar.addfile(extra, io.BytesIO(more))


def latent(key: str) -> bytes | None:
    file = io.BytesIO()
    np.save(file, np.full((2, 3), len(key), np.float16))
    return file.getvalue() if key != "aa-0002" else None


def test_members_that_others_add_are_carried(dataset: SmallDataset) -> None:
    for shard in LAYOUT:
        add_members(dataset.folder / shard, latent)
    wrong = {problem.what.partition(",")[0].partition("has ")[0] for problem in verify_bytes(dataset.folder)}
    assert "its sha256 is not the manifest's" in wrong  # and not one word of the members
    assert osd_build("index", dataset.folder).stdout == f"{dataset.folder}: 5 samples in 3 shards indexed\n"
    assert verify(str(dataset.folder), "all").problems == []
    assert read_manifest(dataset.folder).extras == ("latent.npy",)
    for row in read_rows(dataset.folder / "index.parquet", "shard", SHARD):
        data = (dataset.folder / SHARD).read_bytes()[row["latent.npy_offset"] :][: row["latent.npy_size"]]
        assert data == (latent(str(row["key"])) or b"")
    before = (dataset.folder / "index.parquet").read_bytes()
    reindex(dataset.folder)
    assert (dataset.folder / "index.parquet").read_bytes() == before


def test_samples_that_lack_what_others_have_say_so(dataset: SmallDataset) -> None:
    add_members(dataset.folder / SHARD, latent)
    reindex(dataset.folder)
    rows = {row["key"]: row for row in read_rows(dataset.folder / "index.parquet", "shard", SHARD)}
    assert (rows["aa-0002"]["latent.npy_offset"], rows["aa-0002"]["latent.npy_size"]) == (0, 0)
    assert rows["aa-0001"]["latent.npy_offset"]


def test_what_would_run_code_is_refused(dataset: SmallDataset, tmp_path: Path) -> None:
    objects = io.BytesIO()
    np.save(objects, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    canary = tmp_path / "canary"
    pickle = b"cos\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR."
    for name, data in (("latent.npy", objects.getvalue()), ("latent.pkl", pickle), ("a.pth", pickle), ("x.so", b"x")):
        add_members(dataset.folder / SHARD, lambda key, data=data: data, name)  # type: ignore[misc]
        assert any("run" in problem.what and name in problem.what for problem in verify_bytes(dataset.folder))
        with pytest.raises(RunError, match="mend the shard first"):
            reindex(dataset.folder)
        assert read_manifest(dataset.folder).totals.samples == 5
        (dataset.folder / SHARD).unlink()
        write_shard(dataset.folder / SHARD, [make_sample(key) for key in LAYOUT[SHARD]])
    assert not canary.exists()


@pytest.mark.parametrize("name", ["../latent.npy", "latent..npy", "Latent.npy", "json", "txt", "a/b", ""])
def test_names_of_further_members(dataset: SmallDataset, name: str) -> None:
    add_members(dataset.folder / SHARD, latent, name)
    assert any("is not a sound shard" in problem.what for problem in verify_bytes(dataset.folder))


def spoil(folder: Path, key: str) -> None:
    """Damage the pictures of one clip, and make index and manifest agree with that."""
    row = read_rows(folder / "index.parquet", "key", key)[0]
    path = folder / str(row["shard"])
    data = bytearray(path.read_bytes())
    middle = int(row["mp4_offset"]) + data[int(row["mp4_offset"]) :].index(b"mdat") + 60
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    reindex(folder)


def test_a_clip_that_does_not_decode_is_named(dataset: SmallDataset) -> None:
    spoil(dataset.folder, "bb-0001")
    assert osd_build("verify", dataset.folder).returncode == 0  # its bytes are those promised
    done = osd_build("verify", dataset.folder, "--decode", "all", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["intact"], found["samples"], found["decoded"]) == (1, False, 5, 5)
    [problem] = found["problems"]
    assert (problem["path"], problem["key"]) == ("data/nasa/r0001/nasa-train-000000.tar", "bb-0001")
    assert osd_build("verify", dataset.folder, "--decode", "sample").returncode == 1


def test_a_row_that_promises_other_frames(dataset: SmallDataset) -> None:
    other = [make_sample(key, frames=7, width=48) for key in LAYOUT[SHARD]]
    write_shard(dataset.folder / SHARD, other)
    reindex(dataset.folder)
    problems = verify(str(dataset.folder), "all").problems
    assert [(problem.key, problem.what.partition(": ")[2]) for problem in problems] == [
        ("aa-0001", "the clip shows 6 frames instead of 7"),
        ("aa-0002", "the clip shows 6 frames instead of 7"),
    ]


def test_faults_of_bytes_name_the_sample_too(dataset: SmallDataset) -> None:
    first, second = (make_sample(key) for key in LAYOUT[SHARD])
    write_shard(
        dataset.folder / SHARD, [first, dataclasses.replace(second, captions={**second.captions, "llava": "x"})]
    )
    found = verify(str(dataset.folder)).problems
    assert ("index.parquet", "aa-0002") in {(problem.path, problem.key) for problem in found}


def test_flags_and_folders(dataset: SmallDataset, tmp_path: Path) -> None:
    def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
        return osd_build("verify", *args)

    assert run(dataset.folder, "--decode", "all").stdout == f"{dataset.folder}: verified, 5 clips decoded\n"
    assert run(dataset.folder, "--decode", "some").returncode == WRONG
    assert json.loads(run(tmp_path, "--json").stdout)["intact"] is False
    assert "is a run" in run(tmp_path).stderr
    done = osd_build("index", tmp_path)
    assert (done.returncode, "cannot be indexed" in done.stderr) == (STOPPED, True)


def test_three_of_a_shard_are_a_sample() -> None:
    rows = [{"key": str(n)} for n in range(10)]
    assert [row["key"] for row in sampled(rows)] == ["0", "4", "9"]  # type: ignore[arg-type]
    assert sampled(rows[:1]) == rows[:1]  # type: ignore[arg-type]
    assert sampled([]) == []
