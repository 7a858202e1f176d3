"""Clips that are stored lying come upright, by every decoder, each in a process of its own."""

import json
from pathlib import Path

import numpy as np
import pytest

from sample_clips import VIDEOS
from small_dataset import run_python

NAMES = ["rot90.mov", "vfr_fire_rot180.mp4"]
CODE = """
import json, pathlib, sys, open_sora_dataset
found = []
for name in sys.argv[2:]:
    frames = getattr(open_sora_dataset, sys.argv[1])(pathlib.Path(name).read_bytes(), [0, 2])
    found.append([frames.shape, frames[:, ::40, ::40].astype(float).mean(3).tolist()])
print(json.dumps(found))
"""


def test_decoders_agree_on_what_is_up(tmp_path: Path) -> None:
    videos = [VIDEOS / name for name in NAMES]
    if not all(video.is_file() for video in videos):
        pytest.skip(f"no {', '.join(NAMES)} in {VIDEOS}")
    decoded = [json.loads(run_python(CODE, tmp_path, decoder, *videos)) for decoder in ("_av", "_decord")]
    for one, other in zip(*decoded, strict=True):
        assert one[0] == other[0]
        assert np.abs(np.subtract(one[1], other[1])).mean() < 5
