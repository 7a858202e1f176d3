"""Flicker: light that goes up and down; no fade, cut, flash or movement."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from builder.errors import ItemError
from builder.scorers.flicker import Flicker
from sample_clips import VIDEOS, Image, Sample, made, panning, sample, texture

FPS = 25


def measured(clip: Sample) -> float:
    return Flicker().score(clip.frames()).luma


def lit(pictures: Iterable[Image], hertz: float, levels: float) -> list[Image]:
    """Under a lamp that makes mid grey go up and down by so many levels."""
    swing = [1 + levels / 128 * np.sin(2 * np.pi * hertz * n / FPS) for n in range(1000)]
    return [np.clip(picture * by, 0, 255).astype(np.uint8) for picture, by in zip(pictures, swing, strict=False)]


@pytest.mark.parametrize("hertz", [3, 8, 12])
def test_a_lamp_that_flickers(tmp_path: Path, hertz: float) -> None:
    found = [
        measured(made(tmp_path, lit(panning(texture(320, 180), 50, 1.0), hertz, by), name=f"{by}")) for by in (0, 3, 12)
    ]
    assert found[0] < 0.1
    assert 1 < found[1] < 3.5
    assert found[2] == pytest.approx(4 * found[1], rel=0.15)


def test_for_half_of_the_time_it_is_half(tmp_path: Path) -> None:
    frames = list(panning(texture(320, 180), 100, 1.0))
    whole = measured(made(tmp_path, lit(frames, 8, 10), name="whole"))
    half = measured(made(tmp_path, [*lit(frames[:50], 8, 10), *frames[50:]], name="half"))
    assert half == pytest.approx(whole / 2, rel=0.15)


def test_fade_cut_and_flash_are_no_flicker(tmp_path: Path) -> None:
    frames = list(panning(texture(320, 180), 60, 1.0))
    fade = [(frame * (n / 60)).astype(np.uint8) for n, frame in enumerate(frames)]
    cut = [*frames[:30], *[255 - frame for frame in frames[30:]]]
    flash = [*frames[:30], np.full_like(frames[0], 255), *frames[31:]]
    for name, clip in (("fade", fade), ("cut", cut), ("flash", flash)):
        assert measured(made(tmp_path, clip, name=name)) < 0.15, name


def test_what_moves_does_not_flicker(tmp_path: Path) -> None:
    frames = [texture(320, 180) for _ in range(50)]
    for n, frame in enumerate(frames):
        at = 5 * (n % 50)
        frame[30:130, at : at + 70] = 255 * (n % 2)  # and blinks on its way
    assert measured(made(tmp_path, frames)) < 0.2


def test_a_moment_is_too_short(tmp_path: Path) -> None:
    with pytest.raises(ItemError, match="too_short"):
        measured(made(tmp_path, panning(texture(), 4, 3.0)))


@pytest.mark.parametrize(
    ("video", "least", "most"),
    [("shot_carphone.mp4", 0, 0.4), ("codec_vvc.mp4", 0, 0.2), ("shot_bug_bw.mp4", 0, 0.2), ("edit_bikes.mp4", 0, 0.5),
     ("shot_flower_timelapse.mp4", 0.25, 1), ("vfr_fire_rot180.mp4", 0.6, 3)],
)  # fmt: skip
def test_real_footage(tmp_path: Path, video: str, least: float, most: float) -> None:
    """Daylight; then a time lapse, each frame of which is exposed by itself, and a fire."""
    if not (VIDEOS / video).is_file():
        pytest.skip("needs the sample videos: set OSD_TEST_VIDEOS")
    assert least <= measured(sample(VIDEOS / video, tmp_path)) <= most
