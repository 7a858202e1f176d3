"""Brightness: mean, contrast and black frames of pictures whose values are known."""

from pathlib import Path

import numpy as np
import pytest

from builder.scorers.brightness import Brightness, BrightnessScore
from sample_clips import Image, made, texture


def measured(folder: Path, images: list[Image]) -> BrightnessScore:
    return Brightness().score(made(folder, images).frames())


def grey(level: int) -> Image:
    return np.full((180, 320, 3), level, np.uint8)


@pytest.mark.parametrize("level", [0, 60, 128, 255])
def test_grey_has_its_level_and_no_contrast(tmp_path: Path, level: int) -> None:
    found = measured(tmp_path, [grey(level)] * 10)
    assert found.mean == pytest.approx(level, abs=2)
    assert found.contrast < 1
    assert found.black == (level == 0)


def test_colours_weigh_as_the_eye_does(tmp_path: Path) -> None:
    pure = [np.full((180, 320, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    red, green, blue = (measured(tmp_path, [image] * 5).mean for image in pure)
    assert (red, green, blue) == pytest.approx((76, 150, 29), abs=3)


def test_black_and_white_halves(tmp_path: Path) -> None:
    half = grey(0)
    half[:, 160:] = 255
    found = measured(tmp_path, [half] * 5)
    assert found.mean == pytest.approx(127.5, abs=2)
    assert found.contrast == pytest.approx(127.5, abs=3)
    assert found.black == 0


def test_black_frames_are_counted(tmp_path: Path) -> None:
    found = measured(tmp_path, [*[grey(4)] * 15, *[texture(320, 180)] * 45])
    assert found.black == pytest.approx(0.25, abs=0.02)


def test_what_is_lost_in_shadow_and_light(tmp_path: Path) -> None:
    third = grey(128)
    third[:, :107], third[:, 213:] = 3, 252
    found = measured(tmp_path, [third] * 5)
    assert (found.under, found.over) == pytest.approx((1 / 3, 1 / 3), abs=0.03)
    assert found.black == 0
    usual = measured(tmp_path, [texture(320, 180)] * 5)
    assert (usual.under, usual.over) == (0, 0)
