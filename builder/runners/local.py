"""The local runner: a pool of worker processes, fed with units as soon as what they are made from is finished.

Stages that ask for a GPU run on ranks (see ranks.py). The death of another worker costs the units in flight; they then
run one at a time, an input that kills its worker twice becomes a failure, and its unit goes on.
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
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

from builder.board import Board
from builder.engine import Unit
from builder.errors import RunError
from builder.media.guard import PRELOAD
from builder.meter import News
from builder.pipeline import Run
from builder.receipts import Receipt
from builder.runners import worker
from builder.runners.ranks import Ranks

QUEUE = 2  # units out per worker: one in hand and one at hand


class LocalRunner:
    """Makes the units of `wanted` tables. `workers` 0 takes the setting, and else one per core.

    `hear` is told, from a thread of its own, what workers tell of units that are not finished.
    """

    def __init__(self, run: Run, workers: int = 0, hear: Callable[[News], None] = lambda news: None) -> None:
        self.run = run
        self.workers = workers or run.settings.workers or os.cpu_count() or 1
        self.pool: ProcessPoolExecutor | None = None
        self.ranks: Ranks | None = None
        self.flying: dict[Future[Receipt], Unit] = {}
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
                if not self._under_way():
                    raise RunError(f"the run cannot go on: {self._missing(wanted)}")
                for receipt in self._collect():
                    board.account(receipt)
                    yield receipt
        finally:
            self._close()
        watch(board)
        board.close()

    def _missing(self, wanted: set[str]) -> str:
        """The first step that has not been run."""
        made = {job.target.name for job in self.run.jobs() if job.target.parts()}
        verbs = [verb for verb, stage in self.run.stages if stage.table not in made | wanted]
        root = self.run.root
        return f"nothing has been made for it yet; run first: osd-build {verbs[0] if verbs else 'run'} {root}"

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while news := self.heard.recv():
                self.hear(news)

    def _submit(self, board: Board) -> None:
        while len(self.flying) < QUEUE * self.workers and (unit := board.take(gpu=False)):
            self.pool = self.pool or self._new_pool(self.workers)
            self.flying[self.pool.submit(worker.make, unit)] = unit
        if board.waits_for_gpu() or self.ranks:
            self.ranks = self.ranks or self._new_ranks(board)
            self.ranks.fill(lambda: board.take(gpu=True))

    def _under_way(self) -> list[Future[Receipt]]:
        return [*self.flying, *(self.ranks.flying if self.ranks else ())]

    def _collect(self) -> Iterator[Receipt]:
        finished, _ = wait(self._under_way(), return_when=FIRST_COMPLETED)
        for future in finished:
            if self.ranks and future in self.ranks.flying:
                if receipt := self.ranks.collect(future):
                    yield receipt
            elif unit := self.flying.pop(future, None):  # else recovered together with another
                try:
                    receipts: Iterator[Receipt] = iter([future.result()])
                except BrokenProcessPool:
                    receipts = self._recover(unit)
                yield from receipts

    # -- after a death
    def _recover(self, unit: Unit) -> Iterator[Receipt]:
        """A worker died and took its pool along. Any unit in flight there may be the cause: run them one at a time."""
        lost = [unit, *self.flying.values()]
        self.flying = {}
        self._stop_pool()
        for suspect in lost:
            yield self._alone(suspect)

    def _alone(self, unit: Unit) -> Receipt:
        """Run one unit by itself, closing in on the input that kills the worker."""
        suspects: frozenset[str] = frozenset()
        deaths: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as folder:
            marker = Path(folder) / "marker"
            while True:
                condemned = frozenset(key for key, count in deaths.items() if count > 1)
                marker.unlink(missing_ok=True)
                pool = self._new_pool(1)
                with suppress(BrokenProcessPool):
                    try:
                        return pool.submit(worker.make_alone, unit, marker, suspects, condemned).result()
                    finally:
                        worker.stop(pool)
                told = frozenset(marker.read_text().split("\n")) if marker.exists() else frozenset()
                if not told or (len(told) > 1 and told <= suspects):
                    raise RunError(f"{unit.table}: the worker of part {unit.number} keeps dying; is memory short?")
                deaths.update(told if len(told) == 1 else ())
                suspects |= told

    # -- processes
    def _new_pool(self, workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(workers, self.context, worker.start, (self.run, self.held, self.news))

    def _new_ranks(self, board: Board) -> Ranks:
        from builder.runners.multi_gpu import accelerators  # imports torch: only when a GPU stage has something to do

        each, there = board.gpus(), accelerators()
        count = self.run.settings.ranks or max(1, there // each)

        def start(rank: int) -> ProcessPoolExecutor:
            given = (self.run, self.held, self.news, (rank, there, each))
            return ProcessPoolExecutor(1, self.context, worker.start, given)

        return Ranks(count, start, lambda unit: board.jobs[unit.table].batches(unit.number))

    def _stop_pool(self) -> None:
        if self.pool:
            worker.stop(self.pool)
        self.pool = None

    def _close(self) -> None:
        """Stop all workers at once: what they had in hand is redone, what they finished is on disk."""
        self.news.send(None)  # the listener's last
        self.flying.clear()
        self._stop_pool()
        if self.ranks:
            self.ranks.close()


@contextmanager
def interrupts_held() -> Iterator[None]:
    """What is started meanwhile never hears Ctrl-C: it is this process's to handle."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
