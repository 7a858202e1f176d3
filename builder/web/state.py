"""What all crawls of this user on this machine share, in the user's cache folder: small JSON files under file locks.

A lock is the kernel's (flock), so that it ends with the process that held it. Who holds a file's lock may remove it
(`tidy`); who gets the lock therefore looks whether the file is still the one of that name.
"""

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

BOOT = Path("/proc/sys/kernel/random/boot_id")


@cache
def shared_folder() -> Path:
    """`$OSD_CACHE`, else in the user's cache folder; where that cannot be written, a temporary folder of this user."""
    chosen = os.environ.get("OSD_CACHE")
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "open-sora-dataset"
        folder = (Path(chosen) if chosen else home) / "web"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: of a user without a home
        return temporary_folder()


def temporary_folder() -> Path:
    """The same one for all processes of this user, unless somebody else was there first."""
    folder = Path(tempfile.gettempdir(), f"open-sora-dataset-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="open-sora-dataset-"))
    return folder


@cache
def boot() -> str:
    """Names the time since the machine was started; empty where the system does not tell."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return ""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON object in `path`, for this process alone; what is in it at the end is kept. Damage counts as empty."""
    with lock(path, fcntl.LOCK_EX) as descriptor:
        assert descriptor is not None  # it was waited for
        before = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        state = parsed(before)
        yield state
        if (after := json.dumps(state).encode().ljust(len(before))) != before:
            os.pwrite(descriptor, after, 0)  # never shorter: a kill between two calls would leave a wrong end


def parsed(text: bytes) -> dict[str, Any]:
    try:
        state = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


@contextlib.contextmanager
def slot(path: Path) -> Iterator[bool]:
    """Whether this slot was free; it is then taken for the duration."""
    with lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB) as descriptor:
        yield descriptor is not None


@contextlib.contextmanager
def lock(path: Path, how: int, mode: int = 0o600) -> Iterator[int | None]:
    """The file, made if there is none, and locked; None if it was not to be waited for and somebody has it."""
    while True:
        descriptor = opened(path, mode)
        try:
            if not taken(descriptor, how):
                yield None
                return
            if is_at(path, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def opened(path: Path, mode: int) -> int:
    how = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, how, mode)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, how, mode)


def taken(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    return True


def is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one at `path`, and not one that was moved or removed from there."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def tidy(folder: Path, older_s: float) -> None:
    """Remove files that were not changed for so long, once in that time; what somebody holds stays."""
    with locked(folder / "tidied.json") as state:
        at = state.get("at")
        if isinstance(at, float) and 0 <= time.time() - at < older_s:
            return
        state["at"] = time.time()
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if is_older(path, older_s):
                with slot(path) as free:
                    if free and is_older(path, older_s):
                        path.unlink()


def is_older(path: Path, seconds: float) -> bool:
    return time.time() - path.stat().st_mtime > seconds
