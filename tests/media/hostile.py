"""What a decoder may do at its worst, as functions that a guarded child can be told to run."""

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

import av

from builder.errors import ItemError
from builder.media.decode import ScanFacts, ScanSettings, scan
from builder.media.guard import Guard


def hang_holding_the_gil() -> None:
    ctypes.PyDLL(None).sleep(600)  # a native call that lets no other thread of the process run


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def spin() -> None:
    while True:
        pass


def hang_with_a_helper(pid_file: Path) -> None:
    """As a decoder would that starts a program."""
    helper = subprocess.Popen(["sleep", "600"])
    pid_file.write_text(str(helper.pid))
    helper.wait()


def crash() -> None:
    ctypes.string_at(0)


def leave() -> None:
    os._exit(3)


def eat(size_bytes: int) -> int:
    return len(bytearray(size_bytes))


def reject(path: Path) -> None:
    raise ItemError("truncated", f"{path} is short")


def break_down() -> None:
    raise ZeroDivisionError("a bug")


def unpicklable() -> object:
    return lambda: None


def fill_a_disk() -> None:
    with Path("/dev/full").open("wb", buffering=0) as disk:
        disk.write(b"x")


def fill_a_disk_while_muxing() -> None:
    with av.open("file:/dev/full", "w", "matroska") as out:
        track = out.add_stream("mpeg4", rate=25)
        track.width = track.height = 16
        for number in range(9):
            frame = av.VideoFrame(16, 16)
            frame.pts = number
            out.mux(track.encode(frame))


def write(path: Path, size_bytes: int) -> None:
    path.write_bytes(bytes(size_bytes))


def loaded(names: list[str]) -> list[str]:
    import sys

    return [name for name in names if name in sys.modules]


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def guarded_scan(path: Path, folder: Path) -> ScanFacts:
    """For a worker of a pool: a guard of its own."""
    with Guard() as guard:
        return guard.call(scan, path, folder / "evidence", folder / "strip", ScanSettings())
