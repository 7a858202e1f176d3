"""The laws of the engine, on the toy pipeline and with the real tables, board and runners."""

import dataclasses
import itertools
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.board import Board
from builder.errors import RunError
from builder.records import Failure, Record, Verdict
from builder.retry import forget
from builder.runners.multi_gpu import shares_of, slice_of
from builder.stage import Item
from builder.storage import Storage
from builder.table import Table
from toy import FEW, WORDS, Keep, Letters, Spell, ToyRun, Weigh, Weight, finish, total, toy


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill loses nothing that was written, synced or not; only a power cut does (see test_storage.py)."""
    monkeypatch.setattr("builder.storage.sync", lambda path: None)


SPELLED = [word for word in WORDS.split() if len(word) > 1 and not word.startswith("bad")]


def paid(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


class Killed(BaseException):
    """The process is gone: nothing after it runs, not even `except Exception`."""


class DyingStorage(Storage):
    """Dies before its n-th change to the disk."""

    left = 0

    def _spend(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1

    def adopt(self, temporary: Path, name: str) -> None:
        self._spend()
        super().adopt(temporary, name)

    def remove(self, name: str) -> None:
        self._spend()
        super().remove(name)


def run_until_killed(run: ToyRun, changes: int) -> bool:
    """True when the run was finished before it could be killed."""
    dying = DyingStorage(run.root)
    dying.left = changes
    vars(run)["storage"] = dying
    try:
        finish(run)
    except Killed:
        return False
    return True


@settings(max_examples=40, deadline=None)
@given(
    kills=st.lists(st.integers(0, 60), max_size=4),
    parts=st.sampled_from([(1, 1), (4, 2), (8, 8), (16, 4)]),
    size=st.integers(1, 7),
)
def test_killed_anywhere_and_resumed_gives_the_same_bytes(kills: list[int], parts: tuple[int, int], size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stages = {"spell": Spell(video_parts=parts[0], clip_parts=parts[1]), "weigh": Weigh(size=size)}
        whole = toy(Path(folder, "whole"), FEW, **stages)
        finish(whole)
        for changes in kills:
            run_until_killed(toy(Path(folder, "cut"), FEW, **stages), changes)
        resumed = toy(Path(folder, "cut"), FEW, **stages)
        finish(resumed)
        assert resumed.bytes() == whole.bytes()
        assert not [n for t in resumed.tables for n in resumed.storage.walk(t) if "piece-" in n]


@settings(max_examples=25, deadline=None)
@given(world=st.integers(1, 3), seed=st.integers(0, 10_000))
def test_ranks_taking_shares_and_slices_in_any_order_compute_everything_once(world: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = toy(Path(folder, "whole"))
        shared = toy(Path(folder, "ranks"), weigh=Weigh(log=str(Path(folder, "log"))))
        finish(whole)
        shared.write_sources()
        computed: Counter[str] = Counter()
        made: list[tuple[str, int]] = []
        chooser = random.Random(seed)
        jobs = {job.target.name: job for job in shared.jobs()}
        for table, job in jobs.items():
            boards = [Board(list(jobs.values()), shared.tables) for _ in range(world)]
            for board in boards:
                board.prepare(table)
            units = [list(board.ready[table]) for board in boards]
            shared_out = [shares_of(job, units[rank], rank, world) for rank in range(world)]
            sliced = [slice_of(units[rank], rank, world) for rank in range(world)]
            for turns in ([iter(shares) for shares in shared_out], [iter(slices) for slices in sliced]):
                while turns:
                    chosen = chooser.randrange(len(turns))
                    unit = next(turns[chosen], None)
                    if unit is None:
                        turns.pop(chosen)
                        continue
                    with job.stage.opened(shared.context()):
                        receipt = job.run(unit)
                    if unit.of == 1:
                        made.append((unit.table, unit.number))
                        computed[unit.table] += receipt.computed
        assert len(made) == len(set(made))
        weighed = paid(Path(folder, "log"))
        assert computed["weigh"] == len(weighed) == len(set(weighed)) == sum(map(len, SPELLED))
        assert shared.bytes() == whole.bytes()


def test_what_is_paid_for_outlives_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server goes away in the middle of a unit, long before its answers would be flushed."""
    log, ask = tmp_path / "log", Weigh.batch

    def gone(weigh: Weigh, items: Sequence[Item[Verdict]]) -> list[Sequence[Weight] | Failure]:
        if len(paid(log)) > 10:
            raise RunError("the server is gone")
        return ask(weigh, items)

    run = toy(tmp_path / "run", spell=Spell(video_parts=1, clip_parts=1), weigh=Weigh(log=str(log)))
    with monkeypatch.context() as patch:
        patch.setattr(Weigh, "batch", gone)
        with pytest.raises(RunError, match="gone"):
            total(run.inline(flush_s=1e9))
    assert len(paid(log)) == 12
    assert finish(run) > 0
    assert len(paid(log)) == len(set(paid(log)))


