"""Keys to APIs, and the limits that go with them: counted per key, over all runs of this user, across restarts."""

import hashlib
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

from builder.errors import ItemError
from builder.web.address import MASK
from builder.web.state import locked, shared_folder

LOG = logging.getLogger(__name__)
WAITED_FOR_S = 3600.0  # the hourly limits of APIs; for a monthly one nobody waits


@dataclass(frozen=True)
class Window:
    """At most `requests` in any `seconds`."""

    requests: int
    seconds: float


@dataclass(frozen=True)
class Access:
    """A key, sent in `header`, after `scheme`, or as the parameter `query`. It is added at the socket: no URL or
    message holds it."""

    service: str
    key: str = field(repr=False)
    header: str = ""
    query: str = ""
    windows: tuple[Window, ...] = ()
    scheme: str = ""

    def __post_init__(self) -> None:
        if not (self.key.isascii() and self.key.isprintable()):  # else the error would come from below, and quote it
            raise ItemError("bad_key", f"the key for {self.service} holds characters that no key has; set it again")

    @property
    def credentials(self) -> str:
        """What the header holds."""
        return f"{self.scheme} {self.key}".lstrip()

    def spend(self) -> None:
        """Count a request; wait until it is allowed if that is within the hour.

        Raises:
            ItemError: `quota`, retryable, when it is not.
        """
        told = False
        while wait_s := self._try():
            if wait_s > WAITED_FOR_S:
                text = f"{self.service} allows {self._limits()} for this key; the next one in {wait_s / 3600:.1f} h"
                raise ItemError("quota", f"{text}: `osd-build retry RUN` then", retryable=True)
            if not told and wait_s > 1:
                LOG.warning("%s allows %s: waiting %.0f s for the next one", self.service, self._limits(), wait_s)
                told = True
            time.sleep(min(wait_s, 5.0))

    def redact(self, text: str) -> str:
        """The text without the key, also as a URL holds it."""
        for form in filter(None, (self.key, quote(self.key, safe=""), quote_plus(self.key))):
            text = text.replace(form, MASK)
        return text

    def _try(self) -> float:
        """0 after counting a request, else the seconds until one is allowed."""
        digest = hashlib.sha256(f"{self.service}:{self.key}".encode()).hexdigest()
        with locked(shared_folder() / "keys" / f"{self.service}-{digest[:16]}.json") as state:
            now = time.time()
            longest = max((window.seconds for window in self.windows), default=0.0)
            used = [t for t in past(state.get("used"), now) if now - t < longest]
            wait_s = max((until_free(used, window, now) for window in self.windows), default=0.0)
            state["used"] = used if wait_s else [*used, round(now, 3)]
            return wait_s

    def _limits(self) -> str:
        return " and ".join(f"{w.requests:,} requests in {w.seconds:,.0f} s" for w in self.windows)


def past(times: Any, now: float) -> list[float]:
    """The times of uses that are in a state, which may be damaged. One in the future, of a clock since set back, is
    taken for now, and kept as that: else it would count until the clock is there again."""
    known = times if isinstance(times, list) else []
    return [min(t, now) for t in known if isinstance(t, float) and not math.isnan(t)]


def until_free(used: Sequence[float], window: Window, now: float) -> float:
    """Seconds until one more request fits into the window, after those at the times `used`."""
    recent = sorted(t for t in used if now - t < window.seconds)
    if len(recent) < window.requests:
        return 0.0
    return max(recent[len(recent) - window.requests] + window.seconds - now, 0.001)
