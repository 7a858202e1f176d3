"""A small pipeline of the real kinds of stages, whose work is counted: words -> spelled -> letters -> kept -> counted.

`Spell` is whole and decides the parts, `Letters` makes many rows of one, `Keep` is a query, `Weigh` is paid for
(batched), `Bundle` writes one file a unit, as packing does.
"""

import hashlib
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from builder.board import Board
from builder.config import RunSettings
from builder.engine import Job
from builder.errors import Filtered, ItemError
from builder.layout import Layout
from builder.meter import Meter
from builder.query import Inputs, Query
from builder.receipts import Receipt
from builder.records import Failure, Record, Verdict
from builder.stage import Context, Item, Resources, Stage, execution, settings
from builder.stages.find import SourceSpec
from builder.storage import Storage
from builder.table import Answer, Stamp, Table

WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi x badger bad y"
FEW = "beta delta xi bad y"


def hexed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Word(Record):
    KEY: ClassVar[str] = "word_id"
    word_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Letter(Record):
    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    word_id: str
    letter: str


@dataclass(frozen=True, slots=True)
class Weight(Record):
    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    grams: float
    label: str = ""


@settings
class Spell(Stage[SourceSpec, Word]):
    """One source's settings are its words; doubles are left out."""

    name: ClassVar[str] = "spell"
    reads: ClassVar[str] = "sources"
    writes: ClassVar[type[Word]] = Word
    grain: ClassVar[str] = "video"
    whole: ClassVar[bool] = True
    decides: ClassVar[tuple[str, ...]] = ("video", "clip")

    video_parts: int = 4
    clip_parts: int = 2

    def each(self, item: Item[SourceSpec]) -> Sequence[Word]:
        return [Word(hexed(w), w) for w in sorted(set(item.row.settings.split()))]

    def parts(self, rows: Sequence[Word]) -> Mapping[str, int]:
        return {"video": self.video_parts, "clip": self.clip_parts}


@settings
class Letters(Stage[Word, Letter]):
    name: ClassVar[str] = "letters"
    reads: ClassVar[str] = "spell"
    writes: ClassVar[type[Letter]] = Letter
    grain: ClassVar[str] = "clip"

    most: int = 100
    pause_s: float = execution(default=0.0)

    def each(self, item: Item[Word]) -> Sequence[Letter]:
        word = item.row
        if word.text.startswith("bad"):
            raise ItemError("bad", f"{word.text} cannot be spelled")
        if len(word.text) < 2:
            raise Filtered("short", f"{word.text} has one letter")
        return [Letter(f"{word.word_id}-{n:03d}", word.word_id, c) for n, c in enumerate(word.text[: self.most])]


@settings
class Keep(Query[Letter, Verdict]):
    name: ClassVar[str] = "keep"
    reads: ClassVar[str] = "letters"
    writes: ClassVar[type[Verdict]] = Verdict
    grain: ClassVar[str] = "clip"

    least: str = "a"

    def query(self, inputs: Inputs) -> pl.DataFrame:
        kept = pl.col("letter") >= self.least
        reason = pl.format("letter {} < {}", "letter", pl.lit(self.least))
        failed = pl.when(kept).then(pl.lit([], pl.List(pl.String))).otherwise(pl.concat_list(reason))
        return inputs.frame("letters").sort("clip_id").select("clip_id", kept=kept, failed=failed).collect()


@settings
class Weigh(Stage[Verdict, Weight]):
    """Paid for: every computed id is appended to the file `log`. Some letters kill the worker, or fail; those in the
    file `fatal` kill it once, as the file is then removed."""

    name: ClassVar[str] = "weigh"
    reads: ClassVar[str] = "keep"
    writes: ClassVar[type[Weight]] = Weight
    grain: ClassVar[str] = "clip"

    unit: str = "g"
    size: int = execution(default=3)
    log: str = execution(default="")
    deadly: str = execution(default="")
    fatal: str = execution(default="")
    flush_s: ClassVar[float] = 0.0
    gpus: float = execution(default=0.0)

    @property
    def needs(self) -> Resources:  # type: ignore[override]
        return Resources(gpus=self.gpus)

    @property
    def joins(self) -> tuple[str, ...]:
        return ("letters", "spell")

    @property
    def batch_size(self) -> int:
        return self.size

    def batch(self, items: Sequence[Item[Verdict]]) -> list[Sequence[Weight] | Failure]:
        for item in items:
            letter, fatal = item.get(Letter).letter, Path(self.fatal) if self.fatal else None
            if letter in self.deadly or (fatal and fatal.exists() and letter in fatal.read_text()):
                if fatal:
                    fatal.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        if self.log:
            with Path(self.log).open("a") as log:
                log.writelines(f"{item.id}\n" for item in items)
        return [self.answer(item.id, lambda item=item: [self.weigh(item)]) for item in items]  # type: ignore[misc]

    def weigh(self, item: Item[Verdict]) -> Weight:
        letter = item.get(Letter).letter
        if letter == "x":
            raise ItemError("no_scale", f"{item.id} cannot be weighed", retryable=True)
        return Weight(item.id, float(ord(letter)), f"{item.get(Word).text} {self.unit}")


