"""What a worker tells of a long unit while it goes on, so that a person can watch: files, bytes, failures, waits, and
what models were asked and have answered."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

TELL_S = 0.25


@dataclass(frozen=True)
class Talk:
    """Questions to a model, tokens of them and of the answers, and what they cost by the user's prices."""

    clips: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0

    def __add__(self, other: "Talk") -> "Talk":
        tokens_in, tokens_out = self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out
        return Talk(self.clips + other.clips, tokens_in, tokens_out, self.cost + other.cost)

    def __sub__(self, other: "Talk") -> "Talk":
        return self + Talk(-other.clips, -other.tokens_in, -other.tokens_out, -other.cost)


@dataclass
class News:
    """What happened since the last time. `who` is the rank that tells, empty for other workers."""

    size_bytes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)  # of files: "kept", or why not
    waiting: str = ""
    talk: Talk = Talk()
    who: str = ""


class Meter:
    """Threads may share it. Without `tell` nobody listens. `talk` is all that was asked and answered so far."""

    def __init__(self, tell: Callable[[News], None] | None = None, who: str = "") -> None:
        self.tell, self.who = tell, who
        self.lock = threading.Lock()
        self.news, self.told = News(who=who), time.monotonic()
        self.talk = Talk()

    def bytes(self, count: int) -> None:
        self._add(size_bytes=count)

    def file(self, outcome: str) -> None:
        self._add(outcome=outcome)

    def said(self, clips: int, tokens_in: int, tokens_out: int, cost: float = 0.0) -> None:
        talk = Talk(clips, tokens_in, tokens_out, cost)
        with self.lock:
            self.talk += talk
            self.news.talk += talk
        self._add()

    def wait(self, why: str) -> None:
        self._add(waiting=why, now=True)

    def flush(self) -> None:
        self._add(now=True)

    def flush_talk(self) -> None:
        """Tell the rest of what was said, if there is any."""
        if self.news.talk.clips:
            self.flush()

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
                self.news, self.told = News(who=self.who), time.monotonic()
