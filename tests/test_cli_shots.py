"""`osd-build shots`: boundaries of single files, as JSON lines, as a table, as a picture."""

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from command_line import SOME_FAILED, WRONG, osd_build
from made_video import Made, write

ODD = 'two words; it\'s "quoted"\nand -broken.mp4'


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """One with two cuts, one with none and an odd name, one that is no video."""
    folder = tmp_path / "videos"
    folder.mkdir()
    write(folder / "cuts.mp4", Made(frames=75, shots=(25, 50)))
    write(folder / ODD, Made(frames=30))
    (folder / "text.mp4").write_text("no video")
    return folder


def shots(*args: str | Path, cwd: Path) -> Any:
    return osd_build("shots", *args, cwd=cwd)


def test_json_has_a_line_a_video_with_these_keys(videos: Path) -> None:
    done = shots("--json", "--detector", "content", "cuts.mp4", ODD, cwd=videos)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert list(first) == ["video", "fps", "frames", "boundaries"]
    assert (first["video"], first["fps"], first["frames"]) == ("cuts.mp4", 25.0, 75)
    assert [list(b) for b in first["boundaries"]] == [["frame", "time_s", "kind", "score"]] * 2
    assert [(b["frame"], b["time_s"], b["kind"]) for b in first["boundaries"]] == [(25, 1.0, "cut"), (50, 2.0, "cut")]
    assert all(0.5 <= b["score"] <= 1 for b in first["boundaries"])
    assert second == {"video": ODD, "fps": 25.0, "frames": 30, "boundaries": []}


def test_one_bad_video_does_not_stop_the_others_and_nothing_is_left(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path.parent / "t"  # sockets have short names
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    before = sorted(videos.iterdir())
    done = shots("text.mp4", "gone.mp4", "cuts.mp4", "--detector", "content", cwd=videos)
    assert done.returncode == SOME_FAILED
    assert "cuts.mp4: 75 frames, 25 fps, boundaries: 2" in done.stdout
    assert [line.split()[:3] for line in done.stdout.splitlines()[2:]] == [
        ["25", "1.000", "cut"],
        ["50", "2.000", "cut"],
    ]
    told = done.stderr.splitlines()
    assert told[0].startswith("not_video: ") and "text.mp4" in told[0]
    assert told[1].startswith("unreadable: gone.mp4: No such file")
    assert sorted(videos.iterdir()) == before
    assert not [path for path in temporary.iterdir() if path.name.startswith("osd-build")]


def test_settings_of_the_detector(videos: Path) -> None:
    done = shots("--json", "--detector", "fixed", "--set", "frames=20", "--set", "tail=merge", "cuts.mp4", cwd=videos)
    assert [b["frame"] for b in json.loads(done.stdout)["boundaries"]] == [20, 40]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--detector", "contnet"], "did you mean 'content'?"),
        (["--set", "treshold=3"], "--set detect.treshold=3: [detect] has no key 'treshold'; did you mean 'threshold'?"),
        (["--set", "threshold=high"], "[detect] threshold"),
        (["--set", "threshold"], "--set threshold: write KEY=VALUE"),
        (["--jsn"], "No such option"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_decoded(args: list[str], says: str, videos: Path) -> None:
    detector = [] if "--detector" in args else ["--detector", "content"]
    done = shots(*detector, *args, "cuts.mp4", cwd=videos)
    assert done.returncode == WRONG
    assert says in done.stderr and not done.stdout


def test_previews_show_every_picture_of_the_strip(videos: Path, tmp_path: Path) -> None:
    done = shots("cuts.mp4", ODD, "--detector", "content", "--preview", tmp_path / "out.png", cwd=videos)
    assert done.returncode == 0, done.stderr
    first, second = (cv2.imread(str(tmp_path / f"out-{n}.png")) for n in (1, 2))
    assert first.shape[1] == second.shape[1] == 8 * (176 + 8) + 8
    assert shots("cuts.mp4", "--detector", "content", "--preview", tmp_path / "one.png", cwd=videos).returncode == 0
    assert (cv2.imread(str(tmp_path / "one.png")) == first).all()
    orange = (first == (0, 159, 230)).all(2)  # the second shot's colour
    green = (first == (115, 158, 0)).all(2)
    assert orange.any() and green.any() and not (second == (0, 159, 230)).all(2).any()


def test_a_preview_that_cannot_be_written_says_so(videos: Path) -> None:
    done = shots("cuts.mp4", "--detector", "content", "--preview", "no/such/folder.png", cwd=videos)
    assert done.returncode == WRONG
    assert "there is no folder no/such" in done.stderr and not done.stdout


@pytest.mark.parametrize("link", [False, True])
def test_a_preview_never_overwrites_a_video(videos: Path, link: bool) -> None:
    before = (videos / "cuts.mp4").read_bytes()
    if link:
        (videos / "cuts.png").symlink_to("cuts.mp4")
    done = shots("cuts.mp4", "--preview", "cuts.png" if link else "cuts.mp4", cwd=videos)
    assert done.returncode == WRONG
    assert ("would overwrite cuts.mp4" if link else "ends in .png") in done.stderr
    assert (videos / "cuts.mp4").read_bytes() == before


def test_json_has_a_line_for_a_video_that_failed_too(videos: Path) -> None:
    done = shots("--json", "--detector", "fixed", "--set", "tail=drop", "text.mp4", "cuts.mp4", ODD, cwd=videos)
    assert done.returncode == SOME_FAILED
    first, second, third = (json.loads(line) for line in done.stdout.splitlines())
    assert list(first) == list(third) == ["video", "error", "message"]
    assert (first["video"], first["error"], third["error"]) == ("text.mp4", "not_video", "too_short")
    assert third["message"].startswith(f"{ODD}: ") and second["frames"] == 75


def test_nothing_is_imported_from_the_folder_one_stands_in(videos: Path) -> None:
    for name in ("builder", "numpy", "av"):
        (videos / name).mkdir()
        (videos / name / "__init__.py").write_text("raise SystemExit('not this one')")
    done = shots("--detector", "fixed", "cuts.mp4", cwd=videos)
    assert done.returncode == 0, done.stderr