def test_a_second_run_computes_nothing(tmp_path: Path) -> None:
    run = toy(tmp_path)
    assert finish(run) > 0
    assert list(toy(tmp_path).inline()) == []


def test_counts_add_up_at_every_stage(tmp_path: Path) -> None:
    receipts = list(toy(tmp_path).inline())
    for receipt in receipts:
        assert receipt.inputs == receipt.kept + receipt.filtered + receipt.failed
    by_table = {t: [r for r in receipts if r.table == t] for t in {r.table for r in receipts}}
    letters = by_table["letters"]
    words = len(set(WORDS.split()))
    assert sum(r.inputs for r in letters) == words
    assert (sum(r.failed for r in letters), sum(r.filtered for r in letters)) == (2, 2)


def test_threshold_up_and_down_again_computes_nothing_twice(tmp_path: Path) -> None:
    log = tmp_path / "log"
    weigh = Weigh(log=str(log))
    run = toy(tmp_path / "run", weigh=weigh)
    finish(run)
    first = run.bytes()
    for least in ("m", "t", "a"):
        finish(toy(tmp_path / "run", weigh=weigh, keep=Keep(least=least)))
    assert len(paid(log)) == len(set(paid(log)))
    assert {n: run.bytes()[n] for n in first if "part-" in n} == {n: first[n] for n in first if "part-" in n}


def test_new_settings_recompute_only_what_they_touch(tmp_path: Path) -> None:
    finish(toy(tmp_path))
    computed = {r.table for r in toy(tmp_path, weigh=Weigh(unit="kg")).inline() if r.computed}
    assert computed == {"weigh", "bundle"}


def test_execution_settings_recompute_nothing(tmp_path: Path) -> None:
    finish(toy(tmp_path))
    assert list(toy(tmp_path, weigh=Weigh(size=7), letters=Letters(pause_s=1.0)).inline()) == []


def test_a_default_written_out_is_the_same_setting(tmp_path: Path) -> None:
    assert Letters().fingerprint() == Letters(most=100).fingerprint() != Letters(most=9).fingerprint()


def test_an_edited_row_changes_what_follows_and_nothing_else(tmp_path: Path) -> None:
    run = toy(tmp_path, spell=Spell(video_parts=8, clip_parts=8))
    finish(run)
    before = run.bytes()
    table: Table[Weight] = Table(run.storage, "weigh", Weight)
    number = next(n for n in table.parts() if table.read(n).rows())
    part = table.read(number)
    key = next(k for k, a in part.answers.items() if a.rows)
    edited = dataclasses.replace(
        part.answers[key], rows=[dataclasses.replace(part.answers[key].rows[0], label="edited")]
    )
    table.write(number, part.stamp, {**part.answers, key: edited})
    receipts = list(toy(tmp_path, spell=Spell(video_parts=8, clip_parts=8)).inline())
    assert [(r.table, r.number) for r in receipts] == [("bundle", number)]
    changed = {name for name, data in run.bytes().items() if before.get(name) != data}
    assert len(changed) == 3  # the edited part, the bundle's part, the bundle


