"""All pairs of 64-bit hashes within a Hamming distance, exactly, without comparing each with each.

Cut the 64 bits into k blocks. Two hashes that differ in at most r bits agree on k - r blocks at least, so they meet
when hashes are sorted by the right choice of k - r blocks; all choices are tried (Manku, Jain and Das Sarma, WWW 2007;
the same pigeonhole as the multi-index hashing of Norouzi, Punjani and Fleet, CVPR 2012). More blocks mean more sorting
and fewer strangers that meet by chance: k follows from the number of hashes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

BITS = 64
MOST = 1 << 21  # pairs looked at, and at most given, at a time: bounds the memory
SORTED, COMPARED = 30.0, 6.0  # ns that a hash takes to sort and a pair to compare; only their ratio matters


@dataclass(frozen=True)
class Block:
    """Bits low <= b < high."""

    low: int
    high: int

    @property
    def mask(self) -> np.uint64:
        return np.uint64(((1 << (self.high - self.low)) - 1) << self.low)


def near_pairs(hashes: Hashes, radius: int) -> Iterator[tuple[Places, Places]]:
    """Places (i, j), i < j, of all hashes that differ in at most `radius` bits, each pair once, in many small portions.

    Takes about 60 bytes a hash, and time that grows with n log n and with the number of pairs that agree by chance.
    """
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    bounds = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1], [True]])[: len(hashes) + 1])
    yield from neighbours(order, ranked)
    for one, other in distinct_pairs(ranked[bounds[:-1]], radius):
        for i, j in products(bounds, one, other):
            yield np.minimum(order[i], order[j]), np.maximum(order[i], order[j])


def distinct_pairs(hashes: Hashes, radius: int) -> Iterator[tuple[Places, Places]]:
    """Places of near pairs of hashes that are all different, each pair once."""
    blocks = cut(best_cut(len(hashes), radius))
    for chosen in combinations(range(len(blocks)), len(blocks) - radius):
        others = [blocks[b].mask for b in range(max(chosen)) if b not in chosen]
        for i, j in meeting(hashes, [blocks[b] for b in chosen]):
            differ = hashes[i] ^ hashes[j]
            near = np.bitwise_count(differ) <= radius
            for mask in others:  # agreeing on an earlier choice too, the pair was given there
                near &= (differ & mask) != 0
            if near.any():
                yield i[near], j[near]


def best_cut(count: int, radius: int) -> int:
    """How many blocks cost least for so many hashes, if these are spread evenly."""

    def cost(k: int) -> float:
        chance = math.exp2(-BITS * (k - radius) / k)
        return math.comb(k, radius) * (count * SORTED + count * count / 2 * chance * COMPARED)

    return min(range(radius + 1, min(radius + 6, BITS) + 1), key=cost)


def cut(k: int) -> list[Block]:
    edges = [round(BITS * n / k) for n in range(k + 1)]
    return [Block(low, high) for low, high in pairwise(edges)]


def meeting(hashes: Hashes, blocks: Sequence[Block]) -> Iterator[tuple[Places, Places]]:
    """Pairs of places whose hashes agree on the blocks. What does not fit beside the place in 64 bits is not compared:
    then some that do not agree meet, too."""
    room = np.uint64(max(1, len(hashes) - 1).bit_length())
    packed = np.zeros(len(hashes), np.uint64)
    for block in blocks:
        packed = (packed << np.uint64(block.high - block.low)) | ((hashes & block.mask) >> np.uint64(block.low))
    packed = np.sort((packed << room) | np.arange(len(hashes), dtype=np.uint64))
    places, keys = (packed & ((np.uint64(1) << room) - np.uint64(1))).astype(np.int64), packed >> room
    yield from neighbours(places, keys)


def neighbours(places: Places, keys: Hashes) -> Iterator[tuple[Places, Places]]:
    """Pairs of `places` whose `keys`, sorted, are the same: each with the next, with the next but one and so on."""
    here = np.flatnonzero(keys[1:] == keys[:-1])
    step = 1
    while len(here):
        for start in range(0, len(here), MOST):
            part = here[start : start + MOST]
            yield places[part], places[part + step]
        step += 1
        here = here[: np.searchsorted(here, len(keys) - step)]
        here = here[keys[here] == keys[here + step]]


def products(bounds: Places, one: Places, other: Places, most: int = MOST) -> Iterator[tuple[Places, Places]]:
    """Every place of a group of `one`, of its first `most`, with every place of the group of `other` beside it.

    Group g has the places bounds[g] <= p < bounds[g + 1].
    """
    wide = bounds[other + 1] - bounds[other]
    sizes = np.minimum(bounds[one + 1] - bounds[one], most) * wide
    ends = np.cumsum(sizes)
    for start in range(0, int(sizes.sum()), MOST):
        nth = np.arange(start, min(start + MOST, int(ends[-1])))
        pair = np.searchsorted(ends, nth, "right") if ends[-1] > MOST else np.repeat(np.arange(len(sizes)), sizes)
        nth -= (ends - sizes)[pair]
        yield bounds[one[pair]] + nth // wide[pair], bounds[other[pair]] + nth % wide[pair]
