"""What is kept of a clip stays nearly the same when the clip is copied, and says nothing where nothing is seen."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from builder.duplicates.describe import CHANGES, Description, compressed, describe, expanded
from drifting_clips import Thumbs, altered, drifting, seen, small

GREY = np.array([[0.3, 0.59, 0.11]] * 3)
SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])


def logo(frame: Thumbs) -> Thumbs:
    return cv2.rectangle(frame.copy(), (400, 10), (470, 36), (255, 255, 255), -1)


def subtitle(frame: Thumbs) -> Thumbs:
    return cv2.rectangle(frame.copy(), (100, 234), (380, 252), (255, 255, 255), -1)


def cropped(frame: Thumbs) -> Thumbs:
    """Without 4 % at each edge."""
    return cv2.resize(frame[11:-11, 19:-19], (480, 270), interpolation=cv2.INTER_AREA)


def coloured(matrix: np.ndarray) -> Callable[[Thumbs], Thumbs]:
    return lambda frame: np.clip(frame @ matrix.T, 0, 255).astype(np.uint8)


WAYS: dict[str, Callable[[Thumbs], Thumbs]] = {
    "grey": coloured(GREY),
    "sepia": coloured(SEPIA),
    "brighter": lambda frame: np.clip(frame * 1.1, 0, 255).astype(np.uint8),
    "half the size": lambda frame: cv2.resize(frame, (240, 136), interpolation=cv2.INTER_AREA),
    "logo": logo,
    "subtitle": subtitle,
    "letterboxed": lambda frame: np.pad(frame, ((40, 40), (0, 0), (0, 0))),
    "pillarboxed": lambda frame: np.pad(frame, ((0, 0), (70, 70), (0, 0))),
    "noisy": lambda frame: np.clip(frame + np.random.default_rng(1).normal(0, 6, frame.shape), 0, 255).astype(np.uint8),
}


def apart(one: Description, other: Description, which: str = "middle", as_: str = "middle") -> float:
    """Mean bits that differ."""
    return float(np.bitwise_count(one.moments[which] ^ other.moments[as_]).mean())


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_has_nearly_the_same_hashes(way: str) -> None:
    frames, times = drifting(1)
    assert apart(seen(frames, times), seen(altered(frames, WAYS[way]), times)) <= 4


def test_a_cropped_copy_has_the_hashes_of_the_picture_looked_at_closer() -> None:
    frames, times = drifting(2)
    one, other = seen(frames, times), seen(altered(frames, cropped), times)
    assert apart(one, other, "closer", "middle") <= 3 < apart(one, other)


def test_other_footage_has_others() -> None:
    assert apart(seen(*drifting(3)), seen(*drifting(4))) > 20


@pytest.mark.parametrize("fps", [12.0, 30.0, 60.0])
def test_frame_rates_do_not_matter(fps: float) -> None:
    assert apart(seen(*drifting(5)), seen(*drifting(5, fps=fps))) <= 4


def test_frames_of_unequal_length_count_as_long_as_they_are_shown() -> None:
    frames, times = drifting(6)
    kept = np.sort(np.random.default_rng(6).permutation(len(frames))[: len(frames) * 2 // 3])
    kept[0] = 0
    assert apart(seen(frames, times), seen(frames[kept], np.append(times[kept], times[-1]))) <= 6


def test_moments_lie_on_the_time_of_the_video_wherever_the_clip_begins() -> None:
    frames, times = drifting(7)
    whole, piece = seen(frames, times), seen(frames[20:80], times[20:81])
    assert piece.first == 4  # 20 / 24 s, at the next quarter
    assert (whole.moments["middle"][4 : 4 + len(piece.moments)] == piece.moments["middle"]).all()
    assert len(piece.moments) == 8  # windows that begin at 1.0 ... 2.75 s; the clip ends at 3.33 s


def test_a_clip_shorter_than_a_window_has_one_moment() -> None:
    frames, times = drifting(8, seconds=0.3)
    assert len(seen(frames, times).moments) == 1


def flat_and_a_bit(colour: int, text: str = "") -> Thumbs:
    picture = np.full((270, 480, 3), colour, np.uint8)
    cv2.putText(picture, text, (60, 150), cv2.FONT_HERSHEY_DUPLEX, 1.5, (250, 250, 250), 3, cv2.LINE_AA)
    return np.stack([picture] * 24)


@pytest.mark.parametrize("frames", [flat_and_a_bit(0), flat_and_a_bit(90), flat_and_a_bit(20, "The end of it")])
def test_black_flat_and_titles_tell_nothing(frames: Thumbs) -> None:
    assert not seen(frames, np.arange(25) / 24).moments["telling"].any()


@pytest.mark.parametrize("down, across", [(1.0, 0.0), (0.4, 0.6)])
def test_a_title_on_a_shaded_ground_tells_nothing(down: float, across: float) -> None:
    shade = np.linspace(0, 200 * down, 270)[:, None] + np.linspace(0, 200 * across, 480)
    picture = np.repeat(shade[..., None], 3, axis=2).astype(np.uint8)
    cv2.putText(picture, "The end", (200, 140), cv2.FONT_HERSHEY_DUPLEX, 1.0, (250, 250, 90), 3, cv2.LINE_AA)
    assert not seen(np.stack([picture] * 24), np.arange(25) / 24).moments["telling"].any()


def test_a_fade_of_one_colour_tells_nothing() -> None:
    fade = np.stack([np.full((27, 48, 3), 10 * n, np.uint8) for n in range(24)])
    assert not describe(fade, np.arange(25) / 24).moments["telling"].any()


def test_footage_tells() -> None:
    assert seen(*drifting(9)).moments["telling"].all()


@pytest.mark.parametrize("rows, columns, picture", [(0, 0, 1.0), (45, 0, 0.75), (0, 96, 5 / 7)])
def test_bars_are_no_part_of_the_picture(rows: int, columns: int, picture: float) -> None:
    frames, times = drifting(10, seconds=1.0)
    barred = np.pad(frames, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    assert seen(barred, times).picture == pytest.approx(picture, abs=0.02)


def test_a_dark_picture_has_no_bars() -> None:
    frames, times = drifting(11, seconds=1.0)
    dark = frames.copy()
    dark[:, :200] = 0
    assert seen(dark, times).picture == 1.0


def test_small_changes_are_kept_more_exactly_than_large_ones() -> None:
    changes = np.outer(np.geomspace(0.5, 4000, 50), np.ones(CHANGES)).astype(np.float32) * np.array(
        [1, -1] * (CHANGES // 2)
    )
    again = expanded(compressed(changes))
    assert np.abs(again - changes).max() < 60
    assert (np.abs(again - changes)[np.abs(changes) < 100] < 7).all()
    assert (np.sign(again) == np.sign(changes))[np.abs(changes) > 1].all()


def test_the_same_thumbnails_give_the_same_bytes() -> None:
    frames, times = drifting(12)
    assert describe(small(frames), times).moments.tobytes() == describe(small(frames), times).moments.tobytes()
