"""Sharpness: blur lowers it, resolution alone does not change it."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from builder.scorers.sharpness import Sharpness
from sample_clips import Image, made


def detail(width: int, height: int) -> Image:
    """Checks of a 32nd of the height."""
    y, x = np.mgrid[:height, :width]
    checks = ((y * 32 // height) + (x * 32 // height)) % 2
    return np.repeat((checks * 160 + 40).astype(np.uint8)[..., None], 3, axis=2)


def measured(folder: Path, image: Image, name: str = "made") -> float:
    return Sharpness().score(made(folder, [image] * 10, name=name).frames()).laplacian


def test_the_more_blur_the_less(tmp_path: Path) -> None:
    sharp = detail(640, 360)
    found = [measured(tmp_path, cv2.GaussianBlur(sharp, (0, 0), s) if s else sharp, f"blur{s}") for s in (0, 2, 4, 8)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 20 * found[-1]


def test_flat_is_nothing(tmp_path: Path) -> None:
    assert measured(tmp_path, np.full((360, 640, 3), 120, np.uint8)) < 1


def test_resolution_alone_does_not_count(tmp_path: Path) -> None:
    small, large = measured(tmp_path, detail(640, 360), "small"), measured(tmp_path, detail(1280, 720), "large")
    assert small == pytest.approx(large, rel=0.35)


def test_orientation_does_not_count(tmp_path: Path) -> None:
    wide = detail(640, 360)
    found = [measured(tmp_path, image, name) for image, name in ((wide, "wide"), (cv2.rotate(wide, 0), "tall"))]
    assert found[0] == pytest.approx(found[1], rel=0.1)


def test_an_enlarged_picture_is_found_out_at_its_stored_size(tmp_path: Path) -> None:
    small = detail(320, 180)
    enlarged = cv2.resize(small, (1280, 720), interpolation=cv2.INTER_CUBIC)
    true, blown_up = (
        Sharpness().score(made(tmp_path, [image] * 10, name=name).frames())
        for image, name in ((small, "small"), (enlarged, "enlarged"))
    )
    assert blown_up.native < true.native / 5
    assert blown_up.laplacian > true.laplacian / 2
