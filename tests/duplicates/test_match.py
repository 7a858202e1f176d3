"""Clips are twins when they look and change alike; what only looks alike is none."""

import numpy as np
import pytest

from builder.duplicates import match
from builder.duplicates.match import Overlap, candidates, laid_over, twins
from drifting_clips import clips, drifting, seen

RADIUS, LEAST = 6, 0.7


def still(seed: int) -> np.ndarray:
    """A picture that nothing moves in, for 4 s."""
    return np.stack([drifting(seed, seconds=0.1)[0][0]] * 96)


def test_a_copy_is_a_twin_and_other_footage_is_none() -> None:
    found = twins(clips(seen(*drifting(1)), seen(*drifting(2)), seen(*drifting(1))), RADIUS, LEAST)
    assert list(found) == [(0, 2)]
    assert found[0, 2] == Overlap(offset=0, shared=15, bits=0.0, correlation=pytest.approx(1.0))


@pytest.mark.parametrize("cut", [12, 31, 43])
def test_a_copy_that_begins_later_lies_where_it_belongs(cut: int) -> None:
    frames, times = drifting(3)
    later = seen(frames[cut:], times[cut:] - times[cut])
    [(pair, overlap)] = twins(clips(seen(frames, times), later), RADIUS, LEAST).items()
    assert pair == (0, 1)
    assert abs(overlap.offset - times[cut] * 4) <= 0.5
    assert overlap.shared == len(later.moments)


def test_it_does_not_matter_which_of_the_two_is_the_better_one() -> None:
    frames, times = drifting(3)
    whole, part = seen(frames, times), seen(frames[36:], times[36:] - times[36])
    assert laid_over(whole.moments, part.moments, LEAST, True).offset == 6  # type: ignore[union-attr]
    assert laid_over(part.moments, whole.moments, LEAST, True).offset == -6  # type: ignore[union-attr]


def test_a_copy_of_less_than_half_of_both_is_no_twin() -> None:
    frames, times = drifting(4, seconds=6.0)
    first, last = seen(frames[:84], times[:85]), seen(frames[60:], times[60:] - times[60])
    assert not twins(clips(first, last), RADIUS, LEAST)


def slow(seed: int, frames: int) -> np.ndarray:
    """A fixed camera on a scene in which something small moves at random."""
    rng = np.random.default_rng(seed)
    scene = drifting(5, seconds=0.1)[0][0]
    pictures = np.stack([scene] * frames)
    x, y = 200.0, 130.0
    for picture in pictures:
        x, y = x + rng.normal(0, 6), y + rng.normal(0, 4)
        x, y = float(np.clip(x, 100, 330)), float(np.clip(y, 60, 180))
        picture[int(y) : int(y) + 50, int(x) : int(x) + 60] = (250, 240, 30)
    return pictures


def test_two_pieces_of_one_shot_are_no_twins_though_they_look_alike() -> None:
    frames, times = slow(1, 240), np.arange(241) / 24
    pieces = clips(seen(frames[:120], times[:121]), seen(frames[120:], times[120:]), videos=[0, 0])
    assert candidates(pieces, RADIUS) == [(0, 1)]
    assert not twins(pieces, RADIUS, LEAST)
    assert not twins(clips(seen(frames[:120], times[:121]), seen(frames[120:], times[:121])), RADIUS, LEAST)


def test_a_loop_within_a_video_is_found() -> None:
    frames, times = slow(2, 120), np.arange(241) / 24
    again = clips(seen(frames, times[:121]), seen(frames, times[120:]), videos=[0, 0])
    assert list(twins(again, RADIUS, LEAST)) == [(0, 1)]


def test_one_still_picture_twice_is_a_twin_and_two_are_none() -> None:
    times = np.arange(97) / 24
    found = twins(clips(seen(still(6), times), seen(still(7), times), seen(still(6), times)), RADIUS, LEAST)
    assert list(found) == [(0, 2)]


def test_flat_clips_are_nobodys_twins() -> None:
    grey = seen(np.full((96, 27, 48, 3), 90, np.uint8), np.arange(97) / 24)
    assert candidates(clips(grey, grey, grey), RADIUS) == []
    assert laid_over(grey.moments, grey.moments, LEAST, True) is None


def with_a_large_logo(frames: np.ndarray) -> np.ndarray:
    covered = frames.copy()
    covered[:, 100:170, 170:310] = (255, 255, 255)
    return covered


def test_where_two_videos_go_together_what_is_less_alike_counts_too() -> None:
    """The first clips have a logo across the middle, so no hash in common; the second ones show the way."""
    frames, times = drifting(8, seconds=8.0)
    marked = np.concatenate([with_a_large_logo(frames[:96]), frames[96:]])
    first, second = (slice(0, 96), slice(0, 97)), (slice(96, 192), slice(96, 193))
    found = [seen(video[f], times[t]) for video in (frames, marked) for f, t in (first, second)]
    alone = clips(found[0], found[2])
    assert candidates(alone, RADIUS) == []
    together = twins(clips(*found, videos=[0, 0, 1, 1]), RADIUS, LEAST)
    assert sorted(together) == [(0, 2), (1, 3)]
    assert together[0, 2].bits > 10 > together[1, 3].bits


def test_a_crowd_is_compared_with_its_first_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match, "CROWD", 2)
    found = candidates(clips(*[seen(*drifting(9))] * 6), RADIUS)
    assert set(found) == {(a, b) for a in (0, 1) for b in range(1, 6) if a < b}


def test_a_clip_is_laid_over_those_first_with_which_it_has_most_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match, "SUITORS", 1)
    frames, times = drifting(10)
    part = seen(frames[:40], times[:41])
    assert (1, 2) in candidates(clips(part, seen(frames, times), seen(frames, times)), RADIUS)


def test_no_clips_and_one_clip_have_no_twins() -> None:
    one = clips(seen(*drifting(11)))
    assert twins(one, RADIUS, LEAST) == {}
