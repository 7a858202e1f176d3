"""Watermark: a mark is what stays while the picture moves; where nothing moves nothing is known."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from builder.scorers.watermark import Watermark, WatermarkScore
from sample_clips import VIDEOS, Image, Sample, made, moving, panning, sample

needs_videos = pytest.mark.skipif(not VIDEOS.is_dir(), reason="needs the sample videos: set OSD_TEST_VIDEOS")
SIZE = 60  # pixels of a mark


def detail(seed: int = 0) -> Image:
    """A wide picture with edges of all ways, to move over."""
    rng = np.random.default_rng(seed)
    picture = np.full((480, 1500, 3), 120, np.uint8)
    for _ in range(500):
        x, y, r = (int(n) for n in rng.integers((0, 0, 4), (1500, 480, 30)))
        cv2.circle(picture, (x, y), r, rng.integers(20, 235, 3).tolist(), -1, cv2.LINE_AA)
    return picture


def view(picture: Image, frames: int = 25, step: float = 32.0) -> Iterator[Image]:
    for n in range(frames):
        x = int(n * step)
        yield picture[60:420, x : x + 640].copy()


def marked(frames: Iterable[Image], alpha: float, level: int, at: tuple[int, int]) -> Iterator[Image]:
    """A ring around a star in a corner; `alpha` 1 is solid."""
    shape = np.zeros((SIZE, SIZE), np.float32)
    cv2.circle(shape, (SIZE // 2, SIZE // 2), SIZE // 2 - 4, 1.0, 5, cv2.LINE_AA)
    turns = np.arange(10) * np.pi / 5
    radius = np.where(np.arange(10) % 2, 6, 18)
    corners = np.stack([SIZE / 2 + radius * np.cos(turns), SIZE / 2 + radius * np.sin(turns)], axis=1)
    cv2.fillPoly(shape, [corners.round().astype(np.int32)], 1.0, cv2.LINE_AA)
    opaque = (alpha * shape)[..., None]
    y, x = at
    for frame in frames:
        part = frame[y : y + SIZE, x : x + SIZE]
        part[:] = (part * (1 - opaque) + level * opaque).round().astype(np.uint8)
        yield frame


def filmed(folder: Path, frames: Iterable[Image]) -> Sample:
    """Five pictures a second: the strip keeps two of them."""
    return made(folder, frames, fps=5)


def measured(sample: Sample) -> WatermarkScore:
    return Watermark().score(sample.frames())


@pytest.mark.parametrize("alpha, level", [(1.0, 255), (0.5, 255), (0.6, 0)])
def test_a_mark_over_a_moving_picture_is_found(tmp_path: Path, alpha: float, level: int) -> None:
    found = measured(filmed(tmp_path, marked(view(detail()), alpha, level, (20, 560))))
    box = (SIZE / 360) * (SIZE / 640)
    assert found.area == pytest.approx(box, rel=0.5)
    assert found.strength > 6
    assert found.known > 0.9


def test_a_moving_picture_without_a_mark_has_none(tmp_path: Path) -> None:
    found = measured(filmed(tmp_path, view(detail())))
    assert (found.area, found.strength) == (0, 0)
    assert found.known > 0.9


def test_over_a_still_picture_nothing_is_known(tmp_path: Path) -> None:
    found = measured(filmed(tmp_path, marked([detail()[60:420, :640].copy() for _ in range(25)], 1.0, 255, (20, 560))))
    assert found == WatermarkScore("made", area=0, strength=0, known=0)


def test_a_mark_that_moves_with_the_scene_is_part_of_it(tmp_path: Path) -> None:
    [sign] = marked([detail()], 1.0, 255, (150, 600))
    assert measured(filmed(tmp_path, view(sign))).area == 0


def test_a_horizon_is_no_mark(tmp_path: Path) -> None:
    picture = detail()
    picture[:250] = (200, 220, 240)
    assert measured(filmed(tmp_path, view(picture))).area == 0


def test_something_passing_a_still_scene_leaves_no_mark(tmp_path: Path) -> None:
    still = detail(1)[60:420, :640]
    thing = detail(2)[:300, :200]
    frames = (still.copy() for _ in range(25))

    def passing() -> Iterator[Image]:
        for n, frame in enumerate(frames):
            x = 16 * n
            frame[30:330, x : x + 200] = thing[:, : frame[30:330, x : x + 200].shape[1]]
            yield frame

    assert measured(filmed(tmp_path, passing())).area == 0


def test_changing_light_is_no_other_picture(tmp_path: Path) -> None:
    still = detail()[60:420, :640]
    frames = [np.clip(still * (0.5 + n / 25), 0, 255).astype(np.uint8) for n in range(25)]
    found = measured(filmed(tmp_path, marked(frames, 1.0, 255, (20, 560))))
    assert (found.area, found.known) == (0, pytest.approx(0, abs=0.05))


def test_bars_are_no_mark(tmp_path: Path) -> None:
    def barred() -> Iterator[Image]:
        for frame in view(detail()):
            frame[:, :80] = frame[:, -80:] = 0
            yield frame

    assert measured(filmed(tmp_path, barred())).area == 0


def test_a_short_clip_has_numbers(tmp_path: Path) -> None:
    clip = filmed(tmp_path, marked(panning(detail()[:360, :640], 6, 20.0), 1.0, 255, (20, 560)))
    assert measured(clip) == WatermarkScore("made", area=0, strength=0, known=0)


def test_turning_pictures_leave_a_mark_alone(tmp_path: Path) -> None:
    turn = moving(detail()[:360, :640], 25, lambda n: cv2.getRotationMatrix2D((320, 180), 12.0 * n, 1.0))
    found = measured(filmed(tmp_path, marked(turn, 0.8, 255, (280, 30))))
    assert 0.005 < found.area < 0.05


@needs_videos
@pytest.mark.parametrize(
    "video, area",
    [
        ("dup_chair-22-with-small-logo-bar.mp4", (0.005, 0.03)),
        ("dup_chair-orig-22-sd-bar.mp4", (0, 0)),
        ("shot_friday_1940.mp4", (0, 0)),
        ("shot_aerial_gopro.mp4", (0, 0)),
    ],
)
def test_real_footage(tmp_path: Path, video: str, area: tuple[float, float]) -> None:
    assert area[0] <= measured(sample(VIDEOS / video, tmp_path)).area <= area[1]
