"""Samples by their offsets in the index: a few bytes before them, none between, each checked before it is given out.

Headers of members are compared with the index, always. Contents are when a process reads them first: the video by its
sha256, json and texts with the index itself, which the manifest vouches for.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from shards.catalog import BLOCK, Catalog, Rows, differs
from shards.order import Ints
from shards.places import BadShardError, Folder, Piece, Place

Check = Literal["first", "always", "never"]
RUN_BYTES = 8 << 20  # asked for at once where samples follow each other
FIRST_LOT_BYTES = 1 << 20
CONNECTIONS = 4  # of one process; more cost it more than they hide
NAME, SIZE, KIND = slice(0, 100), slice(124, 135), slice(156, 157)  # fields of a USTAR header
REGULAR = b"0"


class BadSampleError(ValueError):
    """A sample that is not what the index says, or cannot be decoded. The message names shard and key."""


class Raw(NamedTuple):
    """`number` is the sample's in the catalog; `texts` are by member name."""

    number: int
    key: str
    json: bytes
    video: bytes
    texts: dict[str, bytes]


@dataclass
class Reader:
    """`buffer_bytes` limits what is fetched ahead from far away; a folder is read when it is its turn."""

    catalog: Catalog
    place: Place
    check: Check
    buffer_bytes: int

    def __post_init__(self) -> None:
        self.rows = Rows(self.catalog.index)
        self.seen = np.full(len(self.catalog), self.check == "never")

    def read(self, numbers: Iterator[int]) -> Iterator[Raw | BadSampleError]:
        """In the order asked for. Raises OSError where a place cannot be reached at all."""
        if isinstance(self.place, Folder):
            yield from (self._one(number) for number in numbers)
            return
        threads = ThreadPoolExecutor(CONNECTIONS, "fetch")
        try:
            for number, future, at in self._ahead(numbers, threads):
                yield self._checked(number, future.result()[at])
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _one(self, number: int) -> Raw | BadSampleError:
        return self._checked(number, self._fetch([number])[0])

    def _fetch(self, run: Sequence[int]) -> list[list[bytes] | BadShardError]:
        """The three parts of each sample of a run, which follow each other in one shard."""
        c = self.catalog
        pieces: list[Piece] = []
        for number in run:
            start, video, size, end = (a.item(number) for a in (c.start, c.video, c.video_bytes, c.end))
            pieces += [(start, video - start), (video, size), (video + size, end - video - size)]
        shard = int(c.shard[run[0]])
        try:
            parts = list(self.place.read(c.shards[shard], c.sizes_bytes[shard], pieces))
        except BadShardError as error:
            return [error] * len(run)
        return [parts[n : n + 3] for n in range(0, len(parts), 3)]

    def _ahead(self, numbers: Iterator[int], threads: ThreadPoolExecutor) -> Iterator[tuple[int, Future[Any], int]]:
        """Each sample with the request it is part of, and which part. Lots of samples are asked for in the order in
        which they lie, one lot ahead of what is being given out; small ones at first, so that the first sample is soon
        there."""
        given: deque[list[tuple[int, Future[Any], int]]] = deque()
        limit = FIRST_LOT_BYTES
        while lot := self._lot(numbers, limit):
            given.append(self._ask(lot, threads))
            limit = min(limit * 2, max(self.buffer_bytes // 2, 1))
            if len(given) > 1:
                yield from _emptied(given.popleft())
        for last in given:
            yield from _emptied(last)

    def _lot(self, numbers: Iterator[int], limit: int) -> list[int]:
        lot: list[int] = []
        size = 0
        while size < limit and (number := next(numbers, None)) is not None:
            lot.append(number)
            size += int(self.catalog.end[number] - self.catalog.start[number])
        return lot

    def _ask(self, lot: Sequence[int], threads: ThreadPoolExecutor) -> list[tuple[int, Future[Any], int]]:
        place: dict[int, tuple[Future[Any], int]] = {}
        for run in runs_of(self.catalog, np.array(lot)):
            future = threads.submit(self._fetch, run)
            place |= {number: (future, at) for at, number in enumerate(run)}
        return [(number, *place[number]) for number in lot]

    def _checked(self, number: int, parts: list[bytes] | BadShardError) -> Raw | BadSampleError:
        key = self.catalog.key(number)
        try:
            if isinstance(parts, BadShardError):
                raise parts
            raw = split(number, key, parts)
            if not self.seen[number]:
                self._compare(raw)
                self.seen[number] = self.check == "first"
        except ValueError as error:
            shard = self.catalog.shards[int(self.catalog.shard[number])]
            return BadSampleError(f"{shard}: sample {key}: {error}")
        return raw

    def _compare(self, raw: Raw) -> None:
        row = self.rows.get(int(self.catalog.row[raw.number]))
        if hashlib.sha256(raw.video).hexdigest() != row["mp4_sha256"]:
            raise ValueError("the sha256 of its mp4 is not the index's: fetch the shard again")
        if member := differs(row, raw.json, raw.texts, self.catalog.scores):
            raise ValueError(f"its {member} is not what the index says: fetch the shard again")


def _emptied(lot: list[tuple[int, Future[Any], int]]) -> Iterator[tuple[int, Future[Any], int]]:
    """One after the other; what was given is let go."""
    lot.reverse()
    while lot:
        yield lot.pop()


def runs_of(catalog: Catalog, lot: Ints) -> Iterator[list[int]]:
    """The samples of a lot in the order in which they lie, cut where one does not follow the one before."""
    lot = np.unique(lot)  # the catalog is ordered by place
    run: list[int] = []
    for number in map(int, lot):
        if run:
            last = run[-1]
            apart = catalog.shard[last] != catalog.shard[number] or catalog.start[number] - catalog.end[last] >= BLOCK
            if apart or catalog.end[last] - catalog.start[run[0]] >= RUN_BYTES:
                yield run
                run = []
        run.append(number)
    if run:
        yield run


def split(number: int, key: str, parts: Sequence[bytes]) -> Raw:
    """The members of a sample out of what stands before, in and after its video. ValueError where they are not
    there."""
    head, video, tail = parts
    json_bytes = member_size(head[:BLOCK], f"{key}.json")
    header_of_video = head[BLOCK + json_bytes + -json_bytes % BLOCK :]
    if member_size(header_of_video, f"{key}.mp4") != len(video):
        raise ValueError("its mp4 has another size than the index says, or is cut off: fetch the shard again")
    texts: dict[str, bytes] = {}
    at = -len(video) % BLOCK
    while at < len(tail):
        header = tail[at : at + BLOCK]
        name = header[NAME].rstrip(b"\0").decode("ascii", "replace")
        size = member_size(header, name)
        text = tail[at + BLOCK : at + BLOCK + size]
        owner, _, member = name.partition(".")
        if owner != key or len(text) < size:
            raise ValueError(f"{name!r} stands where its texts should, or is cut off: fetch the shard again")
        texts[member] = text
        at += BLOCK + size + -size % BLOCK
    return Raw(number, key, head[BLOCK : BLOCK + json_bytes], video, texts)


def member_size(header: bytes, name: str) -> int:
    """ValueError unless it is the plain header of a regular file of this name."""
    try:
        if len(header) == BLOCK and header[NAME].rstrip(b"\0") == name.encode() and header[KIND] == REGULAR:
            return int(header[SIZE], 8)
    except ValueError:
        pass
    raise ValueError(f"there is no plain member {name!r} where the index says: fetch the shard again")
