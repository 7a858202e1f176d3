"""The loader with the real `datasets`, in processes of their own: with our code, and without it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import open_sora_dataset
from open_sora_dataset import METADATA, NewerFormatError, Video, features, load, member_names, score_fields
from small_dataset import FRAMES, SmallDataset, make_mp4, run_python, write_small_dataset
from streamed_dataset import write_numbered


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SmallDataset:
    return write_small_dataset(tmp_path_factory.mktemp("loader") / "dataset")


def expected(dataset: SmallDataset) -> list[list[object]]:
    """Key, captions, motion score and title of every sample, in the order of the shards' names."""
    keys = ["ba-0001", "bb-0001", "aa-0001", "aa-0002", "ab-0001"]
    return [
        [key, *dataset.samples[key].captions.values(), float(len(key)) + int(key[-1]), f"title of {key}"]
        for key in keys
    ]


PRINT = """
import json
def show(samples):
    rows = [[s["__key__"], s["txt"], s["llava.txt"], s["json"]["scores"]["motion_flow"], s["json"]["title"]]
            for s in samples]
    print(json.dumps(rows))
"""


@pytest.mark.parametrize("streaming", [True, False])
def test_plain_load_dataset_needs_none_of_our_code(dataset: SmallDataset, tmp_path: Path, streaming: bool) -> None:
    code = f"""
import sys
sys.path = [entry for entry in sys.path if entry != {str(Path(open_sora_dataset.__file__).parent)!r}]
from datasets import load_dataset
{PRINT}
samples = load_dataset(sys.argv[1], split="train", streaming={streaming})
show(samples)
show(load_dataset(sys.argv[1], "nasa", split="train", streaming={streaming}))
print(json.dumps([len(sample["mp4"]["bytes"]) for sample in samples]))
assert "open_sora_dataset" not in sys.modules
"""
    everything, nasa, sizes = map(json.loads, run_python(code, tmp_path, dataset.folder).splitlines())
    assert everything == expected(dataset)
    assert nasa == expected(dataset)[:2]
    videos = [dataset.samples[str(row[0])].video for row in expected(dataset)]
    assert sizes == [len(video) for video in videos if isinstance(video, bytes)]


LOAD = f"""
import sys
from open_sora_dataset import load
{PRINT}
streaming = sys.argv[2] == "True"
samples = load(sys.argv[1], streaming=streaming, decode=True)
show(samples)
show(load(sys.argv[1], "nasa", streaming=streaming))
keep = ["motion.flow >= 8.5", "license != CC0", "any(fps > 99, width == 64)"]
show(load(sys.argv[1], streaming=streaming, keep=keep))
chosen = load(sys.argv[1], streaming=streaming, captioner="llava", keep=["license == CC-BY-4.0", "frames in 6..7"])
print(json.dumps([[s["__key__"], s["txt"], sorted(s)] for s in chosen]))
first = next(iter(samples))
pixel = first["video"].frames([0, 5])[0, 0, 0].tolist()
print(json.dumps([type(first["mp4"]).__name__, first["video"].count, pixel]))
"""


def check_load(output: str, dataset: SmallDataset) -> None:
    everything, nasa, moving, chosen, video = map(json.loads, output.splitlines())
    assert everything == expected(dataset)
    assert nasa == expected(dataset)[:2]
    assert moving == [row for row in expected(dataset) if row[0] == "aa-0002"]
    columns = ["__key__", "__url__", "json", "mp4", "txt"]
    assert chosen == [[row[0], row[2], columns] for row in expected(dataset)[:2]]
    assert video[:2] == ["bytes", FRAMES]
    assert video[2] == pytest.approx([60, 60, 60], abs=3)


@pytest.mark.parametrize("streaming", [True, False])
def test_load(dataset: SmallDataset, tmp_path: Path, streaming: bool) -> None:
    check_load(run_python(LOAD, tmp_path, dataset.folder, streaming), dataset)


def test_load_where_torchcodec_is_installed_and_broken(dataset: SmallDataset, tmp_path: Path) -> None:
    """As it is beside a torch of another build. `datasets` then fails on any Video column, decoded or not."""
    package = tmp_path / "torchcodec"
    package.mkdir()
    (package / "__init__.py").write_text("raise OSError('libnvrtc.so.13: cannot open shared object file')")
    information = tmp_path / "torchcodec-0.17.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: torchcodec\nVersion: 0.17.0\n")
    broken = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    plain = "import datasets\nfor s in datasets.load_dataset(sys.argv[1], split='train', streaming=True): pass"
    with pytest.raises(AssertionError, match=r"libnvrtc\.so\.13"):
        run_python(broken + plain, tmp_path, dataset.folder)
    check_load(run_python(broken + LOAD, tmp_path, dataset.folder, True), dataset)


