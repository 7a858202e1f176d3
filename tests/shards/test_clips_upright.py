"""Clips that are stored lying come upright, by every decoder, each in a process of its own."""

import json
from pathlib import Path

import numpy as np
import pytest

from sample_clips import VIDEOS
from small_dataset import run_python

CODE = """
import json, pathlib, sys, numpy, open_sora_dataset
data = pathlib.Path(sys.argv[1]).read_bytes()
frames = getattr(open_sora_dataset, sys.argv[2])(data, [0, 2])
small = frames[:, ::40, ::40].astype(float).mean(3)
print(json.dumps([frames.shape, small.round().tolist()]))
"""


@pytest.mark.parametrize("name", ["rot90.mov", "vfr_fire_rot180.mp4"])
def test_decoders_agree_on_what_is_up(name: str, tmp_path: Path) -> None:
    if not (VIDEOS / name).is_file():
        pytest.skip(f"no {name} beside the repository")
    decoded = [json.loads(run_python(CODE, tmp_path, VIDEOS / name, decoder)) for decoder in ("_av", "_decord")]
    assert decoded[0][0] == decoded[1][0]
    assert np.abs(np.subtract(decoded[0][1], decoded[1][1])).mean() < 5
