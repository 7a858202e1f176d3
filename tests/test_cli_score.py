"""`osd-build score`: scores of single files, as JSON lines, as a table, as a picture."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from command_line import SOME_FAILED, WRONG, osd_build
from made_video import Made, write
from sample_clips import VIDEOS, made, panning, texture

ODD = 'two words; it\'s "quoted"\nand -broken.mp4'
SIGNALS = "motion,sharpness,brightness,borders,freeze,shake,flicker"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Of two shots, letterboxed; with an odd name; too short; no video."""
    folder = tmp_path / "videos"
    folder.mkdir()
    frames = [*panning(texture(320, 180), 40, 2.0), *panning(255 - texture(320, 180, seed=7) // 2, 40, 0.0)]
    for frame in frames:
        frame[:24] = frame[156:] = 0
    made(folder, frames, name="bars")
    for left in ("bars.evidence", "bars.strip"):
        (folder / left).unlink()
    write(folder / ODD, Made(frames=30))
    write(folder / "short.mp4", Made(frames=5))
    (folder / "text.mp4").write_text("no video")
    return folder


def score(*args: str | Path, cwd: Path) -> Any:
    return osd_build("score", *args, cwd=cwd)


def test_json_has_a_line_a_clip_with_the_names_of_conditions(videos: Path) -> None:
    done = score("--json", "--only", SIGNALS, "bars.mp4", ODD, cwd=videos)
    assert done.returncode == 0, done.stderr
    first, second, odd = (json.loads(line) for line in done.stdout.splitlines())
    assert list(first) == ["video", "clip", "start_frame", "end_frame", "start_s", "end_s", "scores", "failed"]
    assert [(c["video"], c["clip"], c["start_frame"], c["end_frame"]) for c in (first, second, odd)] == [
        ("bars.mp4", 1, 0, 40),
        ("bars.mp4", 2, 40, 80),
        (ODD, 1, 0, 30),
    ]
    assert first["failed"] == {}
    assert first["scores"]["borders.letterbox"] == pytest.approx(48 / 180, abs=0.02)
    assert (first["scores"]["borders.s_x"], first["scores"]["borders.e_x"]) == (0, 320)
    assert first["scores"]["motion.flow"] > 1 > second["scores"]["motion.flow"]
    assert (first["scores"]["freeze.share"], second["scores"]["freeze.share"]) == (0, pytest.approx(1, abs=0.1))
    assert {name.partition(".")[0] for name in odd["scores"]} == set(SIGNALS.split(","))


def test_one_bad_video_does_not_stop_the_others_and_nothing_is_left(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path.parent / "u"  # sockets have short names
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    before = sorted(videos.iterdir())
    done = score("text.mp4", "gone.mp4", "short.mp4", "bars.mp4", "--only", "motion,flicker", cwd=videos)
    assert done.returncode == SOME_FAILED
    lines = done.stdout.splitlines()
    assert lines[0] == "bars.mp4: 80 frames, 25 fps, clips: 2"
    assert lines[1] == "clip 1: 0.000 to 1.600 s, frames 0 to 39"
    assert lines[2].split()[:2] == ["motion", "flow"] and lines[3].split()[:2] == ["flicker", "luma"]
    told = done.stderr.splitlines()
    assert told[0].startswith("not_video: ") and "text.mp4" in told[0]
    assert told[1].startswith("unreadable: gone.mp4: No such file")
    assert told[2].startswith("too_short: short.mp4: there is no clip to score: the longest shot")
    assert sorted(videos.iterdir()) == before
    assert not [path for path in temporary.iterdir() if path.name.startswith("osd-build")]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--only", "moton"], "no scorer is called 'moton'; did you mean 'motion'?"),
        (["--only", "motion,,text"], "no scorer is called ''; There are: "),
        (["--jsn"], "No such option"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_decoded(args: list[str], says: str, videos: Path) -> None:
    done = score(*args, "bars.mp4", cwd=videos)
    assert done.returncode == WRONG
    assert says in done.stderr and not done.stdout


def test_previews_show_why(videos: Path, tmp_path: Path) -> None:
    done = score("bars.mp4", ODD, "--only", "motion,borders", "--preview", tmp_path / "out.png", cwd=videos)
    assert done.returncode == 0, done.stderr
    bars, odd = (cv2.imread(str(tmp_path / f"out-{n}.png")) for n in (1, 2))
    assert bars.shape[1] == odd.shape[1] and bars.shape[0] > odd.shape[0]  # two clips and one
    assert score("bars.mp4", "--only", "motion", "--preview", tmp_path / "one.png", cwd=videos).returncode == 0
    flow = cv2.imread(str(tmp_path / "one.png"))
    differing = bars[44:200, 8:300] != flow[44:200, 8:300]  # what the crop adds to the first picture of the first clip
    crop = differing.any(2)
    rows, columns = np.flatnonzero(crop.mean(1) > 0.8), np.flatnonzero(crop.mean(0) > 0.5)
    assert rows.min() + 4 == pytest.approx(300 * 24 / 320, abs=3) and rows.max() + 4 == pytest.approx(146, abs=3)
    assert columns.size


def test_a_preview_that_cannot_be_written_says_so(videos: Path) -> None:
    done = score("bars.mp4", "--only", "motion", "--preview", "no/such/folder.png", cwd=videos)
    assert done.returncode == WRONG
    assert "there is no folder no/such" in done.stderr


def test_no_clip_covers_damaged_frames(tmp_path: Path) -> None:
    video = VIDEOS / "broken_decord_corrupted.mp4"
    if not video.is_file():
        pytest.skip("needs the sample videos: set OSD_TEST_VIDEOS")
    done = score("--json", "--only", SIGNALS, video, cwd=tmp_path)
    clips = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert clips and all(clip["failed"] == {} for clip in clips)
    assert sum(clip["end_frame"] - clip["start_frame"] for clip in clips) < 49  # frames that decode
