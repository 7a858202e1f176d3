"""The screen: what has no strokes is not looked at, and what has them is inside what is."""

import cv2
import numpy as np
import pytest

from builder.text.strokes import Screen
from sample_clips import texture


@pytest.mark.parametrize("picture", [np.zeros((360, 640, 3), np.uint8), texture(640, 360)])
def test_nothing_to_look_at(picture: np.ndarray) -> None:  # type: ignore[type-arg]
    assert Screen().part(picture) is None


@pytest.mark.parametrize("scale", [0.4, 0.8, 2.0])
@pytest.mark.parametrize("at", [(60, 100), (400, 330)])
@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0)])
def test_writing_is_inside(scale: float, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    plain = texture(640, 360) // 2 + 64
    picture = plain.copy()
    cv2.putText(picture, "Words", at, cv2.FONT_HERSHEY_DUPLEX, scale, colour, round(1 + scale), cv2.LINE_AA)
    part = Screen().part(picture)
    assert part is not None
    rows, columns = np.nonzero(cv2.absdiff(picture, plain).max(axis=2) > 40)
    assert part.x0 <= columns.min() and columns.max() < part.x1
    assert part.y0 <= rows.min() and rows.max() < part.y1
    assert part.size < 640 * 360 / 2


def test_what_was_seen_is_not_looked_at_again() -> None:
    screen, plain = Screen(), texture(640, 360) // 2 + 64
    first, second = plain.copy(), plain.copy()
    for picture, words in ((first, ["Words"]), (second, ["Words", "and more"])):
        for n, text in enumerate(words):
            cv2.putText(
                picture, text, (60, 100 + 200 * n), cv2.FONT_HERSHEY_DUPLEX, 1.0, (255, 255, 255), 2, cv2.LINE_AA
            )
    assert screen.part(first) is not None
    assert screen.part(first) is None
    part = screen.part(second)
    assert part is not None and part.y0 > 150
    assert screen.part(first) is None


def test_a_picture_of_any_size() -> None:
    for size in ((2, 2), (9, 300), (300, 9), (2000, 30)):
        assert Screen().part(np.zeros((*size, 3), np.uint8)) is None
