"""How fast a host is asked: a number of requests at a time and a second, over all processes of this user here.

Times are those of the monotonic clock, which all processes of a machine share: a clock set back or forth changes
nothing. It begins anew when the machine is started, and so does what is kept by it.
"""

import fcntl
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from builder.errors import ItemError
from builder.web.state import boot, lock, locked, shared_folder, slot

POLL_S = 0.01
MARGIN = 1.05  # requests leave a little further apart than they must: they do not all take equally long to arrive
LONGEST_S = 86_400.0


@dataclass(frozen=True)
class Pace:
    """`patience_s`: a host that asks to be left alone for longer is not waited for."""

    per_host: int
    requests_per_s: float
    patience_s: float

    @contextmanager
    def turn(self, host: str, delay_s: float = 0.0) -> Iterator[None]:
        """Wait for one of the host's slots and for its time; the slot is held for the duration.

        `delay_s` is what the host's robots.txt asks to leave between two requests.

        Raises:
            ItemError: the host asked to be left alone, with the kind of the answer that said so; retryable.
        """
        with ExitStack() as stack:
            # Who waits, waits in the kernel's queue for the door, and one of them for what happens inside: whoever has
            # just had a slot comes last, and a hundred threads cost no more than one.
            with lock(path_of(f"{host}.door"), fcntl.LOCK_EX):
                self._take_slot(host, stack)
                self._wait(host, "next", delay_s)
            yield

    def depart(self, host: str, delay_s: float = 0.0) -> None:
        """Wait for the moment itself, when the connection is there: to open one takes longer than to use one again,
        so requests that had their turns one after the other may be ready at once."""
        self._wait(host, "departed", delay_s)

    def cool(self, host: str, seconds: float, kind: str) -> None:
        """The host asks for `seconds` without a request."""
        with locked(path_of(f"{host}.json")) as state:
            renew(state)
            until = time.monotonic() + min(seconds, LONGEST_S)
            if until > number(state, "not_before"):
                state |= {"not_before": until, "kind": kind}

    def _take_slot(self, host: str, stack: ExitStack) -> None:
        while True:
            for n in random.sample(range(self.per_host), self.per_host):
                with ExitStack() as attempt:
                    if attempt.enter_context(slot(path_of(f"{host}.{n}"))):
                        stack.push(attempt.pop_all())
                        return
            time.sleep(POLL_S)

    def _wait(self, host: str, name: str, delay_s: float) -> None:
        """Until the time of that name, which is then set to that of the next request."""
        while True:
            with locked(path_of(f"{host}.json")) as state:
                renew(state)
                now = time.monotonic()
                resting_s, due = self._rest(state, now, host), number(state, name)
                if not resting_s and due <= now:
                    state[name] = now + max(MARGIN / self.requests_per_s, delay_s)
                    return
            time.sleep(min(max(resting_s, due - now), 1.0))

    def _rest(self, state: dict[str, Any], now: float, host: str) -> float:
        """Seconds for which the host is still to be left alone."""
        left_s = number(state, "not_before") - now
        if left_s > self.patience_s:
            text = f"{host} asked for no request within the next {left_s:.0f} s; `osd-build retry RUN` after that"
            raise ItemError(str(state.get("kind", "http_429")), text, retryable=True)
        return max(0.0, left_s)


def renew(state: dict[str, Any]) -> None:
    """Forget times of a clock that has begun anew since."""
    if state.get("boot") != boot():
        state.clear()
        state["boot"] = boot()


def number(state: dict[str, Any], name: str) -> float:
    """A time in the state; one that cannot be (the file may be damaged) counts as past."""
    at = state.get(name)
    return at if isinstance(at, float) and at <= time.monotonic() + LONGEST_S else 0.0


def folder() -> Path:
    return shared_folder() / "hosts"


def path_of(name: str) -> Path:
    return folder() / quote(name, safe="").replace("%", "_")[-120:]
