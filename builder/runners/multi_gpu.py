"""GPU stages: ranks with one device each, found by accelerate.

On one node `osd-build` starts the ranks itself (see local.py: units are handed out, a dead rank is replaced). Over
several nodes `accelerate launch -m builder.cli caption RUN` starts them: each rank then takes a fixed slice of ALL
units and skips the finished ones, so ranks need to agree on nothing while they work.
"""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from builder.board import Board
from builder.engine import Unit
from builder.errors import RunError
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


def claim(rank: int, of: int) -> str:
    """Make device `rank` of `of` the only one this process sees (before CUDA starts); name it as accelerate does."""
    from importlib.util import find_spec

    if find_spec("accelerate") is None:
        return "cpu"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    chosen = visible.split(",") if visible else [str(n) for n in range(of)]
    os.environ["CUDA_VISIBLE_DEVICES"] = chosen[rank % len(chosen)]
    return str(partial_state().device)


def launched() -> bool:
    """Whether `accelerate launch` (or torchrun) started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


class LaunchedRunner:
    """This process's slice of every stage, in order; a barrier after each, since slices of the next read all parts."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __call__(self, wanted: set[str]) -> Iterator[Receipt]:
        """Yield a receipt per unit that this rank made."""
        one_thread()
        state = partial_state()
        worker = Worker(self.run, str(state.device))
        with worker.closing:
            for table in [name for name in worker.jobs if name in wanted]:
                board = Board(list(worker.jobs.values()), set(wanted))
                for unit in slice_of(board, table, state.process_index, state.num_processes):
                    yield worker.make(unit)
                state.wait_for_everyone()
            if state.is_main_process:
                Board(list(worker.jobs.values()), set(wanted)).close()


def slice_of(board: Board, table: str, rank: int, world: int) -> list[Unit]:
    """Unfinished units among rank, rank + world, rank + 2 world ... of all.

    The slice is taken over all units before the finished ones are skipped: a slice of the unfinished ones would shift
    while other ranks finish theirs, and units would fall between two ranks.
    """
    board.prepare(table)
    return [unit for unit in board.ready[table] if unit.number % world == rank]


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
