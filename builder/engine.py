"""Runs one unit of one stage, and knows what is done. Nothing here starts a process: runners hand out units.

A unit is one part of the stage's table (a whole stage has a single unit). It is done when its part says that it was
made by this stage, with these settings, from these rows. Otherwise each input keeps the answer it has, if that answer
was given by this stage to this very input; only the others are computed.
"""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from builder.digests import short_hash
from builder.layout import Layout, bucket, covering
from builder.query import Inputs, Query
from builder.receipts import Receipt, file
from builder.records import Failure, Record
from builder.stage import Item, Stage
from builder.storage import telling_of_full_disk
from builder.table import Answer, Stamp, Table


@dataclass(frozen=True)
class Unit:
    """One part of one table to make. `sources` is the digest of all it is made from.

    With `of` > 1 it is a share of one: of its batches every `of`-th, for processes that answer it together. A share
    leaves pieces; the unit itself is made after them, of what they left.
    """

    table: str
    number: int
    sources: str
    share: int = 0
    of: int = 1

    def shares(self, of: int) -> list["Unit"]:
        return [replace(self, share=n, of=of) for n in range(of)]


@dataclass(frozen=True)
class Caution:
    """How to run a unit that killed its worker: tell before each batch, take suspects alone, give up the condemned."""

    tell: Callable[[Sequence[str]], None] = lambda ids: None
    suspects: frozenset[str] = frozenset()
    condemned: frozenset[str] = frozenset()
    flush_s: float | None = None  # None: as the stage has it


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

    def batches(self, number: int) -> int:
        """How many batches a unit has at most, and so into how many shares it may be cut."""
        if self.stage.whole or self.stage.atomic or isinstance(self.stage, Query):
            return 1
        rows = self.main.rows((self.needs(number) or {})[self.main.name])
        kept = sum(bool(getattr(row, "kept", True)) for row in rows)
        return max(1, -(-kept // self.stage.batch_size))

    # -- doing it
    def run(self, unit: Unit, caution: Caution | None = None) -> Receipt:
        """Make the unit's part (or all parts, for a whole stage) and write a receipt. The stage must be open."""
        context = self.stage.context
        wall, cpu, talk = time.monotonic(), context.cpu_s(), context.meter.talk
        with telling_of_full_disk(self.target.storage.path(self.target.name)):
            if isinstance(self.stage, Query):
                made = self._ask(self.stage, unit)
            elif unit.of > 1:
                made = self._share(unit, caution or Caution())
            else:
                made = self._make(unit, caution or Caution())
        receipt = replace(made, cpu_s=context.cpu_s() - cpu, wall_s=time.monotonic() - wall)
        share = f"{unit.share}-of-{unit.of}" if unit.of > 1 else ""
        facts = {"device": context.device, **asdict(context.meter.talk - talk)}
        return file(self.target.storage, receipt, self.stage.fingerprint(), facts, share)

    def _share(self, unit: Unit, caution: Caution) -> Receipt:
        """Compute a share of a unit's batches, and leave the answers as pieces."""
        items = self.items(unit.number)
        known = self._known(items, self.target.saved(unit.number))
        answers: dict[str, Answer[Record]] = {}
        for batch in self._compute(unit, items, known, caution):
            answers |= batch
        kept, filtered, failed = tally(answers)
        return Receipt(unit.table, unit.number, len(answers), kept, filtered, failed, len(answers), 0, 0)

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
        found = self.target.saved(unit.number)
        saved = {key: answer for key, (stage, answer) in found.items() if stage == mine}
        known = self._known(items, found)
        if self.stage.atomic and len(saved) != len(items):
            known = {}  # something left the unit: what it wrote as a whole is out of date
        computed = 0
        for answers in self._compute(unit, items, known, caution):
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

    def _known(
        self, items: Sequence[Item[Record]], saved: Mapping[str, tuple[str, Answer[Record]]]
    ) -> dict[str, Answer[Record]]:
        """The valid answers among those at hand: given by this stage, to this very input."""
        mine = self.stage.fingerprint()
        at_hand = ((item, *saved[item.id]) for item in items if item.id in saved)
        return {item.id: answer for item, stage, answer in at_hand if stage == mine and answer.digest == item.digest}

    def _compute(
        self, unit: Unit, items: Sequence[Item[Record]], known: Mapping[str, Answer[Record]], caution: Caution
    ) -> Iterator[dict[str, Answer[Record]]]:
        """Answers of each batch. Batches are cut at fixed positions, so an interruption never regroups inputs."""
        unsaved: dict[str, Answer[Record]] = {}
        flushed = time.monotonic()
        flush_s = self.stage.flush_s if caution.flush_s is None else caution.flush_s
        try:
            for batch in self._batches(unit, items, known, caution):
                caution.tell([item.id for item in batch])
                answers = self._answer(batch, caution.condemned)
                unsaved |= answers
                yield answers
                if time.monotonic() - flushed >= flush_s:
                    self._keep(unit, unsaved)
                    unsaved, flushed = {}, time.monotonic()
        except BaseException:  # the run stops here, perhaps because a server is gone: what is paid for is kept
            self._keep(unit, unsaved)
            raise
        if unit.of > 1:
            self._keep(unit, unsaved)

    def _keep(self, unit: Unit, answers: Mapping[str, Answer[Record]]) -> None:
        if answers and not self.stage.atomic:
            self.target.write_piece(unit.number, self.stage.fingerprint(), answers)

    def _batches(
        self, unit: Unit, items: Sequence[Item[Record]], known: Mapping[str, Answer[Record]], caution: Caution
    ) -> Iterator[list[Item[Record]]]:
        """Those of the unit's share. Where there are fewer than shares, each unit begins with another share."""
        size = max(1, len(items)) if self.stage.atomic else self.stage.batch_size
        for nth, start in enumerate(range(0, len(items), size)):
            if (nth + unit.number) % unit.of != unit.share:
                continue
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


def foreign_key(name: str, rows: Sequence[Record]) -> str | None:
    """The value of the first row that has a field of this name."""
    return next((getattr(row, name) for row in rows if hasattr(row, name)), None)


def tally(answers: Mapping[str, Answer[Record]]) -> tuple[int, int, int]:
    """Inputs kept, filtered, failed. A row that says kept=False counts as filtered."""
    kept = sum(any(getattr(row, "kept", True) for row in answer.rows) for answer in answers.values())
    failed = sum(bool(a.failure and not a.failure.filtered) for a in answers.values())
    return kept, len(answers) - kept - failed, failed
