"""Exports are read by what the loaders of Open-Sora-Plan do, and are never half there."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import open_sora_plan_loaders as loaders
from builder.errors import ConfigError, RunError
from builder.export.annotations import crop_of, seconds
from builder.export.export import export
from cut_dataset import make_dataset
from made_video import Made
from small_dataset import REPOSITORY, write_small_dataset

NTSC = {"rate": 24000, "pts": range(0, 200 * 1001, 1001)}
SIZE = (96, 64)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of lengths and rates at which a rounded number of frames would not be that of the file."""
    cropped = {"text.s_x": 0.0, "text.e_x": 96.0, "text.s_y": 0.0, "text.e_y": 56.0, "aesthetic.mean": 5.5}
    clips: dict[str, dict[str, Any]] = {
        "aa-000": {"made": Made(frames=29, size=SIZE, rate=24)},
        "ab-000": {"made": Made(frames=47, size=SIZE, rate=25)},
        "ac-000": {"made": Made(frames=32, size=SIZE, **NTSC)},  # 33 of them at 24 frames a second, counted by v1.2.0
        "ad-000": {"made": Made(frames=40, size=SIZE, rate=30), "scores": cropped},
        "ae-000": {"made": Made(frames=36, size=SIZE, rate=30), "split": "validation"},
    }
    return make_dataset(tmp_path_factory.mktemp("export") / "dataset", clips)


@pytest.mark.parametrize("version", ["0", "1", "2", "3"])
def test_each_version_of_the_loader_reads_every_clip(dataset: Path, tmp_path: Path, version: str) -> None:
    out = tmp_path / "out"
    said = export(dataset, f"open-sora-plan-v1.{version}", out)
    assert f"4 clips in {out / 'train.json'}, 1 clips in {out / 'validation.json'}" in said
    read = getattr(loaders, f"v1_{version}")
    loaded = read(out / ("train.json" if version == "0" else "data.txt"), loaders.Settings())
    assert [sample.text for sample in loaded] == [f"First of {key}-000." for key in ("aa", "ab", "ac", "ad")]
    assert {len(sample.frames) for sample in loaded} == {29}
    assert loaded[3].frames.shape[1:3] == ((56, 96) if version == "3" else (64, 96))
    first = loaders.decode(str(dataset.parent / "aa-000.mp4"))[0]
    assert (loaded[0].frames == first).all()


def test_items_say_what_the_facts_of_each_version_ask_for(dataset: Path, tmp_path: Path) -> None:
    def items(version: str) -> list[dict[str, Any]]:
        export(dataset, f"open-sora-plan-v1.{version}", tmp_path / version)
        found: list[dict[str, Any]] = json.loads((tmp_path / version / "train.json").read_text())
        return found

    assert items("1")[1] == {"path": "pexels/ab/ab-000.mp4", "frame_idx": "0:47", "cap": "First of ab-000."}
    two, three = items("2")[3], items("3")[3]
    assert (two["resolution"], two["display_aspect_ratio"]) == ({"height": 64, "width": 96}, "3:2")
    assert two["cap"] == ["First of ad-000.", "Second of ad-000."]
    assert two["size"] == (dataset.parent / "ad-000.mp4").stat().st_size
    assert (three["num_frames"], three["cut"], three["crop"], three["aesthetic"]) == (40, [0, 40], [0, 96, 0, 56], 5.5)
    assert three["resolution"] == {"height": 56, "width": 96}


@given(st.integers(1, 10_000), st.sampled_from([23.976, 24000 / 1001, 29.97, 25.0, 59.94, 12.5, 119.88, 1 / 3]))
def test_a_duration_gives_back_its_frames(frames: int, fps: float) -> None:
    assert int(fps * seconds(frames, fps)) == frames
    assert seconds(frames, fps) == pytest.approx(frames / fps)


