"""What all crawls of this user on this machine share, in the user's cache folder: small JSON files under file locks.

A lock is the kernel's (flock), so that it ends with the process that held it.
"""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any


@cache
def shared_folder() -> Path:
    """`$OSD_CACHE`, else in the user's cache folder; where that cannot be written, a temporary folder of this user."""
    chosen = os.environ.get("OSD_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "open-sora-dataset"
    folder = (Path(chosen) if chosen else home) / "web"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        fallback = Path(tempfile.gettempdir(), f"open-sora-dataset-{os.getuid()}")
        fallback.mkdir(mode=0o700, exist_ok=True)
        return fallback


@contextlib.contextmanager
def locked(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON object in `path`, for this process alone; what is in it at the end is kept. Damage counts as empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        try:
            state = json.loads(text)
        except ValueError:
            state = {}
        state = state if isinstance(state, dict) else {}
        yield state
        if (after := json.dumps(state)) != text:
            file.seek(0)
            file.write(after)
            file.truncate()


@contextlib.contextmanager
def slot(path: Path) -> Iterator[bool]:
    """Whether this slot was free; it is then taken for the duration."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
