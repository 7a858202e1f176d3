"""A small real dataset: two sources, three shards, five clips, two captioners, two scores."""

import io
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from webdataset.tariterators import group_by_keys, tar_file_expander

import open_sora_dataset
from builder.card import CaptionerFacts, CardFacts, FunnelStep, render
from shards.index import index_row, write_index
from shards.manifest import Header, ShardEntry, build_manifest
from shards.write import Sample, write_shard

REPOSITORY = Path(__file__).parents[1]
FRAMES = 6
SCORES = ("text.area", "motion.flow")
CAPTIONERS = ("describe", "llava")
LAYOUT = {  # shard -> keys
    "data/pexels/r0001/pexels-train-000000.tar": ("aa-0001", "aa-0002"),
    "data/pexels/r0001/pexels-train-000001.tar": ("ab-0001",),
    "data/nasa/r0001/nasa-train-000000.tar": ("ba-0001", "bb-0001"),
}
FACTS = CardFacts(
    pretty_name="Test clips",
    repo_id="test/clips",
    captions_are="Captions named `describe` are composed from measurements by rule, not by a model.",
    funnel=(FunnelStep("scan", 9, 8, 0, 1), FunnelStep("judge", 8, 5, 3, 0)),
    filters=("text.area <= 0.01",),
    captioners=(
        CaptionerFacts("describe", "rules 1"),
        CaptionerFacts("llava", "llava-7b", "abc123", "Describe."),
    ),
)


def make_mp4(shade: int) -> bytes:
    """FRAMES frames of 64x48, each uniformly gray: `shade`, `shade` + 10, ..."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(FRAMES):
            pixels = np.full((48, 64, 3), shade + 10 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return buffer.getvalue()


MP4 = {shade: make_mp4(shade) for shade in (20, 60, 100)}


def make_metadata(key: str, source: str = "pexels") -> dict[str, object]:
    texts = {name: f"{name} of {key}" for name, dtype in open_sora_dataset.METADATA.items() if dtype == "string"}
    license_url = "https://licenses.example/by/4.0"
    return {
        **texts,
        **{"clip_id": key, "source": source, "cut": "copy", "captioner": "describe"},
        **{"license": "CC-BY-4.0" if source == "nasa" else "Pexels", "license_url": license_url},
        **{"start_s": 0.0, "end_s": 0.25, "duration_s": 0.25, "lost_s": 0.0, "fps": 24.0},
        **{"start_frame": 0, "end_frame": FRAMES, "frames": FRAMES, "width": 64, "height": 48},
        "scores": {"text.area": 0.0, "motion.flow": len(key) + float(key[-1])},
    }


def make_sample(key: str = "aa-0001", source: str = "pexels", **changes: object) -> Sample:
    """`changes` are of the metadata."""
    captions = {"describe": f"A gray clip, {key}.", "llava": f"Nothing happens in {key}: \N{SNOWMAN}"}
    return Sample(key, {**make_metadata(key, source), **changes}, MP4[20 + 40 * (len(source) % 3)], captions)


@dataclass(frozen=True)
class SmallDataset:
    folder: Path
    samples: dict[str, Sample]


def write_small_dataset(folder: Path) -> SmallDataset:
    entries, rows, samples = [], [], {}
    for path, keys in sorted(LAYOUT.items()):
        shard = [make_sample(key, path.split("/")[1]) for key in keys]
        samples |= {sample.key: sample for sample in shard}
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        written = write_shard(folder / path, shard)
        entries.append(ShardEntry(path, len(shard), written.size_bytes, written.sha256))
        for sample in shard:
            members = [member for member in written.members if member.key == sample.key]
            rows.append(index_row(path, sample.metadata, sample.captions, members))
    sha256 = write_index(folder / "index.parquet", rows, SCORES, CAPTIONERS)
    manifest = build_manifest(folder, Header("clips", "test 1", SCORES, CAPTIONERS), entries, sha256)
    (folder / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    facts = replace(FACTS, repo_id=str(folder))
    (folder / "README.md").write_text(render(folder, manifest, facts), encoding="utf-8")
    source = Path(open_sora_dataset.__file__).read_bytes()
    (folder / "open_sora_dataset.py").write_bytes(source)
    return SmallDataset(folder, samples)


def read_with_webdataset(path: Path) -> list[dict[str, Any]]:
    """Its reader fed with an open file: opening files itself, it leaves them to the garbage collector."""
    with path.open("rb") as file:
        samples = list(group_by_keys(tar_file_expander([{"url": str(path), "stream": file}])))
    for sample in samples:
        del sample["__url__"]
    return samples


def run_python(code: str, home: Path, *arguments: object) -> str:
    """Run code as a user would: own process, own Hugging Face caches below `home`, no network. Returns what it
    printed; fails with its traceback."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(home / "hf"),
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
