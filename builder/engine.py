"""Runs one unit of one stage, and knows what is done. Nothing here starts a process: runners hand out units.

A unit is one part of the stage's table (a whole stage has a single unit). It is done when its part says that it was
made by this stage, with these settings, from these rows. Otherwise each input keeps the answer it has, if that answer
was given by this stage to this very input; only the others are computed.
"""

import itertools
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from builder.digests import short_hash
from builder.layout import Layout, bucket, covering
from builder.query import Inputs, Query
from builder.records import Failure, Record
from builder.stage import Item, Stage
from builder.storage import telling_of_full_disk
from builder.table import Answer, Stamp, Table

FLUSH_S = 10.0  # a kill loses at most this much paid work, or one batch


@dataclass(frozen=True)
class Unit:
    """One part of one table to make. `sources` is the digest of all it is made from."""

    table: str
    number: int
    sources: str


@dataclass(frozen=True)
class Receipt:
    """What a unit came to. Inputs = kept + filtered + failed."""

    table: str
    number: int
    inputs: int
    kept: int
    filtered: int
    failed: int
    computed: int
    cpu_s: float
    wall_s: float
    reasons: Mapping[str, int] = field(default_factory=dict)  # kinds of what was filtered or failed
    stamps: Mapping[int, Stamp] = field(default_factory=dict)


@dataclass(frozen=True)
class Caution:
    """How to run a unit that killed its worker: tell before each batch, take suspects alone, give up the condemned."""

    tell: Callable[[Sequence[str]], None] = lambda ids: None
    suspects: frozenset[str] = frozenset()
    condemned: frozenset[str] = frozenset()
    flush_s: float = FLUSH_S


