"""The local runner: a pool of worker processes, fed with units as soon as what they are made from is finished.

Stages that ask for a GPU run in a second pool, one process per rank. The death of a worker costs the units in flight;
they then run one at a time, an input that kills its worker twice becomes a failure, and its unit goes on.
"""

import multiprocessing
import os
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import cached_property
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from builder.board import Board
from builder.engine import Unit
from builder.errors import RunError
from builder.media.guard import PRELOAD
from builder.meter import News
from builder.pipeline import Run
from builder.receipts import Receipt
from builder.runners import worker

QUEUE = 2  # units out per worker: one in hand and one at hand


class LocalRunner:
    """Makes the units of `wanted` tables. `workers` 0 takes the setting, and else one per core.

    `hear` is told, from a thread of its own, what workers tell of units that are not finished.
    """

    def __init__(self, run: Run, workers: int = 0, hear: Callable[[News], None] = lambda news: None) -> None:
        self.run = run
        self.workers = workers or run.settings.workers or os.cpu_count() or 1
        self.pools: dict[bool, ProcessPoolExecutor] = {}
        self.flying: dict[Future[Receipt], tuple[Unit, bool]] = {}
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOAD)  # workers and their guarded decoders share one fork server
        resource_tracker.ensure_running()  # to start it, it lets interrupts in again
        with interrupts_held():
            forkserver.ensure_running()
        self.held, self.life = self.context.Pipe(duplex=False)  # workers leave when `life` is closed
        # A pipe and no queue: news are short enough to be written in one piece, so no worker dies holding a lock.
        self.heard, self.news = self.context.Pipe(duplex=False)
        self.hear = hear

    def __call__(self, wanted: set[str], watch: Callable[[Board], None] = lambda board: None) -> Iterator[Receipt]:
        """Yield a receipt per unit made; units that are up to date are passed over. `watch` sees every change.

        Raises:
            RunError: a unit cannot be made at all; everything finished is kept.
        """
        jobs = self.run.jobs()
        board = Board(jobs, wanted)
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            while not board.finished():
                self._submit(board)
                watch(board)
                if not self.flying:
                    raise RunError("the run cannot go on: no unit is ready; an earlier step has not been run")
                for receipt in self._collect(board):
                    board.account(receipt)
                    yield receipt
        finally:
            self._close()
        watch(board)
        board.close()

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while news := self.heard.recv():
                self.hear(news)

    def _submit(self, board: Board) -> None:
        for gpu in (False, True):
            while self._has_room(gpu) and (unit := board.take(gpu)):
                self.flying[self._pool(gpu).submit(worker.make, unit)] = (unit, gpu)

    def _has_room(self, gpu: bool) -> bool:
        out = sum(g == gpu for _, g in self.flying.values())
        return out == 0 or out < QUEUE * (self._ranks if gpu else self.workers)

    def _collect(self, board: Board) -> Iterator[Receipt]:
        finished, _ = wait(self.flying, return_when=FIRST_COMPLETED)
        for future in finished:
            if future not in self.flying:
                continue  # recovered together with another
            unit, gpu = self.flying.pop(future)
            try:
                receipts: Iterator[Receipt] = iter([future.result()])
            except BrokenProcessPool:
                receipts = self._recover(unit, gpu)
            yield from receipts

    # -- after a death
    def _recover(self, unit: Unit, gpu: bool) -> Iterator[Receipt]:
        """A worker died and took its pool along. Any unit in flight there may be the cause: run them one at a time."""
        lost = [unit, *(u for u, g in self.flying.values() if g == gpu)]
        self.flying = {f: (u, g) for f, (u, g) in self.flying.items() if g != gpu}
        stop(self.pools.pop(gpu))
        for suspect in lost:
            yield self._alone(suspect, gpu)

    def _alone(self, unit: Unit, gpu: bool) -> Receipt:
        """Run one unit by itself, closing in on the input that kills the worker."""
        suspects: frozenset[str] = frozenset()
        deaths: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as folder:
            marker = Path(folder) / "marker"
            while True:
                condemned = frozenset(key for key, count in deaths.items() if count > 1)
                marker.unlink(missing_ok=True)
                pool = self._new_pool(gpu, 1)
                with suppress(BrokenProcessPool):
                    try:
                        return pool.submit(worker.make_alone, unit, marker, suspects, condemned).result()
                    finally:
                        stop(pool)
                told = frozenset(marker.read_text().split("\n")) if marker.exists() else frozenset()
                if not told or (len(told) > 1 and told <= suspects):
                    raise RunError(f"{unit.table}: the worker of part {unit.number} keeps dying; is memory short?")
                deaths.update(told if len(told) == 1 else ())
                suspects |= told

    # -- pools
    @cached_property
    def _ranks(self) -> int:
        from builder.runners.multi_gpu import devices  # imports torch: only when a GPU stage has something to do

        return self.run.settings.ranks or devices()

    def _pool(self, gpu: bool) -> ProcessPoolExecutor:
        if gpu not in self.pools:
            self.pools[gpu] = self._new_pool(gpu, self._ranks if gpu else self.workers)
        return self.pools[gpu]

    def _new_pool(self, gpu: bool, workers: int) -> ProcessPoolExecutor:
        ranks = queue_of(self.context, workers) if gpu else None
        return ProcessPoolExecutor(workers, self.context, worker.start, (self.run, self.held, self.news, ranks))

    def _close(self) -> None:
        """Stop all workers at once: what they had in hand is redone, what they finished is on disk."""
        self.news.send(None)  # the listener's last
        self.flying.clear()
        for gpu in list(self.pools):
            stop(self.pools.pop(gpu))


@contextmanager
def interrupts_held() -> Iterator[None]:
    """What is started meanwhile never hears Ctrl-C: it is this process's to handle."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def queue_of(context: ForkServerContext, ranks: int) -> Any:
    """Each worker takes one: its rank and the number of devices."""
    from builder.runners.multi_gpu import devices

    queue, of = context.Queue(), devices()
    for rank in range(ranks):
        queue.put((rank, of))
    return queue


def stop(pool: ProcessPoolExecutor) -> None:
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()