@pytest.mark.parametrize(
    ("text", "borders", "settings", "crop"),
    [
        ((0, 0, 0, 0), (0, 100, 0, 80), "packets unchanged", (0, 100, 0, 80)),
        ((0, 100, 0, 70), (0, 100, 10, 80), "packets unchanged", (0, 100, 10, 70)),
        ((5.5, 90.5, 0, 80), (0, 0, 0, 0), "libx264 crf=18", (6, 90, 0, 80)),
        ((0, 50, 0, 80), (50, 100, 0, 80), "packets unchanged", (0, 100, 0, 80)),
        ((0, 400, 0, 300), (0, 400, 10, 300), "packets unchanged", (0, 100, 10, 80)),
        ((0, 100, 0, 70), (0, 100, 0, 80), "libx264 crf=18, scaled to 100x80 (bicubic)", (0, 100, 0, 80)),
    ],
)
def test_crop(text: tuple[float, ...], borders: tuple[float, ...], settings: str, crop: tuple[int, ...]) -> None:
    edges = ("s_x", "e_x", "s_y", "e_y")
    scores = {f"score_text_{e}": v for e, v in zip(edges, text, strict=True)}
    scores |= {f"score_borders_{e}": v for e, v in zip(edges, borders, strict=True)}
    assert crop_of({**scores, "width": 100, "height": 80, "cut_settings": settings}) == crop


def test_one_captioner(dataset: Path, tmp_path: Path) -> None:
    export(dataset, "open-sora-plan-v1.3", tmp_path / "out", "llava")
    assert json.loads((tmp_path / "out/train.json").read_text())[0]["cap"] == ["Second of aa-000."]
    with pytest.raises(ConfigError, match="no captions named 'x'; there are: describe, llava"):
        export(dataset, "open-sora-plan-v1.3", tmp_path / "other", "x")


def test_videos_of_an_earlier_export_serve_again(dataset: Path, tmp_path: Path) -> None:
    export(dataset, "open-sora-plan-v1.3", tmp_path / "one")
    export(dataset, "open-sora-plan-v1.2", tmp_path / "two", videos=tmp_path / "one/videos")
    assert len(loaders.v1_2(tmp_path / "two/data.txt", loaders.Settings())) == 4
    assert not (tmp_path / "two/videos").exists()
    (tmp_path / "one/videos/pexels/aa/aa-000.mp4").write_bytes(b"")
    with pytest.raises(RunError, match=r"aa-000.mp4 is not the video of aa-000"):
        export(dataset, "open-sora-plan-v1.2", tmp_path / "three", videos=tmp_path / "one/videos")


