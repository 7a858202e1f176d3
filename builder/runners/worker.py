"""Inside a worker process: it builds the jobs of the run once, keeps stages open (models loaded), and makes units."""

import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from builder.engine import Caution, Unit
from builder.meter import Meter
from builder.pipeline import Run
from builder.receipts import Receipt


@dataclass
class Worker:
    """What one process holds."""

    run: Run
    device: str = "cpu"
    meter: Meter = field(default_factory=Meter)
    opened: set[str] = field(default_factory=set)
    closing: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.jobs = {job.target.name: job for job in self.run.jobs()}
        self.context = self.run.context(self.device, self.meter)
        self.closing.callback(self.context.close)

    def make(self, unit: Unit, caution: Caution | None = None) -> Receipt:
        job = self.jobs[unit.table]
        if unit.table not in self.opened:
            self.closing.enter_context(job.stage.opened(self.context))
            self.opened.add(unit.table)
        receipt = job.run(unit, caution)
        self.meter.flush_talk()
        return receipt


_worker: Worker


def start(run: Run, held: Connection, news: Connection, rank: tuple[int, int, int] | None = None) -> None:
    """Process initialiser; a rank is given its number, how many devices there are, and how many of them it gets.

    One thread per library: workers are the parallelism, and sums never change their order.
    """
    global _worker  # noqa: PLW0603 (a pool process has no other place for what it has loaded)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=leave_with_parent, args=(held,), daemon=True).start()
    one_thread()
    device, who = "cpu", ""
    if rank is not None:
        from builder.runners.multi_gpu import claim

        device, who = claim(*rank), f"rank {rank[0]}"
    _worker = Worker(run, device, Meter(news.send, who))


def leave_with_parent(held: Connection) -> None:
    """The parent keeps the other end open as long as it lives; when it is killed, nobody waits for this process."""
    with suppress(EOFError, OSError):
        held.recv_bytes()
    os._exit(1)


def make(unit: Unit) -> Receipt:
    return _worker.make(unit)


def make_alone(unit: Unit, marker: Path, suspects: frozenset[str], condemned: frozenset[str]) -> Receipt:
    """As `make`, writing the ids at hand to `marker`, so that the parent knows them if this process dies."""

    def tell(ids: Sequence[str]) -> None:
        marker.write_text("\n".join(ids))

    return _worker.make(unit, Caution(tell, suspects, condemned, flush_s=0.0))


def stop(pool: ProcessPoolExecutor) -> None:
    """End its processes at once; what they had in hand is lost."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


def one_thread() -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[name] = "1"
