"""Freeze: stills however they are encoded, stills one after another; and no noise, slow motion or small thing."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from builder.scorers.freeze import Freeze, FreezeScore
from made_video import Made, write
from sample_clips import VIDEOS, Image, Sample, growing, made, panning, sample, texture


def measured(clip: Sample) -> FreezeScore:
    return Freeze().score(clip.frames())


def stills(*seeds: int, frames: int = 30) -> list[Image]:
    return [texture(seed=seed) for seed in seeds for _ in range(frames)]


def test_a_still_is_frozen_and_a_pan_is_not(tmp_path: Path) -> None:
    still, pan = measured(made(tmp_path, stills(0))), measured(made(tmp_path, panning(texture(), 30, 2.0), name="pan"))
    assert (still.share, still.longest_s, still.slideshow) == (1, pytest.approx(1.2, abs=0.05), 0)
    assert (pan.share, pan.longest_s, pan.slideshow) == (0, 0, 0)


def test_half_a_freeze_is_half(tmp_path: Path) -> None:
    moved = list(panning(texture(), 50, 4.0))
    found = measured(made(tmp_path, [*moved, *[moved[-1]] * 50]))
    assert found.share == pytest.approx(0.5, abs=0.03)
    assert found.longest_s == pytest.approx(2.0, abs=0.1)
    assert found.slideshow == 0


def test_stills_one_after_another_are_a_slideshow(tmp_path: Path) -> None:
    cuts = measured(made(tmp_path, stills(1, 2, 3)))
    assert cuts.slideshow == cuts.share == pytest.approx(1, abs=0.05)
    assert cuts.longest_s == pytest.approx(1.2, abs=0.1)
    one, other = texture(seed=1), texture(seed=2)
    mixes = [cv2.addWeighted(one, 1 - n / 10, other, n / 10, 0) for n in range(11)]
    dissolves = measured(made(tmp_path, [*[one] * 30, *mixes, *[other] * 30], name="mixed"))
    assert dissolves.slideshow == pytest.approx(60 / 71, abs=0.05)


def test_the_same_still_twice_is_no_slideshow(tmp_path: Path) -> None:
    still = stills(1)
    found = measured(made(tmp_path, [*still, *[255 - still[0]] * 3, *still]))
    assert found.share > 0.9
    assert found.slideshow == 0


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"crf": "30"}),
        ("libx264", {"b": "200k", "g": "12"}),  # every half second a key frame shows it a little different
        ("mpeg4", {"b": "400k"}),
        ("libvpx-vp9", {"b": "200k", "deadline": "realtime", "cpu-used": "8"}),
    ],
)
def test_a_still_is_one_however_it_is_encoded(tmp_path: Path, codec: str, options: dict[str, str]) -> None:
    """The picture of `made_video`, whose bar moves by a step a frame, with its first frame only."""
    muxer = "webm" if codec == "libvpx-vp9" else "mp4"
    video = write(
        tmp_path / f"still.{muxer}",
        Made(frames=75, size=(320, 240), codec=codec, options=options, muxer=muxer, still=True),
    )
    assert measured(sample(video, tmp_path)).share > 0.7


def test_noise_of_a_camera_is_no_freeze(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    frames = [np.clip(texture(320, 180) + noise.normal(0, 6, (180, 320, 1)), 0, 255) for _ in range(30)]
    assert measured(made(tmp_path, [frame.astype(np.uint8) for frame in frames])).share == 0


def test_a_slow_zoom_is_no_freeze(tmp_path: Path) -> None:
    assert measured(made(tmp_path, growing(texture(), 75, 1.002))).share < 0.1


def test_something_small_that_moves_is_no_freeze(tmp_path: Path) -> None:
    """FFmpeg's freezedetect looks at the mean alone, and takes this for frozen."""
    frames = [texture() for _ in range(50)]
    for n, frame in enumerate(frames):
        cv2.circle(frame, (200 + 4 * n, 180), 12, (255, 255, 255), -1)
    assert measured(made(tmp_path, frames)).share < 0.1


def test_a_frame_that_is_shown_long_is_a_freeze(tmp_path: Path) -> None:
    video = write(tmp_path / "vfr.mp4", Made(frames=30, pts=[*range(15), *range(65, 80)], size=(320, 240)))
    found = measured(sample(video, tmp_path))
    assert found.longest_s == pytest.approx(51 / 25, abs=0.1)
    assert found.share == pytest.approx(51 / 80, abs=0.05)


@pytest.mark.parametrize("video", ["shot_carphone.mp4", "edit_bikes.mp4", "shot_bug_bw.mp4"])
def test_real_footage_is_not_frozen(tmp_path: Path, video: str) -> None:
    if not (VIDEOS / video).is_file():
        pytest.skip("needs the sample videos: set OSD_TEST_VIDEOS")
    assert measured(sample(VIDEOS / video, tmp_path)).share < 0.05
