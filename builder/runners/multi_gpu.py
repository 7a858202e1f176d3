"""GPU stages: ranks with one device each, found by accelerate.

On one node `osd-build` starts the ranks itself (see ranks.py: shares are handed out, a dead rank is replaced). Over
several nodes `accelerate launch -m builder.cli caption RUN` starts them: each rank then takes fixed shares of ALL units
and skips what is answered, so ranks need to agree on nothing while they work. When one dies, all are ended; a launch
of any number of ranks goes on with what they left.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from builder.board import Board
from builder.engine import Job, Unit
from builder.errors import RunError
from builder.meter import Meter, News
from builder.pipeline import Run
from builder.receipts import Receipt
from builder.runners.worker import Worker, one_thread

PATIENCE = timedelta(days=30)  # a rank whose slice was short waits for the others; the default gives up after minutes


def devices() -> int:
    """How many accelerators this node has; 1 without any, so that GPU stages still run (slowly) on the CPU."""
    try:
        import torch
    except ImportError:
        return 1
    return max(1, torch.cuda.device_count())


def claim(rank: int, of: int, each: int) -> str:
    """Make `each` of `of` devices the only ones this process sees (before CUDA starts), those of its rank; the name of
    the first, as accelerate gives it."""
    from importlib.util import find_spec

    if find_spec("accelerate") is None:
        return "cpu"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    chosen = visible.split(",") if visible else [str(n) for n in range(of)]
    mine = [chosen[(rank * each + n) % len(chosen)] for n in range(min(each, len(chosen)))]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    return str(partial_state().device)


def launched() -> bool:
    """Whether `accelerate launch` (or torchrun) started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


class LaunchedRunner:
    """This process's share of every stage, in order; a barrier after each, since the next reads all parts.

    `hear` is told what happens here inside of units.
    """

    def __init__(self, run: Run, hear: Callable[[News], None] = lambda news: None) -> None:
        self.run, self.hear = run, hear

    def __call__(self, wanted: set[str]) -> Iterator[Receipt]:
        """Yield a receipt per unit that this rank made, or put together."""
        one_thread()
        state = partial_state()
        rank, world = state.process_index, state.num_processes
        worker = Worker(self.run, str(state.device), Meter(self.hear, f"rank {rank}"))
        with worker.closing:
            for table in [name for name in worker.jobs if name in wanted]:
                board = Board(list(worker.jobs.values()), set(wanted))
                board.prepare(table)
                units = list(board.ready[table])
                state.wait_for_everyone()  # all have seen the same units as unfinished
                if board.jobs[table].stage.needs.gpus:
                    for share in shares_of(board.jobs[table], units, rank, world):
                        worker.make(share)
                    state.wait_for_everyone()
                for unit in slice_of(units, rank, world):
                    yield worker.make(unit)
                state.wait_for_everyone()
            if state.is_main_process:
                Board(list(worker.jobs.values()), set(wanted)).close()


def slice_of(units: Sequence[Unit], rank: int, world: int) -> list[Unit]:
    """Of unfinished units those that are rank, rank + world, rank + 2 world ... of all.

    The slice is taken over all units before the finished ones are skipped: a slice of the unfinished ones would shift
    while other ranks finish theirs, and units would fall between two ranks.
    """
    return [unit for unit in units if unit.number % world == rank]


def shares_of(job: Job, units: Sequence[Unit], rank: int, world: int) -> list[Unit]:
    """This rank's shares of unfinished units: of all their batches, so that what is answered of them shifts none."""
    return [unit.shares(world)[rank] for unit in units if world > 1 and job.batches(unit.number) > 1]


def partial_state() -> Any:
    """accelerate's view of this process: its rank, how many there are, its device.

    Raises:
        RunError: accelerate joined fewer processes than were launched; each would then do all the work.
    """
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    none = not torch.accelerator.is_available()  # without `cpu=True` accelerate then ignores the other processes
    cpu = none or bool(parse_flag_from_env("ACCELERATE_USE_CPU"))
    state = PartialState(cpu=cpu, **({"timeout": PATIENCE} if "WORLD_SIZE" in os.environ else {}))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if state.num_processes != world:
        raise RunError(
            f"{world} processes were launched but accelerate joined {state.num_processes}; see `accelerate env`"
        )
    return state
