"""Files appear whole or not at all, in an order that a power cut respects; a full disk loses nothing finished."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from builder.errors import RunError
from builder.storage import SCRATCH, Storage, telling_of_full_disk
from small_dataset import REPOSITORY

HOST = socket.gethostname()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "run")


def scratch_files(storage: Storage) -> list[str]:
    return list(storage.list(SCRATCH))


def test_written_is_read(storage: Storage) -> None:
    storage.write("a/b/c.bin", b"data")
    assert storage.read("a/b/c.bin") == b"data"
    with storage.open("a/b/c.bin") as file:
        assert file.read(2) == b"da"
    assert storage.exists("a/b/c.bin")
    assert storage.list("a/b").keys() == {"c.bin"}
    assert storage.walk("a") == ["a/b/c.bin"]
    assert scratch_files(storage) == []


def test_what_is_not_there(storage: Storage) -> None:
    assert storage.list("nothing") == {}
    assert list(storage.walk("nothing")) == []
    assert not storage.exists("nothing")
    storage.remove("nothing")
    with pytest.raises(FileNotFoundError):
        storage.read("nothing")


def test_a_replaced_file_has_another_version(storage: Storage) -> None:
    storage.write("a/x", b"one")
    before = storage.list("a")
    assert storage.list("a") == before
    storage.write("a/x", b"two")
    assert storage.list("a") != before


def test_scratch_is_removed_whatever_happens(storage: Storage) -> None:
    with storage.scratch(".part") as path:
        path.write_bytes(b"half")
        assert path.suffix == ".part"
        assert path.parent.stat().st_dev == storage.root.stat().st_dev
    with pytest.raises(ZeroDivisionError), storage.scratch() as path:
        path.write_bytes(b"half")
        raise ZeroDivisionError
    assert scratch_files(storage) == []
    assert storage.walk("") == []


def test_a_process_killed_while_it_writes_leaves_nothing_under_the_name(storage: Storage) -> None:
    storage.write("a/x", b"old")
    pid = os.fork()
    if pid == 0:
        with storage.scratch() as path:
            path.write_bytes(b"half")
            os._exit(9)
    os.waitpid(pid, 0)
    assert storage.read("a/x") == b"old"
    assert len(scratch_files(storage)) == 1
    storage.sweep()
    assert scratch_files(storage) == []


def test_sweep_spares_the_living_and_other_hosts(storage: Storage) -> None:
    with subprocess.Popen(["true"]) as ended:
        dead = ended.pid
    names = [f"{HOST}-{os.getpid()}-7f-0", f"{HOST}-{dead}-7f-0.tar", f"else-where-{dead}-7f-0", "strange"]
    for name in names:
        (storage.root / SCRATCH).mkdir(parents=True, exist_ok=True)
        (storage.root / SCRATCH / name).touch()
    storage.sweep()
    assert set(scratch_files(storage)) == {names[0], names[2], names[3]}


def test_data_is_on_the_disk_before_its_name_is(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, then rename, then the folder that holds the name, and the folder that holds that one if it is new."""
    events: list[tuple[str, str]] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        events.append(("sync", "data" if SCRATCH in path.parts else str(path.relative_to(storage.root))))
        fsync(descriptor)

    def noted_replace(path: Path, target: Path) -> Path:
        events.append(("rename", str(target.relative_to(storage.root))))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    storage.write("scan/x", b"1")
    storage.write("scan/y", b"2")
    assert events == [
        *(("sync", "data"), ("sync", "."), ("rename", "scan/x"), ("sync", "scan")),
        *(("sync", "data"), ("rename", "scan/y"), ("sync", "scan")),
    ]


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, RunError), (errno.EDQUOT, RunError), (errno.EIO, OSError)])
def test_only_a_full_disk_is_told_as_one(number: int, kind: type[Exception]) -> None:
    with pytest.raises(kind), telling_of_full_disk(Path("x")):
        raise OSError(number, "")


def test_a_disk_that_fills_up_under_a_scratch_file_is_told_of(storage: Storage) -> None:
    """/dev/full is always full."""
    with pytest.raises(RunError, match="no space left while writing"), storage.scratch() as path:
        path.symlink_to("/dev/full")
        path.write_bytes(b"data")
    assert scratch_files(storage) == []


# -- a disk that is really full: a file system of a megabyte, in a mount namespace of its own

FULL_DISK = """
import sys
from pathlib import Path
from builder.errors import RunError
from builder.runners.local import LocalRunner
from toy import Spell, ToyRun, Weigh

whole, small, pooled = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "pooled"
words = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho bad y"

def finish(root):
    run = ToyRun(root, words)
    run.write_sources()
    list(LocalRunner(run, 2)(run.tables) if pooled else run.inline())
    return run.bytes()

expected, died, ballast = finish(whole), 0, small / "ballast"
for free_kb in range(0, 400, 24):
    ballast.unlink(missing_ok=True)
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            file.truncate(max(0, file.tell() - 1024 * free_kb))
    try:
        result = finish(small / "run")
        break
    except RunError as error:
        assert "no space left" in str(error) and str(small) in str(error), error
        assert "run the same again" in str(error)
        died += 1
print(died, result == expected)
"""


def can_mount() -> bool:
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=10).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not can_mount(), reason="needs root and mount namespaces, for a disk that is small enough to fill")
@pytest.mark.parametrize("how", ["inline", "pooled"])
def test_a_full_disk_stops_the_run_clearly_and_loses_nothing(tmp_path: Path, how: str) -> None:
    small = tmp_path / "small"
    small.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])}
    mount = f'mount -t tmpfs -o size=1m none {small} && exec "$@"'
    python = [sys.executable, "-c", FULL_DISK, str(tmp_path / "whole"), str(small), how]
    command = ["unshare", "-m", "sh", "-c", mount, "sh", *python]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    died, same = done.stdout.split()
    assert int(died) >= 3  # at several places
    assert same == "True"


def test_a_damaged_file_is_replaced_by_its_content(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    for _ in range(2):
        with storage.scratch(".evidence") as made:
            made.write_bytes(b"content")
            name = storage.adopt_by_content(made, "media/a")
        assert storage.path(name).read_bytes() == b"content"
        storage.path(name).write_bytes(b"junk")