def test_the_copy_beside_the_shards_stands_alone(dataset: SmallDataset, tmp_path: Path) -> None:
    """Also as a builder, whose cache never gives one folder's rows out for another's."""
    second = write_small_dataset(tmp_path / "second")
    manifest = json.loads((second.folder / "manifest.json").read_text())
    manifest["shards"] = manifest["shards"][1:]
    (second.folder / "manifest.json").write_text(json.dumps(manifest))
    code = f"""
import sys
sys.path = [sys.argv[1], *(p for p in sys.path if p != {str(Path(open_sora_dataset.__file__).parent)!r})]
import open_sora_dataset
assert open_sora_dataset.__file__.startswith(sys.argv[1])
{PRINT}
for folder in sys.argv[1:]:
    builder = open_sora_dataset.OpenSoraDataset(base_path=folder)
    show(builder.as_streaming_dataset("train"))
    builder.download_and_prepare()
    show(builder.as_dataset("train"))
"""
    outputs = [json.loads(line) for line in run_python(code, tmp_path, dataset.folder, second.folder).splitlines()]
    rest = [row for row in expected(second) if row[0] not in ("ba-0001", "bb-0001")]
    assert outputs == [expected(dataset), expected(dataset), rest, rest]


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_small_dataset(tmp_path / "dataset").folder
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text(card.replace("version: 1.0.0", "version: 2.0.0"))
    with pytest.raises(NewerFormatError, match=r"dataset has format_version 2; .* reads up to 1"):
        load(folder, cache_dir=str(tmp_path / "cache"))


def test_what_cannot_be_loaded_says_so(dataset: SmallDataset, tmp_path: Path) -> None:
    for keep, complaint in (
        (
            ["motion.flaw > 1"],
            r"keep: `motion\.flaw > 1`: 'motion_flaw'; names are: clip_id, .*, motion_flow, text_area",
        ),
        (["license > 1"], "license is a text: compare it with == or !="),
        (["license in 1..2"], "license is a text"),
        (["fps >= fast"], "could not convert"),
        (["fps"], "it is not like"),
        ("fps >= fast", "could not convert"),
        (["any(fps > 1, nothing > 2)"], "'nothing'"),
    ):
        with pytest.raises(ValueError, match=complaint):
            load(dataset.folder, keep=keep, cache_dir=str(tmp_path))
    with pytest.raises(ValueError, match="no captioner 'gpt'; `txt` is of 'describe'"):
        load(dataset.folder, captioner="gpt", cache_dir=str(tmp_path))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="is not an Open-Sora dataset"):
        load(tmp_path / "other", cache_dir=str(tmp_path))


@pytest.mark.parametrize("streaming", [True, False])
def test_loader_workers_decode(dataset: SmallDataset, tmp_path: Path, streaming: bool) -> None:
    code = """
import sys
from torch.utils.data import DataLoader
from open_sora_dataset import load

def collate(samples):
    return [(sample["__key__"], sample["video"].frames([1]).shape) for sample in samples]

if __name__ == "__main__":
    samples = load(sys.argv[1], streaming=sys.argv[2] == "True", decode=True)
    batches = DataLoader(samples, batch_size=2, num_workers=2, collate_fn=collate)
    print(sorted(item for batch in batches for item in batch))
"""
    output = run_python(code, tmp_path, dataset.folder, streaming)
    assert output.strip() == str([(key, (1, 48, 64, 3)) for key in sorted(dataset.samples)])


@pytest.mark.parametrize("name", ["_torchcodec", "_decord", "_av"])
def test_every_decoder_gives_the_frames_asked_for(name: str, tmp_path: Path) -> None:
    """Each in its own process: two copies of FFmpeg in one do not get on."""
    module = {"_torchcodec": "torchcodec.decoders", "_decord": "decord", "_av": "av"}[name]
    if module == "torchcodec.decoders":
        pytest.importorskip(module, exc_type=Exception)  # type: ignore[arg-type]  # broken ones raise anything
    (tmp_path / "clip.mp4").write_bytes(make_mp4(20))
    code = f"""
import json, pathlib, open_sora_dataset
data = pathlib.Path("clip.mp4").read_bytes()
frames = open_sora_dataset.{name}(data, [4, 0, 4])
print(json.dumps([frames.shape, str(frames.dtype), frames.mean((1, 2, 3)).tolist()]))
"""
    shape, dtype, shades = json.loads(run_python(code, tmp_path))
    assert (shape, dtype) == ([3, 48, 64, 3], "uint8")
    assert shades == pytest.approx([60, 20, 60], abs=3)


