"""GPU stages: ranks with one device each, found by accelerate.

On one node `osd-build` starts the ranks itself (see ranks.py: shares are handed out, a dead rank is replaced). Over
several nodes `accelerate launch -m builder.cli caption RUN` starts them: each rank then takes fixed shares of ALL units
and skips what is answered, so ranks need to agree on nothing while they work. When one dies, all are ended; a launch
of any number of ranks goes on with what they left.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from builder.board import Board
from builder.engine import Job, Unit
from builder.errors import ConfigError, RunError
from builder.meter import Meter, News
from builder.pipeline import Run
from builder.receipts import Receipt
from builder.runners.worker import Worker, one_thread

PATIENCE = timedelta(days=30)  # a rank whose slice was short waits for the others; the default gives up after minutes


VISIBLE = "CUDA_VISIBLE_DEVICES"


def devices() -> int:
    """How many devices what asks for a GPU gets here: without GPUs it runs (slowly) on the CPU, which is one."""
    return max(1, accelerators())


def accelerators() -> int:
    """How many GPUs may be used, or 1 where accelerate would find a device of another kind; 0: there is a CPU only."""
    try:
        import torch
    except ImportError:
        return 0
    return gpus() or int(torch.accelerator.is_available())


def gpus() -> int:
    """How many GPUs of this node may be used."""
    try:
        import torch
    except ImportError:
        return 0
    return min(torch.cuda.device_count(), len(visible(torch.cuda.device_count())))


def visible(of: int) -> list[str]:
    """Names of the GPUs that may be used, of `of`: as the environment has them, else all."""
    named = os.environ.get(VISIBLE)
    return [str(n) for n in range(of)] if named is None else [name for name in named.split(",") if name.strip()]


def on_gpus(wanted: str) -> list[str]:
    """What `--gpus` means: `all`, how many, or which of those there are ("0,2"; "1," is one). The settings for that;
    from now on this process and its children see no other GPUs. Without any GPU so many ranks run on the CPU.

    Raises:
        ConfigError: it is none of these, or asks for GPUs that are not there.
    """
    if not wanted:
        return []
    if launched():
        raise ConfigError("--gpus: accelerate launch has started the ranks; give it --num_processes instead")
    there = gpus()
    numbers = [part.strip() for part in wanted.split(",") if part.strip()]
    if wanted != "all" and not (numbers and all(number.isdecimal() for number in numbers)):
        raise ConfigError(f"--gpus {wanted}: write all, how many (2), or which (0,2)")
    if wanted != "all" and "," not in wanted:
        return count_of(int(wanted), there)
    if wanted != "all":
        return which(sorted({int(number) for number in numbers}), there)
    if not there:
        note("no GPU was found here; what asks for one runs on the CPU, on one rank")
    return ["run.ranks=0"]


def count_of(count: int, there: int) -> list[str]:
    if not count:
        raise ConfigError('--gpus 0: how many is at least 1; the first GPU alone is "0,"')
    if not there:
        note(f"no GPU was found here; what asks for one runs on the CPU, on {count} rank{'s' if count > 1 else ''}")
        return [f"run.ranks={count}"]
    if count > there:
        raise ConfigError(f"--gpus {count}: there {'are' if there > 1 else 'is'} {there} here")
    return which(list(range(count)), there)


def which(numbers: Sequence[int], there: int) -> list[str]:
    if missing := [number for number in numbers if number >= there]:
        last = f"they are 0 to {there - 1}" if there else "there is none"
        raise ConfigError(f"--gpus: there is no GPU {missing[0]} here; {last}")
    names = visible(there)
    os.environ[VISIBLE] = ",".join(names[number] for number in numbers)
    return ["run.ranks=0"]


def note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)  # noqa: T201


def claim(rank: int, of: int, each: int) -> str:
    """Make `each` of `of` devices the only ones this process sees (before CUDA starts), those of its rank; the name of
    the first, as accelerate gives it."""
    from importlib.util import find_spec

    if not of or find_spec("accelerate") is None:
        return "cpu"
    chosen = visible(of) or [""]
    mine = [chosen[(rank * each + n) % len(chosen)] for n in range(min(each, len(chosen)))]
    os.environ[VISIBLE] = ",".join(mine)
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
