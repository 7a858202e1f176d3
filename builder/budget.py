"""How much of the disk downloads may take: the crawl waits when that is used up, it does not fail."""

import math
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.errors import ConfigError, ItemError
from builder.meter import Meter
from builder.storage import Storage

SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kMGTP]?)(i?)B", re.IGNORECASE)
POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
VIDEOS, PARTS = "media/videos", "fetch.parts"
POLL_S = 1.0
SELDOM, OFTEN = 20.0, 2.0


def as_bytes(text: str) -> int:
    """`2 TB` is 2 * 10^12, `2 TiB` 2 * 2^40; empty is 0, for no limit.

    Raises:
        ConfigError: it is no size.
    """
    if not text.strip():
        return 0
    match = SIZE.fullmatch(text.strip())
    if not match:
        raise ConfigError(f"budget = {text!r} is no size; write for example 500 GB or 2 TB")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** POWERS[match[2].lower()])


class Share:
    """The downloads' share of a run's disk. What the threads of one process begin is counted before it is there."""

    def __init__(self, storage: Storage, budget_bytes: int, meter: Meter) -> None:
        self.storage, self.budget_bytes, self.meter = storage, budget_bytes, meter
        self.lock = threading.Lock()
        self.begun: list[tuple[Path | None, int]] = []  # part files under way, and what they will come to
        self.there_bytes, self.finished_bytes = 0, 0  # when the disk was looked at, and since then
        self.parts: dict[Path | None, int] = {}  # what of `there_bytes` is the beginning of a file
        self.looked_at, self.look_s = 0.0, math.inf

    @contextmanager
    def of(self, size_bytes: int, part: Path | None = None) -> Iterator[None]:
        """Wait until there is room for a file of that size (0: not known), some of which may be in `part` already.

        Raises:
            ItemError: `too_large`: there never will be.
        """
        if not self.budget_bytes:
            yield
            return
        if size_bytes > self.budget_bytes:
            text = f"a video of {size_bytes:,} bytes is larger than storage.budget, {self.budget_bytes:,} bytes"
            raise ItemError("too_large", f"{text}; raise it, then `osd-build retry RUN`", retryable=True)
        file = (part, size_bytes)
        self._wait(file)
        try:
            yield
        finally:
            with self.lock:
                self.begun.remove(file)
                self.finished_bytes += size_bytes

    def _wait(self, file: tuple[Path | None, int]) -> None:
        while True:
            with self.lock:
                # To look at the disk takes long when there are many files: seldom, and oftener when room is short; at
                # once if what has finished since may have come to less than it had promised.
                soon = 0.0 if self.finished_bytes else OFTEN
                if any(self._taken(file, pause) <= self.budget_bytes for pause in (SELDOM, soon)):
                    self.begun.append(file)
                    return
            text = f"storage.budget of {self.budget_bytes:,} bytes is used up: raise it, or run osd-build clean"
            self.meter.wait(text)
            time.sleep(POLL_S)

    def _taken(self, more: tuple[Path | None, int], pause: float) -> int:
        """Bytes that are there, or will be when what has begun is done, and `more`. The disk is looked at again after
        `pause` times what that took."""
        if not time.monotonic() < self.looked_at + pause * self.look_s < math.inf:
            self._look()
        missing = sum(max(0, size_bytes - self.parts.get(part, 0)) for part, size_bytes in [*self.begun, more])
        return self.there_bytes + self.finished_bytes + missing

    def _look(self) -> None:
        began = time.monotonic()
        sizes = {folder: {name: self._size(name) for name in self.storage.walk(folder)} for folder in (VIDEOS, PARTS)}
        self.parts = {self.storage.path(name): size_bytes for name, size_bytes in sizes[PARTS].items()}
        self.there_bytes, self.finished_bytes = sum(sum(files.values()) for files in sizes.values()), 0
        self.looked_at, self.look_s = time.monotonic(), time.monotonic() - began

    def _size(self, name: str) -> int:
        try:
            return self.storage.path(name).stat().st_size
        except FileNotFoundError:
            return 0
