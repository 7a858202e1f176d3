"""The board: which units can be made now. Runners take units from it and tell it what came of them.

A unit is ready when all the parts it is made from are done, and done when its own part says so; both are known from
stamps, without reading a row. Each unit counts the parts it still waits for, so the work is one step per finished part.
"""

import math
from collections import deque
from collections.abc import Sequence

from builder.engine import Job, Unit
from builder.errors import RunError
from builder.layout import covering
from builder.receipts import Receipt
from builder.table import Stamp


class Board:
    """The jobs that write the tables `wanted`, to be made, and those before them, which must be up to date."""

    def __init__(self, jobs: Sequence[Job], wanted: set[str]) -> None:
        self.jobs = upstream(jobs, wanted)
        self.wanted = wanted
        self.stamps: dict[str, dict[int, Stamp]] = {}
        self.done: dict[str, set[int]] = {name: set() for name in self.jobs}
        self.waiting: dict[str, dict[int, int]] = {}  # table -> unit -> how many parts it waits for
        self.ready: dict[str, deque[Unit]] = {name: deque() for name in self.jobs}
        self.prepared: set[str] = set()
        self.readers: dict[str, list[Job]] = {name: [] for name in self.jobs}
        for job in self.jobs.values():
            job.layout.seen = {}
            for table in (job.main, job.target):
                self.stamps.setdefault(table.name, table.stamps())
            for name in job.reads():
                self.readers.setdefault(name, []).append(job)
        for name in self.stamps.keys() - self.jobs.keys():
            self.done[name] = set(self.stamps[name])
        self._open()

    def take(self, gpu: bool) -> Unit | None:
        """A unit to make, of a stage that asks for a GPU or of one that does not; later stages first."""
        for name, queue in reversed(self.ready.items()):
            if queue and (self.jobs[name].stage.needs.gpus > 0) == gpu:
                self.prepare(name)
                return queue.popleft()
        return None

    def waits_for_gpu(self) -> bool:
        """Whether a unit that asks for a GPU can be made now."""
        return any(queue and self.jobs[name].stage.needs.gpus for name, queue in self.ready.items())

    def gpus(self) -> int:
        """How many GPUs a process needs for the most demanding of the stages that are wanted."""
        return max([1, *(math.ceil(self.jobs[name].stage.needs.gpus) for name in self.wanted)])

    def prepare(self, name: str) -> None:
        """Before a table's first unit is made: carry over what parts of an outgrown cut hold."""
        job = self.jobs[name]
        if name not in self.prepared and not (job.stage.whole or job.stage.atomic):
            job.target.recut(job.units() or 1)
        self.prepared.add(name)

    def account(self, receipt: Receipt) -> None:
        """A unit is finished."""
        self.stamps[receipt.table] |= receipt.stamps
        self._settle(self.jobs[receipt.table], receipt.number)

    def finished(self) -> bool:
        return all(self._left(name) == 0 for name in self.wanted)

    def close(self) -> None:
        """All that was wanted is made: leave its tables tidy."""
        for name in self.wanted:
            job = self.jobs[name]
            job.target.close(job.layout.parts(job.stage.grain) or 1)

    def progress(self) -> dict[str, tuple[int, int | None]]:
        """Finished units and all units, by wanted table."""
        known = {name: job.units() for name, job in self.jobs.items() if name in self.wanted}
        return {n: ((units or 0) - self._left(n) if n in self.waiting else 0, units) for n, units in known.items()}

    def _left(self, name: str) -> int:
        """Units not finished; -1 while their number is unknown."""
        if name not in self.waiting:
            return -1
        job = self.jobs[name]
        return int(not self.done[name]) if job.stage.whole else len(self.waiting[name]) - len(self.done[name])

    def _open(self) -> None:
        """Set up the jobs whose number of units has become known, and can no longer change."""
        for name, job in self.jobs.items():
            total = job.units()
            if name in self.waiting or total is None or job.needs(0) is None or self._undecided(job):
                continue
            self.waiting[name] = {}
            for n in range(total):
                needs = job.needs(n) or {}
                missing = sum(part not in self.done[table] for table, parts in needs.items() for part in parts)
                self.waiting[name][n] = missing
            for n, missing in list(self.waiting[name].items()):
                if missing == 0:
                    self._arrive(job, n)

    def _undecided(self, job: Job) -> bool:
        """Whether a stage still to be made may cut this job's tables, or those it reads, into other parts."""
        open_grains = {g for j in self.jobs.values() if not self.done[j.target.name] for g in j.stage.decides}
        own = set() if job.stage.whole else {job.stage.grain}
        return bool(open_grains & (own | {job.grains[name] for name in job.reads()}))

    def _arrive(self, job: Job, n: int) -> None:
        """Everything unit n is made from is there: it is done already, or it can be made."""
        name = job.target.name
        unit = job.unit(n, self.stamps)
        if job.done(unit, self.stamps[name]):
            self._settle(job, n)
        elif name in self.wanted:
            self.ready[name].append(unit)
        else:
            raise RunError(
                f"the table {name} is not up to date; run the earlier steps first (`osd-build run RUN` does all)"
            )

    def _settle(self, job: Job, n: int) -> None:
        """Unit n is done: whoever waits for its parts waits for fewer."""
        name = job.target.name
        if job.stage.whole:
            job.layout.seen = {}  # it may have decided anew
        parts = range(job.layout.parts(job.stage.grain) or 1) if job.stage.whole else range(n, n + 1)
        fresh = [part for part in parts if part not in self.done[name]]
        self.done[name].update(fresh)
        for reader in self.readers[name]:
            if reader.target.name in self.waiting:
                for part in fresh:
                    self._shorten(reader, name, part)
        if job.stage.whole:
            self._open()

    def _shorten(self, reader: Job, table: str, part: int) -> None:
        counts = self.waiting[reader.target.name]
        parts = reader.layout.parts(reader.grains[table]) or 1
        for n in [0] if reader.stage.whole else covering(part, parts, len(counts)):
            counts[n] -= 1
            if counts[n] == 0:
                self._arrive(reader, n)


def upstream(jobs: Sequence[Job], wanted: set[str]) -> dict[str, Job]:
    """The jobs that make the tables wanted, or what those are made from, by table, in order."""
    needed = set(wanted)
    for job in reversed(jobs):
        if job.target.name in needed:
            needed |= {job.main.name, *job.sides}
    return {job.target.name: job for job in jobs if job.target.name in needed}
