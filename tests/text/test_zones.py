"""Shares of edges and corners."""

import numpy as np
import pytest

from builder.text.zones import covered, fractions


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.float32([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def test_a_corner_belongs_to_two_edges() -> None:
    found = fractions(covered(100, 50, [box(0, 0, 19, 9)]))
    assert found["top_left"] == 1
    assert found["top"] == pytest.approx(0.2) and found["left"] == pytest.approx(0.2)
    assert not any(found[name] for name in found if name not in ("top", "left", "top_left"))


def test_a_subtitle_is_at_the_bottom() -> None:
    found = fractions(covered(640, 360, [box(160, 310, 479, 339)]))
    assert found["bottom"] == pytest.approx(320 * 30 / (640 * 72))
    assert found["top"] == found["left"] == found["bottom_right"] == 0


def test_boxes_that_overlap_count_once() -> None:
    assert covered(100, 50, [box(0, 0, 9, 9), box(0, 0, 9, 9)]).sum() == 100
    assert fractions(covered(100, 50, []))["top"] == 0