@dataclass(frozen=True)
class Job:
    """A stage with its tables."""

    stage: Stage[Record, Record]
    main: Table[Record]
    sides: Mapping[str, Table[Record]]
    target: Table[Record]
    layout: Layout
    grains: Mapping[str, str]  # of every table of the run

    # -- what there is to do
    def units(self) -> int | None:
        """How many; None while an earlier whole stage has not decided it."""
        return 1 if self.stage.whole else self.layout.parts(self.stage.grain)

    def reads(self) -> list[str]:
        """The tables whose parts decide what a unit is made from."""
        return [self.main.name] if self.stage.pinned else [self.main.name, *self.sides]

    def needs(self, number: int) -> dict[str, range] | None:
        """The parts of other tables a unit is made from; None while unknown."""
        wanted: dict[str, range] = {}
        for name in self.reads():
            parts, of = self.layout.parts(self.grains[name]), self.units()
            if parts is None or of is None:
                return None
            wanted[name] = range(parts) if self.stage.whole else covering(number, of, parts)
        return wanted

    def unit(self, number: int, stamps: Mapping[str, Mapping[int, Stamp]]) -> Unit:
        """The unit, given the stamps of all tables it needs."""
        needs = self.needs(number) or {}
        rows = [[name, [stamps[name][n].rows for n in parts]] for name, parts in needs.items()]
        return Unit(self.target.name, number, short_hash(rows))

    def done(self, unit: Unit, stamps: Mapping[int, Stamp]) -> bool:
        """Whether the parts of this unit, given the stamps of its own table, answer it already."""
        parts = self.layout.parts(self.stage.grain)
        numbers = range(parts or 1) if self.stage.whole else [unit.number]
        mine = (self.stage.fingerprint(), unit.sources, parts)
        found = (stamps.get(n, Stamp("", "")) for n in numbers)
        return parts is not None and all((s.stage, s.sources, s.of) == mine for s in found)

    # -- doing it
    def run(self, unit: Unit, caution: Caution | None = None) -> Receipt:
        """Make the unit's part (or all parts, for a whole stage) and write a receipt. The stage must be open."""
        wall, cpu = time.monotonic(), self.stage.context.cpu_s()
        with telling_of_full_disk(self.target.storage.path(self.target.name)):
            if isinstance(self.stage, Query):
                made = self._ask(self.stage, unit)
            else:
                made = self._make(unit, caution or Caution())
        receipt = replace(made, cpu_s=self.stage.context.cpu_s() - cpu, wall_s=time.monotonic() - wall)
        self._file(receipt)
        return receipt

    def _make(self, unit: Unit, caution: Caution) -> Receipt:
        items = self.items(unit.number)
        if self.stage.whole:
            answers = self._answer(items)
            computed, stamps = len(items), self._spread(unit, answers)
        else:
            answers, computed, stamps = self._finish(unit, items, caution)
        kept, filtered, failed = tally(answers)
        reasons = dict(Counter(answer.failure.kind for answer in answers.values() if answer.failure))
        return Receipt(unit.table, unit.number, len(items), kept, filtered, failed, computed, 0, 0, reasons, stamps)

    def _ask(self, stage: Query[Record, Record], unit: Unit) -> Receipt:
        """Make the unit of a stage that is a query: there is one part to a unit, and a row to an input."""
        sides = {self.main.name: self.main, **self.sides}
        rows = stage.asked(Inputs(self.main.name, sides, self.needs(unit.number) or {}))
        stamp = Stamp(stage.fingerprint(), unit.sources, of=self.layout.parts(stage.grain) or 1)
        stamps = {unit.number: self.target.write_columns(unit.number, stamp, rows)}
        kept = sum(rows["kept"].to_pylist()) if "kept" in rows.column_names else len(rows)
        return Receipt(unit.table, unit.number, len(rows), kept, len(rows) - kept, 0, len(rows), 0, 0, {}, stamps)

    def items(self, number: int) -> list[Item[Record]]:
        """Inputs of a unit, joined, in order of their id."""
        needs = self.needs(number) or {}
        by_id = {row.id: row for row in self.main.rows(needs[self.main.name]) if getattr(row, "kept", True)}
        joined: dict[str, dict[str, Record]] = {key: {} for key in by_id}
        for name, side in self.sides.items():
            self._join(name, side, by_id, joined)
        return [self._item(by_id[key], joined[key]) for key in sorted(by_id)]

    def _join(
        self, name: str, side: Table[Record], main: Mapping[str, Record], into: dict[str, dict[str, Record]]
    ) -> None:
        """Add one side table: its key is a field of the main row or of a row joined before."""
        keys = {key: foreign_key(side.record.KEY, [row, *into[key].values()]) for key, row in main.items()}
        parts = self.layout.parts(self.grains[name]) or 1
        buckets = sorted({bucket(k, parts) for k in keys.values() if k is not None})
        found = {row.id: row for row in side.rows(buckets)}
        for key, wanted in keys.items():
            if wanted in found:
                into[key][name] = found[wanted]

    def _item(self, row: Record, joined: Mapping[str, Record]) -> Item[Record]:
        counted = {} if self.stage.pinned else joined
        digests = [self.stage.digest(row), *(self.stage.digest(other) for other in counted.values())]
        return Item(row, short_hash([digests, list(counted)]), joined)

    def _finish(
        self, unit: Unit, items: Sequence[Item[Record]], caution: Caution
    ) -> tuple[dict[str, Answer[Record]], int, dict[int, Stamp]]:
        """Compute what has no valid answer, flushing as it goes, and publish the part."""
        mine = self.stage.fingerprint()
        saved = {key: answer for key, (stage, answer) in self.target.saved(unit.number).items() if stage == mine}
        known = {i.id: saved[i.id] for i in items if i.id in saved and saved[i.id].digest == i.digest}
        if self.stage.atomic and len(saved) != len(items):
            known = {}  # something left the unit: what it wrote as a whole is out of date
        computed = 0
        for answers in self._compute(unit.number, items, known, caution):
            known |= answers
            computed += len(answers)
        answers = {item.id: known[item.id] for item in items}
        parts = self.layout.parts(self.stage.grain) or 1
        if not self.stage.atomic:
            unasked = {k: a for k, a in saved.items() if k not in answers and bucket(k, parts) == unit.number}
            self.target.write_memo(unit.number, mine, unasked)
        stamp = self.target.write(unit.number, Stamp(mine, unit.sources, of=parts), answers)
        self.target.remove_pieces(unit.number)
        return answers, computed, {unit.number: stamp}

    def _compute(
        self,
        number: int,
        items: Sequence[Item[Record]],
        known: Mapping[str, Answer[Record]],
        caution: Caution,
    ) -> Iterator[dict[str, Answer[Record]]]:
        """Answers of each batch. Batches are cut at fixed positions, so an interruption never regroups inputs."""
        unsaved: dict[str, Answer[Record]] = {}
        flushed = time.monotonic()
        for batch in self._batches(items, known, caution):
            caution.tell([item.id for item in batch])
            answers = self._answer(batch, caution.condemned)
            unsaved |= answers
            yield answers
            if time.monotonic() - flushed >= caution.flush_s and not self.stage.atomic:
                self.target.write_piece(number, self.stage.fingerprint(), unsaved)
                unsaved, flushed = {}, time.monotonic()

    def _batches(
        self, items: Sequence[Item[Record]], known: Mapping[str, Answer[Record]], caution: Caution
    ) -> Iterator[list[Item[Record]]]:
        size = max(1, len(items)) if self.stage.atomic else self.stage.batch_size
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            missing = [item for item in batch if item.id not in known]
            if self.stage.atomic and missing:
                missing = list(batch)
            alone = [item for item in missing if item.id in caution.suspects and not self.stage.atomic]
            together = [item for item in missing if item not in alone]
            yield from ([item] for item in alone)
            if together:
                yield together

    def _answer(
        self, items: Sequence[Item[Record]], condemned: frozenset[str] = frozenset()
    ) -> dict[str, Answer[Record]]:
        """Ask the stage; a condemned input is not shown to it again."""
        well = [item for item in items if item.id not in condemned]
        given = self.stage.batch(well) if well or self.stage.whole else []
        if len(given) != len(well):
            raise AssertionError(f"{self.stage.table}: {len(given)} answers to {len(well)} inputs")
        crash = "its worker died twice while working on it; `osd-build retry RUN` tries it once more"
        answers = {i.id: Answer[Record](i.digest, (), Failure(i.id, "crash", crash, True)) for i in items}
        for item, outcome in zip(well, given, strict=True):
            if isinstance(outcome, Failure):
                answers[item.id] = Answer(item.digest, (), outcome)
            else:
                answers[item.id] = Answer(item.digest, outcome)
        return answers

    def _spread(self, unit: Unit, answers: Mapping[str, Answer[Record]]) -> dict[int, Stamp]:
        """Write a whole stage's rows to the parts they belong to; failures go to part 0."""
        rows = [row for answer in answers.values() for row in answer.rows]
        for grain, parts in self.stage.parts(rows).items():
            self.layout.decide(grain, parts, again=grain == "shard")
        total = self.layout.parts(self.stage.grain) or 1
        parts_of: list[dict[str, Answer[Record]]] = [{} for _ in range(total)]
        for key, answer in answers.items():
            if answer.failure:
                parts_of[0][key] = answer
            for n, group in itertools.groupby(answer.rows, lambda row: self.stage.place(row, total)):
                before = parts_of[n][key].rows if key in parts_of[n] else ()
                parts_of[n][key] = replace(answer, rows=[*before, *group])
        stamp = Stamp(self.stage.fingerprint(), unit.sources, of=total)
        self.target.remove_parts_from(total)
        return {n: self.target.write(n, stamp, part) for n, part in enumerate(parts_of)}

    def _file(self, receipt: Receipt) -> None:
        """Timings and machine go to a file that no stage reads."""
        facts = asdict(receipt) | {
            "host": platform.node(),
            "pid": os.getpid(),
            "device": self.stage.context.device,
            "python": platform.python_version(),
        }
        del facts["stamps"]
        text = json.dumps(facts, indent=1).encode()
        self.target.storage.write(f"{self.target.name}.receipts/part-{receipt.number:05d}.json", text)


def foreign_key(name: str, rows: Sequence[Record]) -> str | None:
    """The value of the first row that has a field of this name."""
    return next((getattr(row, name) for row in rows if hasattr(row, name)), None)


def tally(answers: Mapping[str, Answer[Record]]) -> tuple[int, int, int]:
    """Inputs kept, filtered, failed. A row that says kept=False counts as filtered."""
    kept = sum(any(getattr(row, "kept", True) for row in answer.rows) for answer in answers.values())
    failed = sum(bool(a.failure and not a.failure.filtered) for a in answers.values())
    return kept, len(answers) - kept - failed, failed
