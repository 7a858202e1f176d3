"""`osd-build pack`: splits, numbers of shards, profiles, from the command line to what `load_dataset` gives."""

import json
from pathlib import Path

import datasets
import polars as pl
import pytest

from builder.decisions import Decisions, decision
from builder.errors import ConfigError
from builder.execute import open_run
from builder.storage import Storage
from command_line import STOPPED, WRONG, digests, osd_build, write_run
from made_video import Made, write
from shards.manifest import read_manifest

SPLIT = ("--set", "plan.validation=0.4", "--split-by", "video")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run packed without any option: eight clips in one shard."""
    folder = tmp_path_factory.mktemp("pack")
    (folder / "videos").mkdir()
    for n in range(8):
        write(folder / "videos" / f"{n}.mp4", Made(frames=25 + n))
    run = write_run(folder / "run", folder / "videos")
    assert osd_build("run", run).returncode == 0
    return run


def pack(run: Path, *options: str) -> dict[str, str]:
    """The shards by path, with their digests; the dataset must verify."""
    done = osd_build("pack", run, *options)
    assert done.returncode == 0, done.stderr
    verified = osd_build("verify", run / "dataset", "--json", "--decode", "sample")
    assert json.loads(verified.stdout)["problems"] == []
    root = run / "dataset"
    return {Path(p).relative_to(root).as_posix(): digest for p, (digest, _) in digests(root / "data").items()}


def test_validation_is_a_split_of_its_own(run: Path) -> None:
    found = pack(run, *SPLIT)
    assert {path.rpartition("-")[0] for path in found} == {"data/zoo/r0001/zoo-train", "data/zoo/r0001/zoo-validation"}
    sizes = {split: 0 for split in ("train", "validation")}
    for entry in read_manifest(run / "dataset").shards:
        sizes[entry.split] += entry.samples
    loaded = datasets.load_dataset(str(run / "dataset"), streaming=True)
    assert {split: len(list(rows)) for split, rows in loaded.items()} == sizes
    assert list(loaded) == ["train", "validation"]
    assert sum(sizes.values()) == 8


def test_so_many_shards_whatever_the_number_of_workers(run: Path) -> None:
    three = pack(run, "--shards", "3", "--set", "run.workers=1")
    assert len(three) == 3
    assert {entry.samples for entry in read_manifest(run / "dataset").shards} == {2, 3}
    assert pack(run, "--shards", "3", "--set", "run.workers=2", "--set", "pack.max_loss_s=0.21") == three  # made anew
    done = osd_build("pack", run, "--shards", "9")
    assert (done.returncode, "8 clips of 1 kinds" in done.stderr) == (STOPPED, True)
    assert "Traceback" not in done.stderr


def test_the_shape_of_version_1(run: Path) -> None:
    pack(run, "--set", "pack.profile=no_transition")
    rows = pl.read_parquet(run / "dataset" / "index.parquet")
    assert set(rows["width"]) == set(rows["height"]) == {512}
    assert set(rows["fps"]) == {24.0}
    assert set(rows["cut"]) == {"encode"}
    assert all(abs(row["frames"] / 24 - (row["end_s"] - row["start_s"])) <= 0.5 / 24 for row in rows.to_dicts())
    assert all("512x512" in text and "resampled to 24 fps" in text for text in rows["cut_settings"])


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("pack.profile=none", "there are: no_transition"),
        ("pack.crop=borders", "scorer 'borders' is off"),
        ("pack.size=[512, 511]", "size"),
        ("pack.fps=-1", "fps"),
        ("pack.video=vp9", "video"),
        ("pack.copy_only=maybe", "copy_only"),
        ("plan.split_by=colour", "split_by"),
        ("plan.validation=1", "validation"),
        ("plan.made=x", "no key 'made'"),
    ],
)
def test_wrong_settings_are_named(run: Path, setting: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        open_run(run, [setting])


def test_contradictions_are_named(run: Path) -> None:
    whole, sizes = ("copy_only=true", "fps=24"), ("size=[64,64]", "max_short_side=64")
    for settings in (whole, ("copy_only=true", "video=h264"), sizes):
        with pytest.raises(ConfigError, match="drop one"):
            open_run(run, [f"pack.{setting}" for setting in settings])
    assert osd_build("pack", run, "--split-by", "colour").returncode == WRONG


def test_a_caption_that_a_person_put_right_goes_into_its_shard_alone(run: Path) -> None:
    before = pack(run, "--shards", "3")
    key = pl.read_parquet(run / "dataset" / "index.parquet")["key"][0]
    decisions = Decisions(Storage(run))
    decisions.add([decision(key, "", {"describe": "A person wrote this."})])
    after = pack(run, "--shards", "3")
    assert len({path for path in before if before[path] != after[path]}) == 1
    row = pl.read_parquet(run / "dataset" / "index.parquet").row(by_predicate=pl.col("key") == key, named=True)
    assert (row["txt"], row["caption_model"]) == ("A person wrote this.", "describe, put right by hand")
    decisions.add([decision(key, "", {})])
    assert pack(run, "--shards", "3") == before
