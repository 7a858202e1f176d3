"""Shake: a trembling camera shakes; a pan, a zoom and what moves before a still camera do not."""

from pathlib import Path

import numpy as np
import pytest

from builder.errors import ItemError
from builder.scorers.shake import Shake
from sample_clips import VIDEOS, Sample, growing, made, moving, panning, sample, texture

FRAMES = 75


def measured(clip: Sample) -> float:
    return Shake().score(clip.frames()).jitter


def shaken(folder: Path, percent: float, pan: float = 0.0, fps: int = 25, size: tuple[int, int] = (320, 180)) -> float:
    """The camera off its way at random, `percent` of the diagonal in the mean square, at up to 6 times a second."""
    each = round(fps / 12.5)
    ways = np.random.default_rng(0).normal(0, percent / 100 * np.hypot(*size) / np.sqrt(2), (FRAMES // each + 2, 2))
    at = np.arange(FRAMES) / each
    off = np.column_stack([np.interp(at, np.arange(len(ways)), way) for way in ways.T])
    clip = moving(texture(*size, seed=3), FRAMES, lambda n: [[1, 0, off[n, 0] + pan * n], [0, 1, off[n, 1]]])
    return measured(made(folder, clip, fps, name=f"{percent}-{pan}-{fps}-{size[0]}"))


def test_the_more_it_shakes_the_more(tmp_path: Path) -> None:
    found = [shaken(tmp_path, percent) for percent in (0, 0.2, 0.6, 1.5)]
    assert found[0] < 0.01
    assert found == sorted(found)
    for percent, jitter in zip((0.2, 0.6, 1.5), found[1:], strict=True):
        assert 0.4 * percent < jitter < percent


def test_pan_rate_and_size_do_not_matter(tmp_path: Path) -> None:
    still = shaken(tmp_path, 0.6)
    assert shaken(tmp_path, 0.6, pan=2.5) == pytest.approx(still, rel=0.15)
    assert shaken(tmp_path, 0.6, fps=50) == pytest.approx(still, rel=0.35)
    assert shaken(tmp_path, 0.6, size=(360, 640)) == pytest.approx(still, rel=0.25)


def test_a_pan_and_a_zoom_are_steady(tmp_path: Path) -> None:
    assert measured(made(tmp_path, panning(texture(), 50, 6.0), name="pan")) < 0.05
    assert measured(made(tmp_path, growing(texture(), 50, 1.01), name="zoom")) < 0.05


def test_what_trembles_before_a_still_camera_is_no_shake(tmp_path: Path) -> None:
    frames, ways = [texture() for _ in range(50)], np.random.default_rng(0).integers(-12, 13, (50, 2))
    for frame, (x, y) in zip(frames, ways.tolist(), strict=True):
        frame[100 + y : 260 + y, 250 + x : 420 + x] = texture(170, 160, seed=5)
    assert measured(made(tmp_path, frames)) < 0.03


def test_a_moment_is_too_short(tmp_path: Path) -> None:
    with pytest.raises(ItemError, match=r"too_short: made is 0\.24 s long"):
        measured(made(tmp_path, panning(texture(), 6, 3.0)))


@pytest.mark.parametrize(
    ("video", "least", "most"),
    [
        ("shot_juggle.mp4", 0, 0.03),  # fixed cameras, all but the last, and people who jump before some
        ("shot_blocks.mp4", 0, 0.05),
        ("shot_bedroom.mp4", 0, 0.15),
        ("shot_cockatoo.mp4", 0.3, 2),  # a hand, none too steady
    ],
)
def test_real_footage(tmp_path: Path, video: str, least: float, most: float) -> None:
    if not (VIDEOS / video).is_file():
        pytest.skip("needs the sample videos: set OSD_TEST_VIDEOS")
    assert least <= measured(sample(VIDEOS / video, tmp_path)) <= most
