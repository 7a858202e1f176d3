"""Borders: bars of any colour come out as wide as they are, on real footage too; dark scenes and screens have none."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from builder.scorers.borders import Borders, BordersScore
from sample_clips import VIDEOS, Image, Sample, captioned, made, panning, sample, texture

SIZE = (640, 360)
BARS = {"2.39:1": (46, 0), "thin": (7, 0), "4:3": (0, 80), "9:16": (0, 219), "window": (36, 64)}  # pixels above, left
COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255), "blue": (20, 40, 160)}


def barred(pictures: Iterator[Image], bars: tuple[int, int], colour: tuple[int, int, int]) -> Iterator[Image]:
    (width, height), (y, x) = SIZE, bars
    for picture in pictures:
        framed = np.full((height, width, 3), colour, np.uint8)
        framed[y : height - y, x : width - x] = cv2.resize(picture, (width - 2 * x, height - 2 * y))
        yield framed


def measured(clip: Sample) -> BordersScore:
    return Borders().score(clip.frames())


def real(name: str, frames: int = 25) -> list[Image]:
    if not (VIDEOS / name).is_file():
        pytest.skip("needs the sample videos: set OSD_TEST_VIDEOS")
    with av.open(str(VIDEOS / name)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in islice(video.decode(video=0), frames)]


@pytest.mark.parametrize(
    ("bars", "colour"),
    [*((bars, "black") for bars in BARS), ("4:3", "white"), ("2.39:1", "blue"), ("window", "white"), ("thin", "blue")],
)
def test_bars_are_as_wide_as_they_are(tmp_path: Path, bars: str, colour: str) -> None:
    y, x = BARS[bars]
    found = measured(made(tmp_path, barred(panning(texture(), 15, 3.0), (y, x), COLOURS[colour])))
    assert (found.s_x, found.e_x, found.s_y, found.e_y) == pytest.approx((x, 640 - x, y, 360 - y), abs=2)
    assert (found.letterbox, found.pillarbox) == pytest.approx((2 * y / 360, 2 * x / 640), abs=0.01)
    assert found.share == pytest.approx(1 - (1 - 2 * y / 360) * (1 - 2 * x / 640), abs=0.02)


@pytest.mark.parametrize(
    ("video", "bars"),
    [
        ("edit_bikes.mp4", "9:16"),
        ("shot_carphone.mp4", "2.39:1"),
        ("shot_carphone.mp4", "window"),
        ("edit_bikes.mp4", "thin"),
    ],
)
def test_bars_on_real_footage(tmp_path: Path, video: str, bars: str) -> None:
    y, x = BARS[bars]
    found = measured(made(tmp_path, barred(iter(real(video)), (y, x), COLOURS["black"])))
    assert (found.s_x, found.e_x, found.s_y, found.e_y) == pytest.approx((x, 640 - x, y, 360 - y), abs=5)


@pytest.mark.parametrize(
    "video", ["edit_bikes.mp4", "shot_carphone.mp4", "shot_flower_timelapse.mp4", "edit_city_cc0.mpg", "codec_vvc.mp4",
              "vfr_cursed_3026x1386.mp4", "dup_doorknob-hd-no-bar.mp4", "codec_counter_1080p.mp4"],
)  # fmt: skip
def test_real_footage_without_bars_has_none(tmp_path: Path, video: str) -> None:
    if not (VIDEOS / video).is_file():
        pytest.skip("needs the sample videos: set OSD_TEST_VIDEOS")
    found = measured(sample(VIDEOS / video, tmp_path))
    assert (found.share, found.letterbox, found.pillarbox, found.s_x, found.s_y) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("video", "crop"), [("edit_sintel_10s.mp4", (0, 854, 58, 422)), ("dup_chair-19-sd-bar.mp4", (32, 448, 0, 720))]
)
def test_real_bars(tmp_path: Path, video: str, crop: tuple[int, ...]) -> None:
    if not (VIDEOS / video).is_file():
        pytest.skip("needs the sample videos: set OSD_TEST_VIDEOS")
    found = measured(sample(VIDEOS / video, tmp_path))
    assert (found.s_x, found.e_x, found.s_y, found.e_y) == pytest.approx(crop, abs=2)


def test_subtitles_in_a_bar_leave_it_a_bar(tmp_path: Path) -> None:
    frames = [captioned(frame, "Good night, city") for frame in barred(panning(texture(), 15, 3.0), (60, 0), (0, 0, 0))]
    assert measured(made(tmp_path, frames)).letterbox == pytest.approx(120 / 360, abs=0.01)


def test_one_bar_counts_if_it_is_black(tmp_path: Path) -> None:
    def below(colour: tuple[int, int, int], name: str) -> BordersScore:
        frames = list(panning(texture(), 15, 3.0))
        for frame in frames:
            frame[300:] = colour
        return measured(made(tmp_path, frames, name=name))

    black = below((0, 0, 0), "black")
    assert (black.s_y, black.e_y) == (0, pytest.approx(300, abs=2))
    assert below((250, 250, 250), "white").share == 0  # a table, a wall, a sky


def test_a_dark_scene_is_no_border(tmp_path: Path) -> None:
    """A lamp in the night: black to every edge, but nothing ends there."""
    y, x = np.mgrid[:360, :640]
    light = np.exp(-(((x - 320) / 130.0) ** 2 + ((y - 180) / 60.0) ** 2))
    lamp = (texture() * light[..., None]).astype(np.uint8)
    assert measured(made(tmp_path, panning(lamp, 30, 1.0))).share == 0


def test_letterboxed_dark_scenes_are_found_over_time(tmp_path: Path) -> None:
    """Half of the width is too dark to tell at any time."""
    dark = texture()
    dark[:, :300] = 0
    found = measured(made(tmp_path, barred(panning(dark, 60, 1.0), (46, 0), (0, 0, 0))))
    assert found.letterbox == pytest.approx(92 / 360, abs=0.01)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_picture_has_no_border(tmp_path: Path, level: int) -> None:
    assert measured(made(tmp_path, [np.full((180, 320, 3), level, np.uint8)] * 10)).share == 0
