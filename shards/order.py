"""The order of an epoch, and who gets which part of it.

**One sequence.** An epoch is one permutation of the samples, a function of (seed, epoch) and of nothing else: not of
the number of ranks, workers, or samples a batch. It is computed from the index, before anything is read. Shuffled, it
is made in three steps: the shards are permuted; groups of `Shuffle.shards` of them are read side by side, at the same
pace, each from a place of its own on and around; and what that gives is cut into windows of `Shuffle.window_bytes` in
each of which the samples are permuted. A window is no buffer: samples are read by their offsets, so it costs no memory,
and all that is read during one lies in one stretch of each of a few shards.

**Residues.** The sequence is cut into batches, and a step is one batch for every rank: in step i, rank r of W has batch
i * W + r. In a loader with N workers, worker w makes the steps i = w, w + N, w + 2 N, ...; loaders ask their workers in
turn, so a rank sees its steps in order whatever N is.

**Why a count is enough to go on.** After step i all ranks together have had exactly the first (i + 1) * W * B samples
of the sequence. So `consumed`, a position in it, says what is still to come: with the same W the same batches, with
another W (or B, or N) the same samples, dealt anew. What workers have fetched ahead has not been consumed by anybody:
the trainer counts what it was given, and each batch carries the position after its step.

**Buckets.** A batch of one bucket (aspect, length) is complete where its last sample stands in the sequence; batches
come in the order in which they are complete, those that never are at the end. All of this is computed from the index
too, so the same argument holds, for one batch size.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Tail = Literal["pad", "drop", "uneven"]
NOBODY = -1  # stands where there is no sample


@dataclass(frozen=True)
class Shuffle:
    """`shards` are read side by side, and samples permuted within windows of `window_bytes` of what they give."""

    shards: int = 8
    window_bytes: int = 1 << 29


@dataclass(frozen=True)
class Steps:
    """`rows[step, rank, i]` are samples, NOBODY for none; `repeats` marks those that fill up a step; `consumed[step]`
    is the position in the sequence once all ranks have done the step."""

    rows: Ints
    repeats: NDArray[np.bool_]
    consumed: Ints


def noise(numbers: Any, *salt: int) -> NDArray[np.uint64]:
    """64 random bits for each number, the same for the same `salt` in every version of every library (SplitMix64,
    Steele et al. 2014)."""
    state = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):
        for value in (*salt, np.asarray(numbers)):
            state = state * np.uint64(0x9E3779B97F4A7C15) + np.asarray(value).astype(np.uint64)
            state = state + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state


def sequence(shard: Ints, size_bytes: Ints, shuffle: Shuffle | None, seed: int, epoch: int) -> Ints:
    """The samples 0 .. n - 1 in the order of the epoch. `shard` and `size_bytes` are theirs; a shard's samples stand
    together, in the order of their places."""
    if shuffle is None or not len(shard):
        return np.arange(len(shard))
    counts = np.bincount(shard)
    turn = np.argsort(np.argsort(noise(np.arange(len(counts)), seed, epoch, 0), kind="stable"))[shard]
    within = np.arange(len(shard)) - (np.cumsum(counts) - counts)[shard]
    begins = noise(np.arange(len(counts)), seed, epoch, 3) / 2.0**64
    progress = ((within + 0.5) / counts[shard] + begins[shard]) % 1.0
    side_by_side = np.lexsort((turn, progress, turn // shuffle.shards))
    size_bytes = size_bytes[side_by_side]
    window = (np.cumsum(size_bytes) - size_bytes) // shuffle.window_bytes
    order: Ints = side_by_side[np.lexsort((noise(side_by_side, seed, epoch, 1), window))]
    return order


def deal(order: Ints, consumed: int, world: int, batch: int, tail: Tail) -> Steps:
    """The steps that are left of a sequence. Samples that fill up the last one are taken from its beginning."""
    left = order[consumed:]
    whole = world * batch
    steps = len(left) // whole if tail == "drop" else -(-len(left) // whole)
    rows = np.full(steps * whole, NOBODY)
    rows[: len(left)] = left[: len(rows)]
    missing = np.arange(len(left), len(rows))
    if tail == "pad":
        rows[missing] = order[(missing - len(left)) % len(order)]
    repeats = np.zeros(len(rows), bool)
    repeats[missing] = tail == "pad"
    after = np.minimum(consumed + np.arange(1, steps + 1) * whole, len(order))
    after[-1:] = len(order)
    shape = (steps, world, batch)
    return Steps(rows.reshape(shape), repeats.reshape(shape), after)


def deal_buckets(order: Ints, bucket: Ints, consumed: int, world: int, batch: int, tail: Tail) -> Steps:  # noqa: PLR0913, PLR0917
    """As `deal`, each batch from one bucket (`bucket[sample]`). What is left of a bucket is filled up from that
    bucket."""
    rows, real = _batches(order, bucket[order], batch, tail)
    ends = np.cumsum(real.sum(1))
    first = int(np.searchsorted(ends, consumed, side="right"))
    left, real, ends = rows[first:], real[first:], ends[first:]
    steps = len(left) // world if tail == "drop" else -(-len(left) // world)
    shape = (steps * world, batch)
    dealt, repeats = np.full(shape, NOBODY), np.zeros(shape, bool)
    given = min(len(left), len(dealt))
    dealt[:given] = left[:given]
    repeats[:given] = ~real[:given] & (left[:given] != NOBODY)
    if tail == "pad" and given < len(dealt):
        dealt[given:] = rows[np.arange(len(dealt) - given) % len(rows)]
        repeats[given:] = True
    after = ends[np.minimum(np.arange(1, steps + 1) * world, len(ends)) - 1] if steps else ends[:0]
    after[-1:] = len(order)
    return Steps(dealt.reshape(steps, world, batch), repeats.reshape(steps, world, batch), after)


def _batches(order: Ints, bucket: Ints, batch: int, tail: Tail) -> tuple[Ints, NDArray[np.bool_]]:
    """All batches of the epoch, [n, batch], and which of their samples count."""
    complete: list[tuple[Ints, Ints]] = []
    rest: list[Ints] = []
    for one in np.unique(bucket):
        places = np.flatnonzero(bucket == one)
        full = len(places) // batch * batch
        complete.append((places[batch - 1 : full : batch], places[:full].reshape(-1, batch)))
        if full < len(places) and tail != "drop":
            left = places[full:]
            missing = batch - len(left)
            fill = places[np.arange(missing) % len(places)] if tail == "pad" else np.full(missing, NOBODY)
            rest.append(np.concatenate([left, fill, [len(left)]]))
    ends = np.concatenate([end for end, _ in complete] or [np.empty(0, np.int64)])
    places = np.concatenate([group for _, group in complete] or [np.empty((0, batch), np.int64)])[np.argsort(ends)]
    real = np.ones(places.shape, bool)
    if rest:
        last = np.stack(rest)
        places = np.concatenate([places, last[:, :batch]])
        real = np.concatenate([real, np.arange(batch) < last[:, batch:]])
    return np.where(places == NOBODY, NOBODY, order[places]), real
