"""Motion: known speeds come out, whatever the frame rate and the size."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from builder.errors import ItemError
from builder.scorers.motion import Motion, MotionScore
from sample_clips import VIDEOS, Sample, growing, made, panning, sample, texture

DIAGONAL = float(np.hypot(640, 360))


def measured(sample: Sample) -> MotionScore:
    return Motion().score(sample.frames())


@pytest.mark.parametrize("right, down", [(100, 0), (-60, 0), (0, 50), (30, 40)])
def test_a_pan_has_its_speed(tmp_path: Path, right: float, down: float) -> None:
    found = measured(made(tmp_path, panning(texture(), 50, right / 25, down / 25)))
    speed = 100 * float(np.hypot(right, down)) / DIAGONAL
    assert found.camera == pytest.approx(speed, rel=0.15)
    assert found.flow == pytest.approx(speed, rel=0.15)
    assert found.static == 0


@pytest.mark.parametrize("fps, size", [(50, (640, 360)), (12, (640, 360)), (25, (320, 180)), (25, (360, 640))])
def test_frame_rate_and_size_do_not_matter(tmp_path: Path, fps: int, size: tuple[int, int]) -> None:
    speed = 12.0  # percent of the diagonal a second
    pixels = speed / 100 * float(np.hypot(*size)) / fps
    found = measured(made(tmp_path, panning(texture(*size), 2 * fps, pixels), fps))
    assert found.flow == pytest.approx(speed, rel=0.2)


@pytest.mark.parametrize("percent", [55, 90, 135])
def test_a_fast_pan_has_its_speed(tmp_path: Path, percent: float) -> None:
    """Further than flow reaches by itself, which looks slow then."""
    found = measured(made(tmp_path, panning(texture(), 50, percent / 100 * DIAGONAL / 25)))
    assert (found.camera, found.flow) == pytest.approx((percent, percent), rel=0.1)


def test_a_still_picture_is_static(tmp_path: Path) -> None:
    found = measured(made(tmp_path, [texture()] * 40))
    assert found.flow < 0.3
    assert found.static == 1


def test_what_moves_in_a_still_view_is_no_camera_motion(tmp_path: Path) -> None:
    ground, patch = texture(), texture(120, 120, seed=5)
    frames = []
    for n in range(50):
        frames.append(ground.copy())
        frames[-1][100:220, 20 + 8 * n : 140 + 8 * n] = patch
    found = measured(made(tmp_path, frames))
    assert found.flow > 1
    assert found.camera < 0.3 * found.flow
    assert found.object > 0.8 * found.flow


@pytest.mark.parametrize("pan", [3.0, -8.0])
def test_what_moves_in_a_pan_is_told_from_the_pan(tmp_path: Path, pan: float) -> None:
    """The patch stays in the middle of the frame, followed by the camera: it is the one thing that moves."""
    alone = list(panning(texture(), 50, pan))
    followed = [frame.copy() for frame in alone]
    for frame in followed:
        frame[80:280, 220:420] = texture(200, 200, seed=5)
    ground, with_patch = measured(made(tmp_path, alone)), measured(made(tmp_path, followed, name="followed"))
    assert ground.object < 0.1 * ground.flow
    share = 200 * 200 / (640 * 360)
    assert with_patch.object == pytest.approx(share * ground.flow, rel=0.4)
    assert with_patch.camera == pytest.approx(ground.camera, rel=0.1)


def test_a_zoom_is_the_camera(tmp_path: Path) -> None:
    found = measured(made(tmp_path, growing(texture(), 40, 1.008)))
    assert found.object < 0.25 * found.flow


def test_the_sky_over_a_pan_does_not_stay_behind(tmp_path: Path) -> None:
    """Where there is nothing to see, flow is 0, which is not the camera's."""
    ground = texture()
    ground[:200] = 200
    found = measured(made(tmp_path, panning(ground, 50, 4.0)))
    assert found.object < 0.35 * found.flow


@pytest.mark.parametrize(
    ("video", "own"),
    [("shot_juggle.mp4", (0.8, 1.1)), ("shot_carphone.mp4", (0.4, 1)), ("codec_vvc.mp4", (0, 0.4)),
     ("vfr_fire_rot180.mp4", (0, 0.3))],
)  # fmt: skip
def test_how_much_of_real_motion_is_not_the_camera(tmp_path: Path, video: str, own: tuple[float, float]) -> None:
    """A fixed camera, one in a moving car, and two that travel."""
    if not (VIDEOS / video).is_file():
        pytest.skip("needs the sample videos: set OSD_TEST_VIDEOS")
    found = measured(sample(VIDEOS / video, tmp_path))
    assert own[0] <= found.object / found.flow <= own[1]


def test_half_a_freeze_is_half_static(tmp_path: Path) -> None:
    moved = list(panning(texture(), 60, 4.0))
    found = measured(made(tmp_path, [*moved, *[moved[-1]] * 60]))
    assert found.static == pytest.approx(0.5, abs=0.1)


def test_a_zoom_moves_but_has_no_direction(tmp_path: Path) -> None:
    found = measured(made(tmp_path, growing(texture(), 40, 1.008)))
    assert found.flow > 1
    assert found.camera < found.flow / 2


def test_one_frame_has_no_motion(tmp_path: Path) -> None:
    with pytest.raises(ItemError, match="one_frame"):
        measured(made(tmp_path, [texture()]))


def test_two_frames_are_enough(tmp_path: Path) -> None:
    image = texture()
    found = measured(made(tmp_path, [image, cv2.flip(image, 1)]))
    assert found.flow > 0
