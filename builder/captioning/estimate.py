"""What `osd-build caption RUN --estimate` does: a few batches with the real engine, and how long the rest is."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from builder.captions import Choice, chosen, items_of, kept_clips
from builder.engine import Job
from builder.errors import RunError
from builder.figures import as_count, as_duration, as_number
from builder.layout import bucket
from builder.loose_videos import device_for
from builder.pipeline import Run
from builder.records import Caption, Failure
from builder.stage import Item
from builder.stages.caption import Captioner

BATCHES = 3  # measured, after one that is not: memory is laid out, kernels are compiled and files are opened then
LEAST = 12  # clips that are measured if there are, where batches are small


@dataclass(frozen=True)
class Estimate:
    """One captioner. Clips and tokens are those of the measured batches, `at_once` how many ranks of `gpus` each, or
    workers, are at it side by side."""

    captioner: str
    left: int
    kept: int
    device: str
    at_once: int
    clips: int = 0
    tokens: int = 0
    failed: int = 0
    batches: int = 0
    warm: bool = True
    wall_s: float = 0.0
    gpus: int = 1

    @property
    def clips_per_s(self) -> float:
        """Of one rank or worker."""
        return self.clips / self.wall_s if self.wall_s else 0.0

    def to_text(self) -> str:
        head = f"{self.captioner}: {as_count(self.left)} of {as_count(self.kept)} kept clips are left to caption"
        if not self.clips:
            return head
        where = "no GPU" if self.device == "cpu" else "one GPU" if self.gpus == 1 else f"{self.gpus} GPUs"
        cold = "" if self.warm else ", the first among them: a warm engine is faster"
        lost = f", {self.failed} of them no caption" if self.failed else ""
        tokens = f", {as_number(self.tokens / self.wall_s)} tokens/s" if self.tokens else ""
        speed = f"{as_number(self.clips_per_s)} clips/s{tokens}"
        seconds = self.left / self.clips_per_s
        return "\n".join(
            [
                head,
                f"  measured: {self.clips} clips in {self.batches} batches, {where}{cold}{lost}",
                f"  {speed}, {self.at_once} at once",
                f"  the rest: {as_duration(seconds / self.at_once)}{self._gpu_hours(seconds)}",
            ]
        )

    def _gpu_hours(self, seconds: float) -> str:
        return "" if self.device == "cpu" else f", {as_number(seconds * self.gpus / 3600)} GPU-hours"


def estimates(folder: Path, choice: Choice) -> Iterator[Estimate]:
    """One for each captioner that is meant. What is measured is not kept, and no table is written.

    Raises:
        RunError: no clip is kept, or none of those left can be asked about.
    """
    run, captioners = chosen(folder, choice)
    kept = kept_clips(run)
    jobs = {job.target.name: job for job in run.jobs()}
    for captioner in captioners:
        job = jobs[captioner.table]
        answered = set(answers(job))
        yield measured(run, job, [key for key in kept if key not in answered], len(kept))


def answers(job: Job) -> Iterator[str]:
    """The ids of the inputs that have an answer of this very captioner; a failure is one too. Reads few rows."""
    mine, table = job.stage.fingerprint(), job.target
    stamps = table.stamps()
    for number in range(job.units() or 0):
        if table.pieces(number):
            yield from (key for key, (stage, _) in table.saved(number).items() if stage == mine)
        elif number in stamps and stamps[number].stage == mine:
            yield from (key for key, _, _ in table.outcomes(number))


def measured(run: Run, job: Job, left: Sequence[str], kept: int) -> Estimate:
    captioner = job.stage
    if not isinstance(captioner, Captioner):
        raise AssertionError(f"{captioner.table} is no captioner")
    device = device_for([captioner])
    at_once = side_by_side(run, captioner)
    if not left:
        return Estimate(captioner.label, 0, kept, device, at_once)
    batches = list(batches_of(job, left))
    if not batches:
        first = "caption" if captioner.rewrites else "filter"
        raise RunError(
            f"none of the {len(left)} clips left for {captioner.table} has its inputs; run first: osd-build {first}"
        )
    warm = len(batches) > 1
    context = run.context(device)
    with captioner.opened(context):
        if warm:
            captioner.batch(batches[0])
        start = time.monotonic()
        said = [answer for batch in batches[int(warm) :] for answer in captioner.batch(batch)]
        wall_s = time.monotonic() - start
    context.close()
    rows = [row for answer in said if not isinstance(answer, Failure) for row in answer]
    tokens = sum(row.tokens for row in rows if isinstance(row, Caption))
    counts = {"clips": len(said), "tokens": tokens, "failed": len(said) - len(rows)}
    each = {"gpus": math.ceil(captioner.needs.gpus) or 1}
    shape = {"batches": len(batches) - int(warm), "warm": warm, "wall_s": wall_s}
    return Estimate(captioner.label, len(left), kept, device, at_once, **counts, **shape, **each)  # type: ignore[arg-type]


def batches_of(job: Job, left: Sequence[str]) -> Iterator[list[Item[Any]]]:
    """Batches of clips that are left, each of another unit where there are so many, as a run would cut them."""
    size, units = job.stage.batch_size, job.units() or 1
    rewrites = job.stage.rewrites if isinstance(job.stage, Captioner) else ()
    by_unit: dict[int, list[str]] = {}
    for key in left:
        by_unit.setdefault(bucket(key, units), []).append(key)
    starts = ((unit, at) for at in range(0, len(left), size) for unit in by_unit if at < len(by_unit[unit]))
    for unit, at in islice(starts, 1 + max(BATCHES, -(-LEAST // size))):
        items = items_of(job, by_unit[unit][at : at + size])
        items = [item for item in items if all(table in item.joined for table in rewrites)]  # others fail at once
        if items:
            yield items


def side_by_side(run: Run, captioner: Captioner) -> int:
    """How many a run would start: ranks of what wants a GPU, workers of the rest."""
    if captioner.needs.gpus:
        from builder.runners.multi_gpu import devices

        return run.settings.ranks or max(1, devices() // math.ceil(captioner.needs.gpus))
    if hasattr(captioner, "concurrency"):
        return 1  # of a server: all workers share its answers
    import os

    return run.settings.workers or os.cpu_count() or 1
