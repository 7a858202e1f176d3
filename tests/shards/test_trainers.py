"""With the trainers that there are: DDP, accelerate, torchdata, and one that is killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from open_sora_dataset import stream
from small_dataset import REPOSITORY
from streamed_dataset import write_numbered

DDP = """
import json, os, sys
import torch
from torch import distributed
from accelerate import Accelerator
from open_sora_dataset import stream
if __name__ == "__main__":
    accelerator = Accelerator(cpu=True)
    assert distributed.get_backend() == "gloo"
    data = stream(sys.argv[1], decode=False, batch_size=2, seed=1)
    model = accelerator.prepare(torch.nn.Linear(1, 1))
    loader = accelerator.prepare(data.loader(num_workers=1))
    keys, pads = [], 0
    for batch in loader:
        length = torch.tensor([[float(len(video))] for video in batch["mp4"]])
        accelerator.backward(model(length).sum())
        keys += [key for key, pad in zip(batch["__key__"], batch["pad"]) if not pad]
    assert type(model).__name__ == "DistributedDataParallel"
    with open(f"{sys.argv[2]}/{accelerator.process_index}.json", "w") as file:
        json.dump([keys, loader.pads, loader.state_dict()["epoch"]], file)
    distributed.destroy_process_group()
"""


def environment(**more: object) -> dict[str, str]:
    own = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **own, **{name: str(value) for name, value in more.items()}}


def test_two_processes_under_accelerate_and_ddp(tmp_path: Path) -> None:
    folder = write_numbered(tmp_path / "dataset", [4, 3, 4])
    launched = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": random.randrange(20_000, 30_000), "WORLD_SIZE": 2}
    command = [sys.executable, "-c", DDP, str(folder), str(tmp_path)]
    ranks = [
        subprocess.Popen(command, env=environment(**launched, RANK=rank, LOCAL_RANK=rank), cwd=tmp_path)
        for rank in range(2)
    ]
    assert [rank.wait(100) for rank in ranks] == [0, 0]
    given = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    keys = [key for keys, _, _ in given for key in keys]
    assert sorted(keys) == sorted({*keys})
    assert len(keys) == 11
    assert sum(pads for _, pads, _ in given) == 1
    assert [epoch for _, _, epoch in given] == [1, 1]


TRAIN = """
import json, os, sys
from open_sora_dataset import stream
if __name__ == "__main__":
    folder, state, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    loader = stream(folder, decode=False, batch_size=2, seed=1).loader(num_workers=workers)
    if os.path.exists(state):
        loader.load_state_dict(json.load(open(state)))
    for batch in loader:
        with open(state + ".new", "w") as file:
            json.dump({**loader.state_dict(), "keys": batch["__key__"]}, file)
        os.replace(state + ".new", state)
        print(json.dumps(batch["__key__"]), flush=True)
        if len(sys.argv) > 4:
            sys.stdin.readline()
"""


def killed_and_resumed(folder: Path, state: Path, chooser: random.Random, kills: int) -> list[list[str]]:
    """Batches in order: each was saved, then printed; the one in hand at the kill was saved."""
    seen: list[list[str]] = []
    for turn in range(kills + 1):
        waiting = ["wait"] if turn < kills else []
        command = [sys.executable, "-c", TRAIN, str(folder), str(state), str(chooser.choice([0, 2])), *waiting]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=environment(), cwd=folder, **pipes) as trainer:  # type: ignore[call-overload]
            for _ in range(chooser.randrange(1, 4) if waiting else 1000):
                line = trainer.stdout.readline()
                if not line:
                    break
                seen.append(json.loads(line))
                if waiting:
                    trainer.stdin.write("\n")
                    trainer.stdin.flush()
            if waiting:
                time.sleep(chooser.random() * 0.02)
                os.kill(trainer.pid, signal.SIGKILL)
                seen += [json.loads(line) for line in trainer.stdout]
        saved = json.loads(state.read_text())["keys"]
        if seen[-1] != saved:  # killed between saving and printing
            seen.append(saved)
    return seen


def test_a_trainer_that_is_killed_goes_on_with_the_next_batch(tmp_path: Path) -> None:
    folder = write_numbered(tmp_path / "dataset", [5, 7, 6, 4])
    whole = [batch["__key__"] for batch in stream(folder, decode=False, batch_size=2, seed=1)]
    assert killed_and_resumed(folder, tmp_path / "state.json", random.Random(5), 2) == whole


@pytest.mark.torture
def test_a_trainer_that_is_killed_over_and_over(tmp_path: Path) -> None:
    folder = write_numbered(tmp_path / "dataset", [15, 17, 16, 14])
    whole = [batch["__key__"] for batch in stream(folder, decode=False, batch_size=2, seed=1)]
    for turn in range(4):
        seen = killed_and_resumed(folder, tmp_path / f"state{turn}.json", random.Random(turn), 6)
        assert seen == whole


STATEFUL = """
import itertools, json, sys
from torchdata.stateful_dataloader import StatefulDataLoader
from open_sora_dataset import stream
def made():
    return stream(sys.argv[1], decode=False, batch_size=2, seed=1)
if __name__ == "__main__":
    for workers in (0, 2, 3):
        whole = [batch["__key__"] for batch in made()]
        for done in range(len(whole)):
            loader = StatefulDataLoader(made(), batch_size=None, num_workers=workers)
            first = [batch["__key__"] for batch in itertools.islice(loader, done)] if done else []
            state = json.loads(json.dumps(loader.state_dict()))
            again = StatefulDataLoader(made(), batch_size=None, num_workers=workers)
            again.load_state_dict(state)
            assert first + [batch["__key__"] for batch in again] == whole, (workers, done)
    print("done")
"""


def test_the_stateful_loader_of_torchdata(tmp_path: Path) -> None:
    """An environment with torchdata beside what the tests need, named by OSD_TORCHDATA=V/bin/python."""
    python = os.environ.get("OSD_TORCHDATA")
    if not python:
        pytest.skip("OSD_TORCHDATA names no Python with torchdata")
    folder = write_numbered(tmp_path / "dataset", [3, 4, 2])
    command = [python, "-W", "error::RuntimeWarning", "-c", STATEFUL, str(folder)]
    done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "done", done.stderr