@settings
class Bundle(Stage[Weight, Weight]):
    """One file a unit, rewritten as a whole when anything in it changes."""

    name: ClassVar[str] = "bundle"
    reads: ClassVar[str] = "weigh"
    writes: ClassVar[type[Weight]] = Weight
    grain: ClassVar[str] = "clip"
    atomic: ClassVar[bool] = True

    log: str = execution(default="")

    def batch(self, items: Sequence[Item[Weight]]) -> list[Sequence[Weight] | Failure]:
        if self.log:
            with Path(self.log).open("a") as log:
                log.writelines(f"{item.id}\n" for item in items)
        if items:
            text = "".join(f"{i.row.label} {i.row.grams}\n" for i in items)
            self.context.storage.write(f"bundles/{hexed(items[0].id[:3])}.txt", text.encode())
        return [[item.row] for item in items]


@dataclass(frozen=True)
class ToyRun:
    """Stands where builder.pipeline.Run stands: real tables, storage, board and runners; toy stages."""

    root: Path
    words: str
    chain: tuple[Stage[Record, Record], ...] = field(
        default_factory=lambda: (Spell(), Letters(), Keep(), Weigh(), Bundle())  # type: ignore[return-value]
    )
    settings: RunSettings = field(default_factory=lambda: RunSettings(workers=2, ranks=2))

    @cached_property
    def storage(self) -> Storage:
        return Storage(self.root)

    def write_sources(self) -> None:
        table: Table[Record] = Table(self.storage, "sources", SourceSpec)
        spec = SourceSpec("toy", "toy", self.words)
        rows: dict[str, Answer[Record]] = {"toy": Answer(spec.digest(), [spec])}
        if not table.parts() or table.read(0).answers != rows:
            table.write(0, Stamp("config", ""), rows)

    def jobs(self) -> list[Job]:
        tables: dict[str, Table[Record]] = {"sources": Table(self.storage, "sources", SourceSpec)}
        tables |= {s.table: Table(self.storage, s.table, s.writes) for s in self.chain}
        grains = {"sources": "one"} | {s.table: s.grain for s in self.chain}
        layout = Layout(self.storage)
        return [
            Job(s, tables[s.reads], {n: tables[n] for n in s.joins}, tables[s.table], layout, grains)
            for s in self.chain
        ]

    def context(self, device: str = "cpu", meter: Meter | None = None) -> Context:
        return Context(self.storage, device=device)

    @property
    def stages(self) -> list[tuple[str, Stage[Any, Any]]]:
        return [("toy", stage) for stage in self.chain]

    @property
    def tables(self) -> set[str]:
        return {stage.table for stage in self.chain}

    def inline(self, flush_s: float = 0.0) -> Iterator[Receipt]:
        """The fake runner: in this process, one unit at a time."""
        from builder.engine import Caution

        self.write_sources()
        jobs = {job.target.name: job for job in self.jobs()}
        board = Board(list(jobs.values()), self.tables)
        while unit := board.take(gpu=False) or board.take(gpu=True):
            job = jobs[unit.table]
            with job.stage.opened(self.context()):
                receipt = job.run(unit, Caution(flush_s=flush_s))
            board.account(receipt)
            yield receipt
        assert board.finished()
        board.close()

    def bytes(self) -> dict[str, bytes]:
        """What must be the same however a run came about: parts, failures, files; not pieces, memos, receipts."""
        names = [
            n for folder in (*self.tables, *(f"{t}.failures" for t in self.tables)) for n in self.storage.walk(folder)
        ]
        parts = [n for n in names if "/part-" in n]
        return {n: self.storage.read(n) for n in [*parts, *self.storage.walk("bundles")]}


def toy(root: Path, words: str = WORDS, **changes: Any) -> ToyRun:
    stages = {"spell": Spell(), "letters": Letters(), "keep": Keep(), "weigh": Weigh(), "bundle": Bundle()}
    chain = tuple(changes.get(name, stage) for name, stage in stages.items())
    return ToyRun(root, words, chain, changes.get("settings", RunSettings(workers=2, ranks=2)))


def finish(run: ToyRun) -> int:
    """Run to the end; how many inputs were computed."""
    return total(run.inline())


def total(receipts: Iterable[Receipt]) -> int:
    """Inputs computed. Every input must have come to exactly one end, in every test that runs anything."""
    computed = 0
    for receipt in receipts:
        assert receipt.inputs == receipt.kept + receipt.filtered + receipt.failed
        computed += receipt.computed
    return computed
