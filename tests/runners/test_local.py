"""The local runner, with real processes, on the toy pipeline."""

import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, wait
from pathlib import Path

import pytest

from builder.config import RunSettings
from builder.engine import Unit
from builder.errors import RunError
from builder.runners.local import LocalRunner
from builder.runners.ranks import Ranks, Task
from builder.table import Table
from toy import Spell, ToyRun, Weigh, Weight, finish, total, toy


def local(run: ToyRun, workers: int = 2) -> int:
    run.write_sources()
    return total(LocalRunner(run, workers)(run.tables))  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_local_runner_gives_the_bytes_of_the_inline_one(tmp_path: Path, workers: int) -> None:
    inline, pooled = toy(tmp_path / "inline"), toy(tmp_path / "pooled")
    finish(inline)
    local(pooled, workers)
    assert pooled.bytes() == inline.bytes()
    assert local(toy(tmp_path / "pooled")) == 0


def test_gpu_stages_run_on_ranks_with_the_same_bytes(tmp_path: Path) -> None:
    inline, pooled = toy(tmp_path / "inline"), toy(tmp_path / "pooled", weigh=Weigh(gpus=1.0))
    finish(inline)
    local(pooled)
    assert pooled.bytes() == inline.bytes()


def test_a_row_that_kills_its_worker_becomes_a_crash_and_its_neighbours_survive(tmp_path: Path) -> None:
    spell = Spell(video_parts=4, clip_parts=2)
    run = toy(tmp_path / "run", "alpha beta gamma quartz zulu", spell=spell, weigh=Weigh(deadly="q", size=4))
    local(run)
    table: Table[Weight] = Table(run.storage, "weigh", Weight)
    answers = {k: a for n in table.parts() for k, a in table.read(n).answers.items()}
    crashed = [a.failure for a in answers.values() if a.failure]
    assert [f.kind for f in crashed] == ["crash"]
    assert sum(len(a.rows) for a in answers.values()) == len("alphabetagammaquartzzulu") - 1


def test_a_death_costs_its_batch_and_nobody_elses(tmp_path: Path) -> None:
    """One part for three ranks: they share it. One of them dies once, by no fault of an input."""
    log = tmp_path / "log"
    whole = toy(tmp_path / "whole", spell=Spell(video_parts=2, clip_parts=1))
    finish(whole)
    weigh = Weigh(gpus=1.0, log=str(log), fatal=str(tmp_path / "fatal"), size=4)
    spell = Spell(video_parts=2, clip_parts=1)
    run = toy(tmp_path / "run", spell=spell, weigh=weigh, settings=RunSettings(workers=1, ranks=3))
    (tmp_path / "fatal").write_text("q")
    run.write_sources()
    receipts = list(LocalRunner(run, 1)(run.tables))  # type: ignore[arg-type]
    assert run.bytes() == whole.bytes()
    weighed = Counter(log.read_text().split())
    [receipt] = [json.loads(run.storage.read(n)) for n in run.storage.walk("weigh.receipts")]
    assert {share["inputs"] > 0 for share in receipt["shares"]} == {True}
    assert len(receipt["shares"]) == len({share["pid"] for share in receipt["shares"]}) == 3
    assert set(weighed.values()) == {1}
    assert receipt["computed"] == next(r.computed for r in receipts if r.table == "weigh") == len(weighed)


def test_a_batch_is_taken_apart_when_it_has_killed_twice() -> None:
    task = Task(Unit("weigh", 0, ""))
    task.blame(["a", "b"])
    assert (task.suspects, task.condemned) == (set(), set())
    task.blame(["a", "b"])
    assert (task.suspects, task.condemned) == ({"a", "b"}, set())
    task.blame(["b"])
    assert (task.suspects, task.condemned) == ({"a", "b"}, {"b"})
    task.blame(["c"])
    assert task.condemned == {"b"}


def test_a_rank_that_never_lives_is_given_up() -> None:
    context = multiprocessing.get_context("spawn")
    ranks = Ranks(1, lambda rank: ProcessPoolExecutor(1, context, os._exit, (1,)), lambda unit: 5)
    ranks.fill(iter([Unit("weigh", 0, "")]).__next__)
    with pytest.raises(RunError, match="weigh: rank 0 keeps dying before it has begun; is memory short"):
        while ranks.flying:
            [future] = ranks.flying
            wait([future])
            assert ranks.collect(future) is None
    ranks.close()


@pytest.mark.torture
def test_an_input_that_kills_its_rank_becomes_a_crash(tmp_path: Path) -> None:
    spell = Spell(video_parts=4, clip_parts=2)
    weigh = Weigh(gpus=1.0, deadly="q", size=4)
    run = toy(tmp_path / "run", "alpha beta gamma quartz zulu", spell=spell, weigh=weigh)
    local(run)
    table: Table[Weight] = Table(run.storage, "weigh", Weight)
    answers = {k: a for n in table.parts() for k, a in table.read(n).answers.items()}
    assert [a.failure.kind for a in answers.values() if a.failure] == ["crash"]
    assert sum(len(a.rows) for a in answers.values()) == len("alphabetagammaquartzzulu") - 1


def test_a_bug_stops_the_run_loudly(tmp_path: Path) -> None:
    run = toy(tmp_path, weigh=Weigh(log=str(tmp_path / "no" / "such" / "folder")))
    with pytest.raises(FileNotFoundError):
        local(run)


def start(root: Path) -> None:
    os.setpgid(0, 0)
    local(toy(root, spell=Spell(video_parts=8, clip_parts=8)))


def test_kill_9_of_all_processes_and_resume_gives_the_same_bytes(tmp_path: Path) -> None:
    whole = toy(tmp_path / "whole", spell=Spell(video_parts=8, clip_parts=8))
    finish(whole)
    context = multiprocessing.get_context("spawn")
    for delay_s in (0.4, 0.7, 1.1):
        process = context.Process(target=start, args=(tmp_path / "cut",))
        process.start()
        time.sleep(delay_s)
        if process.is_alive():
            with pytest.MonkeyPatch.context():
                os.killpg(process.pid or 0, signal.SIGKILL) if os.getpgid(process.pid or 0) == process.pid else None
        process.kill()
        process.join()
    cut = toy(tmp_path / "cut", spell=Spell(video_parts=8, clip_parts=8))
    local(cut)
    assert cut.bytes() == whole.bytes()


def test_two_runs_on_one_folder_cooperate(tmp_path: Path) -> None:
    whole = toy(tmp_path / "whole")
    finish(whole)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=start, args=(tmp_path / "shared",)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0, 0]
    run = toy(tmp_path / "shared", spell=Spell(video_parts=8, clip_parts=8))
    assert local(run) == 0
    assert {r.label for r in Table(run.storage, "weigh", Weight).rows()} == {
        r.label for r in Table(whole.storage, "weigh", Weight).rows()
    }


def test_an_earlier_step_that_is_missing_is_named(tmp_path: Path) -> None:
    run = toy(tmp_path)
    run.write_sources()
    with pytest.raises(RunError, match="earlier step"):
        list(LocalRunner(run, 1)({"weigh"}))  # type: ignore[arg-type]
