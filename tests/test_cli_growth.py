"""Runs whose sources, clips and shards become more or fewer: the dataset always is what the tables say."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from command_line import OSD_BUILD, STOPPED, digests, osd_build, write_run
from made_video import Made, write

MANY = ("--set", "plan.shard_bytes=3000")
SECOND = '\n[[source]]\nkind = "folder"\nname = "aaa"\npath = "{path}"\n'


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    for n in range(8):
        write(tmp_path / "videos" / f"{n}.mp4", Made(frames=25 + n))
    return write_run(tmp_path / "run", tmp_path / "videos")


def packed(run: Path, *sets: str) -> tuple[int, int]:
    """Samples and shards after a run, which must verify."""
    done = osd_build("run", run, *sets)
    assert done.returncode == 0, done.stderr
    assert osd_build("verify", run / "dataset").returncode == 0
    manifest = json.loads((run / "dataset" / "manifest.json").read_text())
    return manifest["totals"]["samples"], len(manifest["shards"])


def hashes(run: Path) -> dict[str, str]:
    folder = run / "dataset" / "data"
    return {name.removeprefix(str(folder)): digest for name, (digest, _) in digests(folder).items()}


def test_more_shards_and_fewer_again_lose_no_clip(run: Path) -> None:
    assert packed(run) == (8, 1)
    few = hashes(run)
    samples, shards = packed(run, *MANY)
    assert samples == 8
    assert shards > 1
    assert packed(run) == (8, 1)
    assert hashes(run) == few


def test_a_source_that_comes_and_goes_takes_its_clips_along(run: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for n in range(3):
        write(tmp_path / "more" / f"{n}.mp4", Made(frames=50 + n))
    config = run / "build.toml"
    text = config.read_text()
    assert packed(run) == (8, 1)
    alone = hashes(run)
    config.write_text(text + SECOND.format(path=tmp_path / "more"))  # before the other, by name
    assert packed(run) == (11, 2)
    config.write_text(text)
    assert packed(run) == (8, 1)
    assert hashes(run) == alone


def test_an_empty_first_run_then_videos(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    run = write_run(tmp_path / "run", tmp_path / "videos")
    assert osd_build("run", run).returncode == STOPPED
    for n in range(8):
        write(tmp_path / "videos" / f"{n}.mp4", Made(frames=25 + n))
    assert packed(run) == (8, 1)
    assert (run / "layout" / "video").read_text() == "4"


def test_a_damaged_layout_is_named_and_without_it_the_run_goes_on(run: Path) -> None:
    assert packed(run) == (8, 1)
    before = hashes(run)
    for text in ("", "abc", "0", "3", "99999999"):
        (run / "layout" / "clip").write_text(text)
        stopped = osd_build("run", run)
        assert stopped.returncode == STOPPED
        assert "remove that folder" in stopped.stderr
        assert "Traceback" not in stopped.stderr
    for file in (run / "layout").iterdir():
        file.unlink()
    assert packed(run) == (8, 1)
    assert hashes(run) == before


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_the_run(run: Path, how: signal.Signals) -> None:
    process = subprocess.Popen([OSD_BUILD, "run", run], stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (run / "scan.receipts").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, how)  # the parent alone
    process.wait()
    deadline = time.monotonic() + 30
    while (left := session(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def session(leader: int) -> list[int]:
    """Processes of the session that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found
