"""The radius search gives what comparing each with each gives: every near pair, once, and no other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from builder.duplicates import search
from builder.duplicates.search import best_cut, near_pairs

Pairs = set[tuple[int, int]]


def found(hashes: NDArray[np.uint64], radius: int) -> list[tuple[int, int]]:
    return [pair for i, j in near_pairs(hashes, radius) for pair in zip(i.tolist(), j.tolist(), strict=True)]


def brute_force(hashes: NDArray[np.uint64], radius: int) -> Pairs:
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= radius
    return {(i, j) for i, j in np.argwhere(near).tolist() if i < j}


def check(hashes: NDArray[np.uint64], radius: int) -> int:
    pairs = found(hashes, radius)
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == brute_force(hashes, radius)
    return len(pairs)


def close_together(seed: int, count: int, centres: int, flips: int) -> NDArray[np.uint64]:
    """Hashes that differ from one of a few centres in at most `flips` bits."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 1 << 64, centres, np.uint64)[rng.integers(0, centres, count)]
    for _ in range(flips):
        hashes ^= np.uint64(1) << rng.integers(0, 64, count, np.uint64)
    return hashes


@given(st.integers(0, 1 << 32), st.integers(0, 200), st.integers(1, 20), st.integers(0, 8), st.integers(0, 8))
def test_it_finds_what_brute_force_finds(seed: int, count: int, centres: int, flips: int, radius: int) -> None:
    check(close_together(seed, count, centres, flips), radius)


@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=40), st.integers(0, 4))
def test_it_finds_it_for_any_hashes(values: list[int], radius: int) -> None:
    check(np.array(values, np.uint64), radius)


@given(st.integers(0, 63), st.sets(st.integers(0, 63), max_size=5))
def test_every_bit_counts_alike(start: int, flipped: set[int]) -> None:
    a = (0x9E3779B97F4A7C15 << start) & ((1 << 64) - 1)
    b = a ^ sum(1 << bit for bit in flipped)
    assert bool(found(np.array([a, b], np.uint64), 4)) == (len(flipped) <= 4)


@pytest.mark.parametrize("radius", [0, 1, 4])
def test_a_larger_table_with_crowded_buckets(radius: int) -> None:
    """10 % of the hashes crowd together: as copies, as near copies, and as strangers that share 40 bits."""
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 1 << 64, 6000, np.uint64)
    hashes[:200], hashes[200:400] = close_together(1, 200, 5, 0), close_together(2, 200, 5, 3)
    hashes[400:600] = (hashes[400:600] << np.uint64(40)) | np.uint64(7)
    assert check(hashes, radius) > 3000


def test_portions_are_small_whatever_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST", 100)
    hashes = np.zeros(300, np.uint64)
    portions = [len(i) for i, _ in near_pairs(hashes, 2)]
    assert max(portions) <= 100
    assert sum(portions) == 300 * 299 // 2


def test_more_hashes_are_cut_finer() -> None:
    assert best_cut(100, 4) <= best_cut(1_000_000, 4) < best_cut(100_000_000, 4)
    assert all(best_cut(1000, radius) > radius for radius in range(12))


def test_every_place_of_one_group_meets_every_place_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST", 7)
    bounds, one, other = np.array([0, 3, 3, 8, 9]), np.array([0, 2, 1]), np.array([2, 3, 2])
    portions = list(search.products(bounds, one, other))
    assert max(len(rows) for rows, _ in portions) <= 7
    met = [pair for rows, columns in portions for pair in zip(rows.tolist(), columns.tolist(), strict=True)]
    assert met == [(a, b) for a in range(3) for b in range(3, 8)] + [(a, 8) for a in range(3, 8)]
    few = [len(rows) for rows, _ in search.products(bounds, one, other, most=2)]
    assert sum(few) == 2 * 5 + 2 * 1