# -- whole or not at all
def test_nothing_is_overwritten(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(dataset, "open-sora-plan-v1.3", out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(ConfigError, match="is there already; it is not overwritten"):
        export(dataset, "open-sora-plan-v1.2", out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    export(dataset, "jsonl", out)
    with pytest.raises(ConfigError, match=r"clips.jsonl is there already"):
        export(dataset, "jsonl", out)


def test_an_export_that_stopped_goes_on(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(dataset, "open-sora-plan-v1.3", out)
    wanted = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "data.txt").unlink()
    (out / "validation.json").unlink()
    (out / "videos/pexels/ab/ab-000.mp4").unlink()
    said = export(dataset, "open-sora-plan-v1.3", out)
    assert "1 videos written, 4 were there" in said
    assert {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()} == wanted


def written(out: Path) -> int:
    """How many files there are; what goes away meanwhile is passed over."""
    return sum(name.endswith((".mp4", ".json")) for _, _, names in os.walk(out) for name in names)


def test_killed_at_any_moment_it_is_whole_the_next_time(dataset: Path, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from builder.export.export import export; "
    code += "export(Path(sys.argv[1]), 'open-sora-plan-v1.3', Path(sys.argv[2]))"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    out = tmp_path / "out"
    for files in (1, 4, 6, 99):
        process = subprocess.Popen([sys.executable, "-c", code, str(dataset), str(out)], env=environment)
        while process.poll() is None and written(out) < files:
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (out / "data.txt").exists():
            break
    assert len(loaders.v1_3(out / "data.txt", loaders.Settings())) == 4


def test_a_strange_file_in_the_way_is_left_alone(dataset: Path, tmp_path: Path) -> None:
    strange = tmp_path / "out/videos/pexels/ab/ab-000.mp4"
    strange.parent.mkdir(parents=True)
    strange.write_bytes(b"mine")
    with pytest.raises(RunError, match="is not the video of ab-000; take it away"):
        export(dataset, "open-sora-plan-v1.1", tmp_path / "out")
    assert strange.read_bytes() == b"mine"
    assert not (tmp_path / "out/train.json").exists()


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    folder = write_small_dataset(tmp_path / "dataset").folder
    row = pq.read_table(folder / "index.parquet").to_pylist()[0]
    shard = folder / row["shard"]
    data = bytearray(shard.read_bytes())
    data[row["mp4_offset"] + 5] ^= 1
    shard.write_bytes(data)
    with pytest.raises(RunError, match=rf"{shard.name}: the video of {row['key']} is damaged"):
        export(folder, "open-sora-plan-v1.0", tmp_path / "out")
    shard.unlink()
    with pytest.raises(RunError, match="cannot be read"):
        export(folder, "open-sora-plan-v1.0", tmp_path / "out")


@pytest.mark.parametrize(("column", "value"), [("shard", "../../etc/x.tar"), ("key", "../../up"), ("key", "a/b")])
def test_an_index_that_points_elsewhere_is_refused(tmp_path: Path, column: str, value: str) -> None:
    folder = write_small_dataset(tmp_path / "dataset").folder
    table = pq.read_table(folder / "index.parquet")
    rows = [row | ({column: value} if n == 2 else {}) for n, row in enumerate(table.to_pylist())]
    pq.write_table(table.from_pylist(rows, schema=table.schema), folder / "index.parquet")
    with pytest.raises(RunError, match=r"is not the one of manifest.json"):
        export(folder, "csv", tmp_path / "out")
    from builder.export.clips import Dataset
    from builder.export.export import export_annotations
    from shards.manifest import read_manifest

    dataset = Dataset(folder, read_manifest(folder))
    with pytest.raises(RunError, match="does not belong to this dataset"):
        export_annotations(dataset, "open-sora-plan-v1.1", tmp_path / "out", ["txt"], None)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} >= {".mp4"}
    assert not list(tmp_path.parent.glob("up*"))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("webm", "out", {}), "there is no format 'webm'; there are: open-sora-plan-v1.0"),
        (("csv", "out", {"captioner": "llava"}), "leave --captioner and --videos out"),
        (("open-sora-plan-v1.1", "a,b", {}), "a path with a comma"),
        (("open-sora-plan-v1.1", "x_resize_1080p", {}), "may delete files below"),
        (("csv", "file", {}), "is a file; name a folder"),
        (("csv", "file/below", {}), "cannot be made (Not a directory)"),
    ],
)
def test_what_cannot_be(dataset: Path, tmp_path: Path, asked: tuple[str, str, dict[str, Any]], says: str) -> None:
    form, out, options = asked
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError) as error:
        export(dataset, form, tmp_path / out, **options)
    assert says in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_run_stands_for_its_dataset(tmp_path: Path) -> None:
    write_small_dataset(tmp_path / "run/dataset")
    assert export(tmp_path / "run", "jsonl", tmp_path / "out").startswith("wrote 5 clips")
    with pytest.raises(RunError, match="no finished dataset and no run with one"):
        export(tmp_path, "jsonl", tmp_path / "out")
    with pytest.raises(ConfigError, match="only a dataset on this machine"):
        export(Path("hf://a/b"), "jsonl", tmp_path / "out")


def test_the_loaders_here_refuse_what_the_real_ones_would(dataset: Path, tmp_path: Path) -> None:
    """A test that cannot fail proves nothing: what is known to break them breaks them."""
    export(dataset, "open-sora-plan-v1.2", tmp_path / "two")
    export(dataset, "open-sora-plan-v1.3", tmp_path / "three")

    def changed(folder: str, number: int, **fields: Any) -> Path:
        items = json.loads((tmp_path / folder / "train.json").read_text())
        items[number] |= fields
        (tmp_path / folder / "train.json").write_text(json.dumps(items))
        return tmp_path / folder / "data.txt"

    with pytest.raises(ValueError, match="predefine_num_frames"):
        ntsc = changed("two", 2, fps=24000 / 1001, duration=seconds(32, 24000 / 1001))
        loaders.v1_2(ntsc, replace(loaders.Settings(), num_frames=33))
    with pytest.raises(AssertionError, match="sample_h"):
        loaders.v1_3(changed("three", 3, resolution={"height": 64, "width": 96}), loaders.Settings())
