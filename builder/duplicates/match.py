"""Which of the clips that have a hash in common do show the same: two clips laid over each other in time.

A hash tells what a picture looks like, and two pieces of one shot look alike. So the pictures must also change alike:
at the best offset, the correlation of their changes over the time they share has to be high. Where nothing moves there
is nothing to tell two pieces apart by, and the picture alone decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.duplicates.describe import CHANGES, Moments, expanded
from builder.duplicates.search import MOST, Places, near_pairs, products

CROWD = 32  # of the clips that share a hash, so many of the first are compared with all the others
SUITORS = 64  # better clips that a clip is laid over, those first with which it has most hashes in common
LEAST_OVERLAP = 0.5  # of the shorter clip
LEAST_TELLING = 0.25  # of the overlap
NOISE = 2.0  # rms of changes that coding alone makes: changes this small count as none
FEW = 3  # moments that are too few to tell by how they change
ALIKE = 16.0  # mean bits that differ, of 64; strangers differ in 32, seldom in less than 18
CLEARLY_ALIKE = 6.0  # the same, where nothing moves
FOLLOWING = 24.0  # the same, where another clip of these two videos has shown that they go together, and how

Numbers = NDArray[Any]
Packed = NDArray[np.uint64]  # two places in one number


@dataclass(frozen=True)
class Clips:
    """Clips in columns, the best first. Clip c has the moments bounds[c] <= m < bounds[c + 1], and begins with window
    `firsts[c]` of video `videos[c]`."""

    moments: Moments
    bounds: Places
    videos: Places
    firsts: Places

    def __len__(self) -> int:
        return len(self.videos)

    def of(self, clip: int) -> Moments:
        return self.moments[self.bounds[clip] : self.bounds[clip + 1]]


@dataclass(frozen=True)
class Overlap:
    """How clip b lies over clip a: its moment m is a's moment m + `offset`, for `shared` moments.

    `bits` is the mean distance of their hashes, 0 same ... 64; `correlation` that of their changes, -1 ... 1 same.
    """

    offset: int
    shared: int
    bits: float
    correlation: float

    @property
    def span(self) -> tuple[int, int]:
        """The moments of b that a shows: first <= m < last."""
        first = max(0, -self.offset)
        return first, first + self.shared


Twins = dict[tuple[int, int], Overlap]  # of clips a < b


def twins(clips: Clips, radius: int, least: float) -> Twins:
    """Pairs of clips that show the same: with a hash in common, to `radius` bits, and changes that correlate with
    `least` at least. Where two videos go together, what their other clips share counts too, if it is less alike."""
    found: Twins = {}
    for a, b in candidates(clips, radius):
        apart = bool(clips.videos[a] != clips.videos[b])
        if overlap := laid_over(clips.of(a), clips.of(b), least, apart):
            found[a, b] = overlap
    return found | dict(followers(clips, found, least))


def followers(clips: Clips, found: Twins, least: float) -> Iterator[tuple[tuple[int, int], Overlap]]:
    """Twins at the offsets at which two videos are known to go together."""
    firsts, ends, videos = clips.firsts, clips.firsts + np.diff(clips.bounds), clips.videos
    order = np.lexsort((firsts, videos))
    groups = np.split(order, np.flatnonzero(np.diff(videos[order])) + 1)
    members = {int(videos[group[0]]): group for group in groups if len(group)}
    known = {(videos[a], videos[b], firsts[a] - firsts[b] + o.offset) for (a, b), o in found.items()}
    for one, other, shift in sorted((int(u), int(v), int(s)) for u, v, s in known if u != v):
        theirs = members[other]
        for a in members[one].tolist():
            from_ = np.searchsorted(ends[theirs], firsts[a] - shift, "right")
            to = np.searchsorted(firsts[theirs], ends[a] - shift)
            for b in theirs[from_:to].tolist():
                pair, where = (min(a, b), max(a, b)), int(shift - firsts[a] + firsts[b]) * (1 if a < b else -1)
                if pair not in found and (o := laid_over(clips.of(pair[0]), clips.of(pair[1]), least, True, where)):
                    yield pair, o


# -- who may be a twin of whom
def candidates(clips: Clips, radius: int) -> list[tuple[int, int]]:
    """Pairs a < b that have a hash in common, at most SUITORS for each b."""
    told = clips.moments["telling"]
    owners = np.repeat(np.arange(len(clips)), np.diff(clips.bounds))[told]
    both = np.concatenate([clips.moments["middle"][told], clips.moments["closer"][told]])
    hashes, which = np.unique(both, return_inverse=True)
    who = np.unique(pack(which, np.concatenate([owners, owners])))  # by hash, then by clip
    bounds = np.searchsorted(who >> np.uint64(32), np.arange(len(hashes) + 1))
    owner = (who & np.uint64(0xFFFFFFFF)).astype(np.int64)
    sides = (side for one, other in alike(hashes, radius) for side in ((one, other), (other, one)))
    pairs = (pair for one, other in sides for pair in products(bounds, one, other, CROWD))
    return preferred(*counted((owner[a], owner[b]) for a, b in pairs))


def alike(hashes: NDArray[np.uint64], radius: int) -> Iterator[tuple[Places, Places]]:
    """Every hash with itself, then with those near it."""
    for start in range(0, len(hashes), MOST):
        itself = np.arange(start, min(start + MOST, len(hashes)))
        yield itself, itself
    yield from near_pairs(hashes, radius)


def counted(portions: Iterator[tuple[Places, Places]]) -> tuple[Packed, Places]:
    """Each pair a < b of two clips once, and how often it came."""
    pairs, votes = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    for many in gathered(portions):
        new, more = np.unique(many, return_counts=True)
        pairs, which = np.unique(np.concatenate([pairs, new]), return_inverse=True)
        votes = np.bincount(which, np.concatenate([votes, more])).astype(np.int64)
    return pairs, votes


def gathered(portions: Iterator[tuple[Places, Places]]) -> Iterator[Packed]:
    """Pairs of two clips in few portions, of about MOST."""
    waiting: list[Packed] = []
    size = 0
    for a, b in portions:
        two = a != b
        waiting.append(pack(np.minimum(a, b)[two], np.maximum(a, b)[two]))
        size += len(waiting[-1])
        if size >= MOST:
            yield np.concatenate(waiting)
            waiting, size = [], 0
    yield np.concatenate([np.zeros(0, np.uint64), *waiting])


def preferred(pairs: Packed, votes: Places) -> list[tuple[int, int]]:
    a, b = (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
    order = np.lexsort((a, -votes, b))
    a, b = a[order], b[order]
    nth = np.arange(len(b)) - np.searchsorted(b, b)
    return list(zip(a[nth < SUITORS].tolist(), b[nth < SUITORS].tolist(), strict=True))


def pack(high: NDArray[np.int64], low: NDArray[np.int64]) -> Packed:
    return (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)


# -- who is
def laid_over(a: Moments, b: Moments, least: float, apart: bool, where: int | None = None) -> Overlap | None:
    """The offset at which both show the same, if there is one; `where`, if it is known, to one moment.

    Clips that are `apart`, of two videos, may be too short to tell by their changes.
    """
    offsets = np.arange(1 - len(b), len(a))
    from_, to = np.maximum(offsets, 0), np.minimum(len(a), len(b) + offsets)
    shared = to - from_
    enough = shared >= LEAST_OVERLAP * min(len(a), len(b))
    if where is not None:
        enough &= np.abs(offsets - where) <= 1
    if not enough.any():
        return None
    bits, telling = distances(a, b)
    correlation, moving = correlations(a, b, from_, to)
    enough &= telling >= np.maximum(1, LEAST_TELLING * shared)
    limit = np.where(moving, ALIKE if where is None else FOLLOWING, CLEARLY_ALIKE)
    alike = (bits <= limit) & (correlation >= least) & (apart | (shared > FEW))
    good = np.flatnonzero(enough & (alike | ((bits <= CLEARLY_ALIKE) & (shared <= FEW) & apart)))
    if not len(good):
        return None
    best = good[np.argmax(correlation[good] + shared[good] / min(len(a), len(b)))]
    return Overlap(int(offsets[best]), int(shared[best]), float(bits[best]), float(correlation[best]))


def along(matrix: NDArray[Any]) -> Numbers:
    """Sums of a matrix (moments of a, moments of b) over each offset, the least first."""
    rows, columns = matrix.shape
    offsets = np.arange(rows)[:, None] - np.arange(columns) + columns - 1
    return np.bincount(offsets.ravel(), matrix.ravel().astype(np.float64))


def distances(a: Moments, b: Moments) -> tuple[Numbers, Numbers]:
    """At each offset the mean of bits that differ, and of how many moments: those at which both pictures tell. Both as
    they are, or one of them looked at closer."""
    both = a["telling"][:, None] & b["telling"]
    ways = (("middle", "middle"), ("middle", "closer"), ("closer", "middle"))
    bits = [along(np.bitwise_count(a[one][:, None] ^ b[other]) * both) for one, other in ways]
    telling = along(both)
    return np.min(bits, axis=0) / np.maximum(telling, 1), telling


def correlations(a: Moments, b: Moments, from_: Places, to: Places) -> tuple[Numbers, NDArray[np.bool_]]:
    """At each offset 2 cov(a, b) / (var(a) + var(b)) of the changes over what is shared, from_ <= moment of a < to,
    with NOISE added to both sides, so 1 where nothing changes; and whether more than NOISE does."""
    left, right = expanded(a["changes"]), expanded(b["changes"])
    back = to - np.arange(1 - len(b), len(a))
    shared = to - from_
    sums, others = summed(left), summed(right)
    sums, others = sums[to] - sums[from_], others[back] - others[back - shared]
    within = (sums[:, :-1] ** 2 + others[:, :-1] ** 2).sum(axis=1) / shared
    noise = NOISE**2 * CHANGES * shared
    common = along(left @ right.T) - (sums[:, :-1] * others[:, :-1]).sum(axis=1) / shared
    spread = (sums[:, -1] + others[:, -1] - within) / 2
    return (common + noise) / (spread + noise), spread > noise


def summed(changes: NDArray[Any]) -> Numbers:
    """Sums of the first n rows, for every n from 0 on, and in a last column those of all their squares."""
    sums = np.zeros((len(changes) + 1, CHANGES + 1))
    np.cumsum(changes, axis=0, out=sums[1:, :-1])
    np.cumsum((changes**2).sum(axis=1), out=sums[1:, -1])
    return sums
