"""Law 11 on the real thing: the demo, killed at random moments, ends with the bytes it ends with when left alone."""

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "examples/demo/demo.py"
KILLS = 3

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "OSD_DEMO_PORT": str(port)}  # the same for all: URLs are part of the dataset
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([sys.executable, DEMO], cwd=folder, env=environment, stdout=log, stderr=log)


def hashes(dataset: Path) -> dict[str, str]:
    files = sorted(path for path in dataset.rglob("*") if path.is_file())
    return {str(p.relative_to(dataset)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_killed_at_random_moments_the_demo_ends_with_the_same_bytes(tmp_path: Path, port: int) -> None:
    began_s = time.monotonic()
    assert start(tmp_path / "whole", port).wait() == 0, (tmp_path / "whole/log").read_text()
    took_s = time.monotonic() - began_s
    seed = random.randrange(1 << 32)
    chooser = random.Random(seed)
    for _ in range(KILLS):
        victim = start(tmp_path / "killed", port)
        time.sleep(chooser.uniform(0.05, 0.9) * took_s)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    assert start(tmp_path / "killed", port).wait() == 0, (tmp_path / "killed/log").read_text()
    assert hashes(tmp_path / "killed/runs/demo/dataset") == hashes(tmp_path / "whole/runs/demo/dataset"), seed
