"""The crop: nothing of an overlay inside, four fifths kept, or none at all."""

import random

import pytest

from builder.text.crop import LEAST, largest_crop
from builder.text.motion import Area

FRAME = Area(0, 0, 640, 360)


def crop(*taken: Area) -> Area | None:
    return largest_crop(640, 360, taken)


def test_without_overlay_all_is_kept() -> None:
    assert crop() == FRAME


@pytest.mark.parametrize(
    "taken, left",
    [
        (Area(200, 310, 440, 340), Area(0, 0, 640, 310)),  # a subtitle
        (Area(10, 9, 90, 31), Area(0, 32, 640, 360)),  # a logo: of the two ways the one that keeps more
        (Area(600, 100, 640, 300), Area(0, 0, 600, 360)),
    ],
)
def test_one_side_goes(taken: Area, left: Area) -> None:
    assert crop(taken) == left


def test_two_sides_go() -> None:
    assert crop(Area(0, 10, 640, 21), Area(0, 331, 640, 350)) == Area(0, 22, 640, 330)


def test_what_is_in_the_middle_cannot_be_cropped_away() -> None:
    assert crop(Area(300, 170, 340, 190)) is None


def test_more_than_a_fifth_is_never_taken() -> None:
    assert crop(Area(0, 289, 640, 300)) == Area(0, 0, 640, 288)
    assert crop(Area(0, 287, 640, 300)) is None


def test_odd_frames_and_areas_outside() -> None:
    assert largest_crop(641, 361, [Area(-50, -50, 0, 0), Area(641, 0, 700, 50)]) == Area(0, 0, 640, 360)


def test_as_large_as_any_and_free() -> None:
    rng = random.Random(5)
    for _ in range(30):
        taken = [box(rng) for _ in range(rng.randint(1, 4))]
        found = largest_crop(64, 36, taken)
        best = max((area for area in every(64, 36) if free(area, taken)), key=lambda a: a.size, default=None)
        if best is None or best.size < LEAST * 64 * 36:
            assert found is None
        else:
            assert found is not None and found.size == best.size and free(found, taken)


def box(rng: random.Random) -> Area:
    x, y = rng.choice([rng.randint(0, 4), rng.randint(50, 60)]), rng.choice([rng.randint(0, 3), rng.randint(28, 34)])
    return Area(x, y, x + rng.randint(1, 12), y + rng.randint(1, 4)).within(64, 36)


def every(width: int, height: int) -> list[Area]:
    spans = [
        [(a, b) for a in range(0, n, 2) for b in range(a + 2, n + 1, 2) if b - a >= LEAST * n] for n in (width, height)
    ]
    return [Area(x0, y0, x1, y1) for x0, x1 in spans[0] for y0, y1 in spans[1]]


def free(area: Area, taken: list[Area]) -> bool:
    return all(t.x1 <= area.x0 or t.x0 >= area.x1 or t.y1 <= area.y0 or t.y0 >= area.y1 for t in taken)
