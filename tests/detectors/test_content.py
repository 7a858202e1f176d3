"""content and adaptive: PySceneDetect's own cuts when the pass took its statistic; near enough on thumbnails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scenedetect import AdaptiveDetector, ContentDetector, FrameTimecode, detect, open_video

from builder.detectors.adaptive import Adaptive
from builder.detectors.content import Content
from builder.execute import open_run
from builder.frames import Footage
from builder.stages.detect import Detector
from made_video import Made, write
from sample_clips import VIDEOS

Look = Callable[..., Footage]
SHOTS = (30, 34, 71, 100, 104)  # some closer together than PySceneDetect's least length of a scene
MADE = {
    "24": Made(frames=140, rate=24, shots=SHOTS),
    "25-large": Made(frames=140, rate=25, shots=SHOTS, size=(640, 360)),
    "30-rotated": Made(frames=140, rate=30, shots=SHOTS, rotation=90),
}
REAL = ("edit_bikes.mp4", "edit_pyscenedetect_fades_wm.mp4", "edit_bbb_intro.webm", "shot_cockatoo.mp4")
PAIRS: list[tuple[Detector, Any]] = [(Content(), ContentDetector), (Adaptive(), AdaptiveDetector)]


def frames(detector: Detector, footage: Footage) -> list[int]:
    return [boundary.frame for boundary in detector.boundaries(footage)]


def theirs(video: Path, detector: Any) -> list[int]:
    """As their command does it with default settings: --min-scene-len 0.6s, in frames."""
    least = FrameTimecode("0.6s", open_video(str(video)).frame_rate).frame_num
    found = detect(str(video), detector(min_scene_len=least), start_in_scene=True)
    return [scene[0].frame_num for scene in found[1:]]


@pytest.fixture(params=[*MADE, *REAL])
def video(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param in MADE:
        return write(tmp_path / f"{request.param}.mp4", MADE[request.param])
    if not (VIDEOS / request.param).is_file():
        pytest.skip("needs the sample videos: set OSD_TEST_VIDEOS")
    return VIDEOS / request.param


@pytest.mark.parametrize("ours, reference", PAIRS, ids=["content", "adaptive"])
def test_the_cuts_are_those_of_pyscenedetect(ours: Detector, reference: Any, video: Path, look: Look) -> None:
    footage = look(video, content=True)
    assert ours.seen_on(footage) == "PySceneDetect's resolution"
    assert frames(ours, footage) == theirs(video, reference)


@pytest.mark.parametrize("detector", [Content(), Adaptive()], ids=["content", "adaptive"])
def test_a_finished_scan_is_seen_on_thumbnails_and_the_row_says_so(
    detector: Detector, tmp_path: Path, look: Look
) -> None:
    footage = look(write(tmp_path / "a.mp4", Made(frames=120, shots=(40, 80), size=(320, 180))))
    shots = detector.shots(footage)
    assert shots.seen_on == "48x27 thumbnails"
    assert (shots.starts, shots.ends, shots.kinds) == ((0, 40, 80), (40, 80, 120), ("", "cut", "cut"))
    assert all(0.5 <= score <= 1 for score in shots.scores)


def test_settings_decide(tmp_path: Path, look: Look) -> None:
    footage = look(write(tmp_path / "a.mp4", Made(frames=120, shots=(40, 46, 80), size=(320, 180))), content=True)
    assert frames(Content(min_scene_s=0), footage) == [40, 46, 80]
    assert frames(Content(min_scene_s=0.6, filter_mode="suppress"), footage) == [40, 80]
    assert frames(Content(threshold=250), footage) == []
    assert frames(Content(threshold=120, weights=(0, 0, 1)), footage) == []
    assert frames(Adaptive(min_scene_s=0), footage) == [40, 46, 80]
    assert frames(Adaptive(min_content=250), footage) == []


def test_the_pass_takes_the_statistic_only_where_a_detector_wants_it(tmp_path: Path) -> None:
    (tmp_path / "build.toml").write_text('[[source]]\nkind = "folder"\npath = "videos"\n')
    scans = {}
    for method in ("content", "adaptive", "fixed"):
        opened = open_run(tmp_path, [f"detect.method={method}"])
        scans[method] = next(stage for _, stage in opened.stages if stage.table == "scan")
    assert [getattr(stage, "content", None) for stage in scans.values()] == [True, True, False]
    assert len({stage.fingerprint() for stage in scans.values()}) == 1  # a finished scan stays as it is
