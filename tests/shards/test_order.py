"""The order of an epoch is a permutation that depends on seed and epoch alone, and its parts are all of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.order import NOBODY, Shuffle, Tail, deal, deal_buckets, noise, sequence

SHARD = np.repeat(np.arange(12), 50)
SIZE = np.full(600, 1000)


def test_noise_is_the_same_for_ever() -> None:
    """A state saved today must be understood by every later version of numpy."""
    assert int(noise(0)) == 0xE220A8397B1DCDAF  # the first number of SplitMix64 seeded with 0, as published
    assert noise([0, 1, 2**40], 7, 3).tolist() == [11067843829501326295, 17193983740152763982, 9620357816117969197]
    assert int(noise(1, 7, 3)) == noise([1], 7, 3)[0]


def test_the_order_is_a_permutation_of_seed_and_epoch() -> None:
    orders = [sequence(SHARD, SIZE, Shuffle(4, 50_000), seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(600)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert sequence(SHARD, SIZE, Shuffle(4, 50_000), 0, 1).tolist() == orders[1]
    assert sequence(SHARD, SIZE, None, 0, 0).tolist() == list(range(600))


def test_a_window_lies_in_one_stretch_of_few_shards() -> None:
    order = sequence(SHARD, SIZE, Shuffle(4, 50_000), 3, 0)
    for window in np.split(order, 12):
        shards = np.unique(SHARD[window])
        assert len(shards) <= 5
        for shard in shards:
            places = np.sort(window[SHARD[window] == shard]) % 50
            jumps = np.diff([*places, places[0] + 50])  # around the shard's end
            assert sorted(jumps)[-2:][0] <= 3 or len(places) < 3
        assert len(shards) > 2
        assert (np.diff(SHARD[window]) != 0).sum() > 10  # mixed, not one after the other


def test_every_sample_is_as_likely_to_come_early() -> None:
    places = np.array([np.argsort(sequence(SHARD, SIZE, Shuffle(4, 50_000), seed, 0)) for seed in range(300)])
    means = places.mean(0)
    assert abs(means.mean() - 299.5) < 1e-9
    assert means.std() < 600 / 12**0.5 / 300**0.5 * 1.6


cases = st.tuples(st.integers(1, 90), st.integers(1, 5), st.integers(1, 6), st.integers(0, 90))


@given(cases, st.sampled_from(["pad", "drop", "uneven"]))
def test_what_is_dealt_is_what_was_left(case: tuple[int, int, int, int], tail: Tail) -> None:
    count, world, batch, consumed = case
    consumed = min(consumed, count)
    order = np.random.default_rng(count).permutation(count)
    steps = deal(order, consumed, world, batch, tail)
    given_out = steps.rows[~steps.repeats]
    given_out = given_out[given_out != NOBODY]
    assert sorted(given_out) == sorted(order[consumed:][: len(given_out)])
    missing = count - consumed - len(given_out)
    assert missing < world * batch if tail == "drop" else missing == 0
    assert tail != "pad" or (steps.rows != NOBODY).all()
    for step, after in enumerate(steps.consumed[:-1]):
        assert sorted(steps.rows[: step + 1].ravel()) == sorted(order[consumed:after])


@given(cases, st.sampled_from(["pad", "drop", "uneven"]), st.integers(1, 4))
def test_a_batch_is_of_one_bucket(case: tuple[int, int, int, int], tail: Tail, buckets: int) -> None:
    count, world, batch, turns = case
    order = np.random.default_rng(count).permutation(count)
    bucket = np.arange(count) % buckets
    steps = deal_buckets(order, bucket, 0, world, batch, tail)
    real = np.where(steps.repeats, NOBODY, steps.rows)
    given_out = real[real != NOBODY]
    assert len(set(given_out)) == len(given_out)
    assert tail == "drop" or len(given_out) == count
    for one in steps.rows.reshape(-1, batch):
        assert len(set(bucket[one[one != NOBODY]])) <= 1
    if len(steps.rows) > 1:  # the rest, dealt to another number of ranks, is the rest
        turn = turns % (len(steps.rows) - 1)
        rest = deal_buckets(order, bucket, int(steps.consumed[turn]), world + 1, batch, tail)
        again = np.where(rest.repeats, NOBODY, rest.rows)
        again = again[again != NOBODY]
        left = real[turn + 1 :][real[turn + 1 :] != NOBODY]
        assert not set(again) & (set(given_out) - set(left))
        assert tail == "drop" or sorted(again) == sorted(left)


def test_buckets_come_when_they_are_full_and_the_rest_at_the_end() -> None:
    bucket = np.array([0, 1, 0, 0, 1, 2, 0])
    steps = deal_buckets(np.arange(7), bucket, 0, 1, 2, "pad")
    assert steps.rows[:, 0].tolist() == [[0, 2], [1, 4], [3, 6], [5, 5]]
    assert steps.repeats[:, 0].tolist() == [[False, False]] * 3 + [[False, True]]
    assert steps.consumed.tolist() == [2, 4, 6, 7]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_the_sequence_does_not_depend_on_who_reads_it(world: int) -> None:
    order = sequence(SHARD, SIZE, Shuffle(), 5, 2)
    assert deal(order, 0, world, 3, "uneven").rows.ravel()[:600].tolist() == order.tolist()