def test_frames_out_of_range_are_refused() -> None:
    video = Video(b"", 3)
    assert video.count == 3
    for indices in ([3], [0, -1]):
        with pytest.raises(IndexError, match=r"0\.\.2"):
            video.frames(indices)


def test_only_an_mp4_is_given_to_a_decoder() -> None:
    """A playlist in its place could name any file of this machine."""
    for data in (
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile x.mp4",
        b"",
        b"RIFF0000AVI ",
    ):
        with pytest.raises(ValueError, match="these bytes are no mp4"):
            Video(data, 3).frames([0])


def test_what_was_taken_down_is_left_out(tmp_path: Path) -> None:
    small = write_small_dataset(tmp_path / "dataset")
    gone = ["ab-0001", "source_sha256 of aa-0001"]
    pq.write_table(pa.table({"of": gone}), small.folder / "removed.parquet")
    code = PRINT + "import sys; from open_sora_dataset import load; show(load(sys.argv[1]))"
    left = [row for row in expected(small) if row[0] not in ("ab-0001", "aa-0001")]
    assert json.loads(run_python(code, tmp_path, small.folder)) == left


DATASETS_3 = """
import json, sys
import datasets
assert datasets.__version__.startswith("3.")
script = sys.argv[1] + "/open_sora_dataset.py"
for streaming in (True, False):
    for split in ("train", "validation"):
        read = datasets.load_dataset(script, split=split, streaming=streaming, trust_remote_code=True)
        print(json.dumps([[s["__key__"], s["txt"], s["llava.txt"], len(s["mp4"])] for s in read]))
"""


def test_the_same_file_is_a_loading_script_of_datasets_3(tmp_path: Path) -> None:
    """`python3.11 -m venv V; V/bin/pip install datasets==3.6.0`, then OSD_DATASETS_3=V/bin/python."""
    python = os.environ.get("OSD_DATASETS_3")
    if not python:
        pytest.skip("OSD_DATASETS_3 names no Python with datasets 3.6")
    sizes = {"train": [3, 2], "validation": [2]}
    folder = tmp_path / "dataset"
    for split, counts in sizes.items():
        write_numbered(tmp_path / split, counts, split=split)
        shutil.copytree(tmp_path / split, folder, dirs_exist_ok=True)
    manifests = [json.loads((tmp_path / split / "manifest.json").read_text()) for split in sizes]
    manifest = {**manifests[0], "shards": [shard for one in manifests for shard in one["shards"]]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    shutil.copy(open_sora_dataset.__file__, folder)
    environment = {"HF_HOME": str(tmp_path / "hf"), "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1"}
    command = [python, "-c", DATASETS_3, str(folder)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    train, validation, *again = map(json.loads, done.stdout.splitlines())
    assert [row[:3] for row in train][:1] == [["s00-00", "describe says s00-00", "llava says s00-00"]]
    assert [row[0] for row in train] == ["s00-00", "s00-01", "s00-02", "s01-00", "s01-01"]
    assert [row[0] for row in validation] == ["s00-00", "s00-01"]
    assert again == [train, validation]


def test_the_contract() -> None:
    """Published datasets depend on these: changing one needs a new FORMAT_VERSION."""
    columns = features(["text.area"], ["describe", "llava"])
    assert list(columns) == ["json", "mp4", "txt", "llava.txt", "__key__", "__url__"]
    assert columns["mp4"] == datasets.Video(decode=False)
    assert list(columns["json"]) == [*METADATA, "scores"]
    assert columns["json"]["scores"] == {"text_area": datasets.Value("float64")}
    assert features([], ["describe"], binary=True)["mp4"] == datasets.Value("binary")
    assert "scores" not in features([], ["describe"])["json"]
    assert member_names(["describe", "llava"]) == ("json", "mp4", "txt", "llava.txt")
    with pytest.raises(ValueError, match="not distinct"):
        score_fields(["a.b", "a_b"])
    assert open_sora_dataset.FORMAT_VERSION == 1
