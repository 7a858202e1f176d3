"""How fast a host is asked: a number of requests at a time and a second, over all processes of this user here.

Times are those of the monotonic clock, which all processes of a machine share: a clock set back or forth changes
nothing. After a restart of the machine it begins anew, so waits that cannot be are dropped.
"""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from builder.errors import ItemError
from builder.web.state import locked, shared_folder, slot

POLL_S = 0.02
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
            self._take_slot(host, stack)
            self._wait(host, max(MARGIN / self.requests_per_s, delay_s))
            yield

    def cool(self, host: str, seconds: float, kind: str) -> None:
        """The host asks for `seconds` without a request."""
        with locked(self._state(host)) as state:
            until = time.monotonic() + min(seconds, LONGEST_S)
            if until > state.get("not_before", 0.0):
                state |= {"not_before": until, "kind": kind}

    def _take_slot(self, host: str, stack: ExitStack) -> None:
        names = [f"{file_name(host)}.{n}" for n in range(self.per_host)]
        while True:
            for name in random.sample(names, len(names)):
                with ExitStack() as attempt:
                    if attempt.enter_context(slot(shared_folder() / "hosts" / name)):
                        stack.push(attempt.pop_all())
                        return
            time.sleep(POLL_S)

    def _wait(self, host: str, interval_s: float) -> None:
        while True:
            with locked(self._state(host)) as state:
                now = time.monotonic()
                resting = self._rest(state, now, host)
                due = sane(state.get("next", 0.0), now)
                if not resting and due <= now:
                    state["next"] = now + interval_s
                    return
            time.sleep(min(max(resting, due - now), 1.0))

    def _rest(self, state: dict[str, float | str], now: float, host: str) -> float:
        """Seconds for which the host is still to be left alone."""
        until = sane(state.get("not_before", 0.0), now)
        if until - now > self.patience_s:
            text = f"{host} asked for no request within the next {until - now:.0f} s"
            raise ItemError(str(state["kind"]), f"{text}; `osd-build retry RUN` after that", retryable=True)
        return max(0.0, until - now)

    def _state(self, host: str) -> Path:
        return shared_folder() / "hosts" / f"{file_name(host)}.json"


def sane(at: float | str, now: float) -> float:
    """A time kept from before a restart of the machine may lie far in the future."""
    return at if isinstance(at, float) and at - now <= LONGEST_S else 0.0


def file_name(host: str) -> str:
    return quote(host, safe="").replace("%", "_")[:120]
