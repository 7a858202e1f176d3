"""How much of the disk downloads may take: the crawl waits when that is used up, it does not fail."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from builder.errors import ConfigError
from builder.meter import Meter
from builder.storage import Storage

SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kMGTP]?)(i?)B", re.IGNORECASE)
POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
FOLDERS = ("media/videos", "fetch.parts")
POLL_S = 1.0


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
        self.lock, self.promised = threading.Lock(), 0

    @contextmanager
    def of(self, size_bytes: int) -> Iterator[None]:
        """Wait until there is room for a file of that size (0: not known)."""
        self._promise(size_bytes)
        try:
            yield
        finally:
            with self.lock:
                self.promised -= size_bytes

    def used(self) -> int:
        """Bytes on the disk now."""
        return sum(self._size(name) for folder in FOLDERS for name in self.storage.walk(folder))

    def _promise(self, size_bytes: int) -> None:
        while True:
            with self.lock:
                taken = self.promised + self.used() if self.budget_bytes else 0
                if taken + size_bytes <= self.budget_bytes or not self.budget_bytes:
                    self.promised += size_bytes
                    return
            text = f"storage.budget of {self.budget_bytes:,} bytes is used up: raise it, or run osd-build clean"
            self.meter.wait(text)
            time.sleep(POLL_S)

    def _size(self, name: str) -> int:
        try:
            return self.storage.path(name).stat().st_size
        except FileNotFoundError:
            return 0