def test_an_input_that_leaves_an_atomic_unit_redoes_it(tmp_path: Path) -> None:
    run = toy(tmp_path)
    finish(run)
    fewer = toy(tmp_path, keep=Keep(least="m"))
    finish(fewer)
    text = b"".join(data for name, data in fewer.bytes().items() if name.startswith("bundles/"))
    assert text
    assert all(float(line.split()[-1]) >= ord("m") for line in text.decode().splitlines())


def test_more_words_compute_only_the_new_ones(tmp_path: Path) -> None:
    log = tmp_path / "log"
    finish(toy(tmp_path / "run", weigh=Weigh(log=str(log))))
    before = len(paid(log))
    finish(toy(tmp_path / "run", WORDS + " omega", weigh=Weigh(log=str(log))))
    assert len(paid(log)) - before == len("omega")


def test_a_run_that_outgrows_its_parts_is_cut_anew_and_computes_only_the_new(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = toy(tmp_path / "run", "alpha beta", spell=Spell(video_parts=1, clip_parts=1), weigh=Weigh(log=str(log)))
    finish(run)
    more = toy(tmp_path / "run", spell=Spell(video_parts=8, clip_parts=4), weigh=Weigh(log=str(log)))
    finish(more)
    fresh = toy(tmp_path / "fresh", spell=Spell(video_parts=8, clip_parts=4))
    finish(fresh)
    assert len(paid(log)) == len(set(paid(log)))
    parts = [{n: data for n, data in run.bytes().items() if "part-" in n} for run in (more, fresh)]
    assert parts[0] == parts[1]


def test_killed_while_it_is_cut_anew_it_computes_nothing_twice(tmp_path: Path) -> None:
    for changes in range(0, 60, 4):
        root, log = tmp_path / str(changes), tmp_path / f"log{changes}"
        finish(toy(root, "alpha beta", spell=Spell(video_parts=1, clip_parts=1), weigh=Weigh(log=str(log))))
        larger = Spell(video_parts=8, clip_parts=4)
        run_until_killed(toy(root, "alpha beta gamma", spell=larger), changes)
        finish(toy(root, "alpha beta gamma", spell=larger, weigh=Weigh(log=str(log))))
        assert len(paid(log)) == len(set(paid(log)))


def test_retry_tries_failures_again_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = toy(tmp_path / "run", weigh=Weigh(log=str(log)))
    finish(run)
    failed = failures(run)
    before = len(paid(log))
    assert failed
    assert forget(run, "weigh")[0] == len(failed)  # type: ignore[arg-type]
    finish(toy(tmp_path / "run", weigh=Weigh(log=str(log))))
    assert sorted(paid(log)[before:]) == sorted(failed)
    assert forget(run, "letters")[0] == 0  # type: ignore[arg-type]  # "bad" is not retryable


def failures(run: ToyRun) -> list[str]:
    table: Table[Record] = Table(run.storage, "weigh", Weight)
    return [a.failure.item_id for n in table.parts() for a in table.read(n).answers.values() if a.failure]


def test_pieces_keep_finished_batches_of_an_unfinished_unit(tmp_path: Path) -> None:
    log = tmp_path / "log"
    root = tmp_path / "run"
    for changes in itertools.count(20):
        if run_until_killed(toy(root, weigh=Weigh(log=str(log), size=1)), changes):
            break
    counts = {key: paid(log).count(key) for key in paid(log)}
    assert max(counts.values()) <= 1 + len(range(20, changes))  # the one batch in hand may be redone at each kill
    assert sum(counts.values()) < 2 * len(counts) + len(range(20, changes))
