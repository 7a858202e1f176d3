"""Ranks: the processes of stages that ask for a GPU, one for each of its devices, each replaced by itself when it dies.

A unit is cut into shares of its batches, one for each rank, so that none is idle where there are fewer units than
ranks; what the shares leave is then put together. A death costs the batch at hand: the same batch is tried again as it
was, since another one would give other numbers. A batch that kills twice is taken apart, and an input that did so
becomes a failure.
"""

import tempfile
from collections import Counter, deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from builder.engine import Unit
from builder.errors import RunError
from builder.receipts import Receipt
from builder.runners import worker

DEADLY = 2  # deaths over one batch until it is taken apart, and over one input until it is given up
STILLBORN = 3  # deaths of a rank, one after the other, before it had begun with anything


@dataclass
class Task:
    """A unit, or a share of one, and what is known of the inputs that a rank died over."""

    unit: Unit
    deaths: Counter[str] = field(default_factory=Counter)
    suspects: set[str] = field(default_factory=set)
    condemned: set[str] = field(default_factory=set)

    def blame(self, told: Collection[str]) -> None:
        """A rank died over these inputs."""
        self.deaths.update(told)
        if min(self.deaths[key] for key in told) >= DEADLY:
            (self.condemned if len(told) == 1 else self.suspects).update(told)


class Ranks:
    """`count` processes, started by `start` when they are needed. `batches` tells into how many a unit falls."""

    def __init__(self, count: int, start: Callable[[int], ProcessPoolExecutor], batches: Callable[[Unit], int]) -> None:
        self.count, self.start, self.batches = count, start, batches
        self.pools: dict[int, ProcessPoolExecutor] = {}
        self.flying: dict[Future[Receipt], tuple[int, Task]] = {}
        self.waiting: deque[Task] = deque()
        self.shares: Counter[tuple[str, int]] = Counter()  # of a unit, not made yet
        self.stillborn: Counter[int] = Counter()
        self.folder = tempfile.TemporaryDirectory()

    def fill(self, take: Callable[[], Unit | None]) -> None:
        """Give the ranks that have nothing to do something that `take` gives."""
        busy = {rank for rank, _ in self.flying.values()}
        for rank in sorted(set(range(self.count)) - busy):
            task = self._next(take)
            if task is None:
                return
            self._send(rank, task)

    def collect(self, future: Future[Receipt]) -> Receipt | None:
        """The receipt of a finished unit; None where more is to be done for it.

        Raises:
            RunError: the rank dies whatever it does.
        """
        rank, task = self.flying.pop(future)
        try:
            receipt = future.result()
        except BrokenProcessPool:
            self._replace(rank, task)
            return None
        self.stillborn[rank] = 0
        unit = task.unit
        if unit.of == 1:
            return receipt
        self.shares[unit.table, unit.number] -= 1
        if not self.shares[unit.table, unit.number]:
            self.waiting.appendleft(Task(Unit(unit.table, unit.number, unit.sources)))
        return None

    def close(self) -> None:
        self.flying.clear()
        for rank in list(self.pools):
            worker.stop(self.pools.pop(rank))
        self.folder.cleanup()

    # -- inside
    def _next(self, take: Callable[[], Unit | None]) -> Task | None:
        if not self.waiting and (unit := take()):
            of = min(self.count, self.batches(unit)) if self.count > 1 else 1
            self.shares[unit.table, unit.number] = of
            self.waiting.extend(Task(share) for share in unit.shares(of))
        return self.waiting.popleft() if self.waiting else None

    def _send(self, rank: int, task: Task) -> None:
        if rank not in self.pools:
            self.pools[rank] = self.start(rank)
        marker = self._marker(rank)
        marker.unlink(missing_ok=True)
        given = (task.unit, marker, frozenset(task.suspects), frozenset(task.condemned))
        self.flying[self.pools[rank].submit(worker.make_alone, *given)] = rank, task

    def _replace(self, rank: int, task: Task) -> None:
        worker.stop(self.pools.pop(rank))
        marker = self._marker(rank)
        told = marker.read_text().split("\n") if marker.exists() else []
        if told:
            task.blame(told)
        self.stillborn[rank] = 0 if told else self.stillborn[rank] + 1
        if self.stillborn[rank] == STILLBORN:
            raise RunError(f"{task.unit.table}: rank {rank} keeps dying before it has begun; is memory short?")
        self._send(rank, task)

    def _marker(self, rank: int) -> Path:
        return Path(self.folder.name, f"rank-{rank}")
