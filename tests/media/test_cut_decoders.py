"""Every decoder that trainers use shows a clip from its first frame to its last, each in a process of its own."""

import importlib.util
import json
import subprocess
import sys

import pytest

from builder.media.cut import CutSettings, cut, index
from media.test_cut import decoded, span_of

COUNT = {
    "decord": """
import decord, json, sys
def count(path):
    reader = decord.VideoReader(path, num_threads=1)
    for number in range(len(reader)):
        frame = reader.next().asnumpy()
    same = bool((decord.VideoReader(path, num_threads=1)[number].asnumpy() == frame).all())
    return [number + 1, float(reader.get_frame_timestamp(0)[0]), list(frame.shape[:2]), same]
print(json.dumps([count(path) for path in sys.argv[1:]]))
""",
    "torchcodec": """
import json, sys
from torchcodec.decoders import VideoDecoder
def count(path):
    reader = VideoDecoder(path, dimension_order="NHWC")
    for number in range(len(reader)):
        frame = reader[number]
    same = bool((VideoDecoder(path, dimension_order="NHWC")[number] == frame).all())
    return [number + 1, reader.get_frame_at(0).pts_seconds, list(frame.shape[:2]), same]
print(json.dumps([count(path) for path in sys.argv[1:]]))
""",
}
REAL = [
    ("edit_sintel_10s.mp4", 0, 20),
    ("edit_city_cc0.mpg", 90, 136),
    ("rot90.mov", 0, 3),
    ("codec_hevc10_rot_2shots.mp4", 0, 8),
    ("codec_vp9_noduration.webm", 0, 15),
    ("time_delayed_start.mp4", 2, 20),
    ("codec_mpeg4_xvid.avi", 31, 60),
]


@pytest.fixture
def clips(make, footage, tmp_path):
    """(path, facts) of copies and encodings: made ones, and of real files those that are there."""
    sources = [(make("a.mp4", frames=44, options={"g": "10"}), 10, 44), (make("b.mp4", frames=44), 5, 20)]
    sources.append((make("c.mkv", frames=44, muxer="matroska", options={"bf": "3"}, shots=[20]), 0, 40))
    for name, first, last in REAL:
        try:
            sources.append((footage(name), first, last))
        except pytest.skip.Exception:
            continue
    found = []
    for source, first, last in sources:
        frames, end = decoded(source)
        packets = index(source)
        for mode in ("auto", "encode"):
            target = tmp_path / f"{len(found)}.mp4"
            facts = cut(source, target, span_of(frames, end, first, last), CutSettings(mode), packets)
            found.append((str(target), facts))
    return found


def test_other_decoders_show_every_frame(clips):
    assert {facts.method for _, facts in clips} == {"copy", "encode"}
    wanted = [[facts.frames, 0.0, [facts.height, facts.width], True] for _, facts in clips]
    installed = [name for name in COUNT if importlib.util.find_spec(name)]
    for name in installed:
        command = [sys.executable, "-c", COUNT[name], *(path for path, _ in clips)]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(told.stdout) == wanted, name
    assert installed or pytest.skip("needs decord or torchcodec")
