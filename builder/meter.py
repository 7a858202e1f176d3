"""What a worker tells of a long unit while it goes on, so that a person can watch: files, bytes, failures, waits."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

TELL_S = 0.25


@dataclass
class News:
    """What happened since the last time."""

    size_bytes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)  # of files: "kept", or why not
    waiting: str = ""


class Meter:
    """Threads may share it. Without `tell` nobody listens."""

    def __init__(self, tell: Callable[[News], None] | None = None) -> None:
        self.tell = tell
        self.lock = threading.Lock()
        self.news, self.told = News(), time.monotonic()

    def bytes(self, count: int) -> None:
        self._add(size_bytes=count)

    def file(self, outcome: str) -> None:
        self._add(outcome=outcome)

    def wait(self, why: str) -> None:
        self._add(waiting=why, now=True)

    def flush(self) -> None:
        self._add(now=True)

    def _add(self, size_bytes: int = 0, outcome: str = "", waiting: str = "", now: bool = False) -> None:
        if self.tell is None:
            return
        with self.lock:
            self.news.size_bytes += size_bytes
            if outcome:
                self.news.outcomes[outcome] += 1
            self.news.waiting = waiting or self.news.waiting
            if now or time.monotonic() - self.told > TELL_S:
                self.tell(self.news)
                self.news, self.told = News(), time.monotonic()
