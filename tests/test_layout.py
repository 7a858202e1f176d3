"""How tables are cut into parts: every id has one part, finer parts lie inside coarser ones, and it never changes."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from builder.layout import FINEST, Layout, bucket, clip_parts, covering, power_of_two, video_parts
from builder.storage import Storage

POWERS = st.integers(0, 13).map(lambda exponent: 1 << exponent)
IDS = st.text("0123456789abcdef", min_size=20, max_size=20)


@given(IDS, POWERS)
def test_every_id_has_a_part(item_id: str, parts: int) -> None:
    assert 0 <= bucket(item_id, parts) < parts


@given(IDS, IDS, POWERS)
def test_parts_are_ranges_of_ids(one: str, other: str, parts: int) -> None:
    low, high = sorted((one, other))
    assert bucket(low, parts) <= bucket(high, parts)


@given(IDS, st.text("-0123456789", max_size=8), POWERS)
def test_a_clip_lies_where_its_video_lies(video_id: str, rest: str, parts: int) -> None:
    assert bucket(f"{video_id}-{rest}", parts) == bucket(video_id, parts)


@given(IDS, POWERS, POWERS)
def test_what_a_part_is_made_from_is_covered(item_id: str, of: int, parts: int) -> None:
    """A unit of a table cut `of`-fold reads, of a table cut `parts`-fold, the part of each of its ids."""
    assert bucket(item_id, parts) in covering(bucket(item_id, of), of, parts)


@given(POWERS, POWERS)
def test_parts_are_covered_evenly(of: int, parts: int) -> None:
    covered = [covering(n, of, parts) for n in range(of)]
    assert {part for parts_of in covered for part in parts_of} == set(range(parts))
    assert {len(parts_of) for parts_of in covered} == {max(1, parts // of)}


def test_ids_that_are_no_hash_go_to_the_first_part() -> None:
    assert [bucket(name, 8) for name in ("pexels", "zzz", "")] == [0, 0, 0]


@given(st.floats(0, 1e9))
def test_powers_of_two(least: float) -> None:
    found = power_of_two(least)
    assert found & (found - 1) == 0
    assert found >= least
    assert found == 1 or found / 2 < least


@given(st.integers(0, 10**7), st.floats(0, 1e4))
def test_numbers_of_parts(videos: int, seconds: float) -> None:
    parts = video_parts(videos)
    assert 1 <= parts <= FINEST
    assert parts * 2 >= min(videos, 2 * FINEST)  # one or two videos each, until there are very many
    clips = clip_parts([seconds] * min(videos, 1000))
    assert 1 <= clips <= FINEST
    assert parts % clips == 0 or videos > 1000


def test_once_decided_it_stays(tmp_path: Path) -> None:
    layout = Layout(Storage(tmp_path))
    assert layout.parts("video") is None
    assert layout.parts("one") == 1
    assert layout.decide("video", 8) == 8
    assert Layout(Storage(tmp_path)).decide("video", 16) == 8
    assert Layout(Storage(tmp_path)).parts("video") == 8


def test_shards_may_be_decided_anew(tmp_path: Path) -> None:
    layout = Layout(Storage(tmp_path))
    layout.decide("shard", 4, again=True)
    assert layout.decide("shard", 6, again=True) == 6
    assert layout.parts("shard") == Layout(Storage(tmp_path)).parts("shard") == 6
