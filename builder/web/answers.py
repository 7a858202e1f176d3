"""What servers answer, and what becomes of it when it is not the file that was asked for: an ItemError, which says
whether to ask again.
"""

import contextlib
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2

from builder.errors import ItemError
from builder.figures import one_line
from builder.web.access import Access
from builder.web.address import origin, shown
from builder.web.limits import Limits
from builder.web.pace import Pace

# Other answers do not change by asking again. From 520 on: Cloudflare, when the server behind it does not answer it.
TRANSIENT = frozenset([408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524])
ERROR_BYTES = 64 << 10  # of what a server says about an error


class Later(ItemError):
    """An attempt failed in a way that may pass: worth another one, but not before `after_s`."""

    after_s: float = 0.0


@contextlib.contextmanager
def told_plainly(url: str) -> Iterator[None]:
    """Turn what the network can do into an ItemError."""
    try:
        yield
    except httpx2.TimeoutException as error:
        if str(error) == "deadline":
            text = f"{shown(url)} did not arrive in time; raise `web.deadline_s`, then `osd-build retry RUN` goes on"
            raise ItemError("timeout", text, retryable=True) from error
        raise Later("timeout", f"{shown(url)} went silent; `osd-build retry RUN` tries again", True) from error
    except httpx2.DecodingError as error:
        raise Later("cut_short", f"{shown(url)} sent a body that cannot be unpacked; check the link", True) from error
    except httpx2.RemoteProtocolError:  # its text may hold what the server sent, and that what it was asked
        text = f"{shown(url)} broke off before all of it had arrived; `osd-build retry RUN` tries again"
        raise Later("cut_short", text, True) from None
    except httpx2.ConnectError as error:
        reason = str(error)[:200]
        text = f"no connection to {shown(url)} ({reason}); check the link, then `osd-build retry RUN`"
        if caused_by(error, ssl.SSLCertVerificationError):
            raise ItemError("certificate", text) from error
        raise Later("connection", text, True) from error
    except httpx2.RequestError as error:
        text = f"the connection to {shown(url)} was lost ({type(error).__name__}); `osd-build retry RUN` tries again"
        raise Later("connection", text, True) from error


@contextlib.contextmanager
def until_answered(url: str) -> Iterator[None]:
    """As `told_plainly`, as long as no header has come: what is no HTTP then is no file cut short."""
    try:
        yield
    except httpx2.RemoteProtocolError:
        text = f"{shown(url)} gave no answer that can be understood; check the link, then `osd-build retry RUN`"
        raise Later("no_answer", text, True) from None


def caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error and not isinstance(error, kind):
        error = error.__cause__ or error.__context__  # httpcore2 hides causes
    return error is not None


def check_answer(response: httpx2.Response, url: str, ranged: bool, access: Access | None, pace: Pace) -> None:
    """Only 200 is an answer, or what answers a range.

    Raises:
        ItemError: `http_<status>`; `Later` if another attempt may help.
    """
    status = response.status_code
    if status == httpx2.codes.OK or (ranged and status in (206, 416)):
        return
    answer = f"{shown(url)} answered {status} {one_line(response.reason_phrase[:80])}".rstrip()
    if access:
        with contextlib.suppress(ItemError), told_plainly(url):
            said = b"".join(beginning(response, ERROR_BYTES)).decode("utf-8", "replace")
            answer += f" ({one_line(access.redact(said))[:200]})"
    if status not in TRANSIENT:
        raise ItemError(f"http_{status}", f"{answer}; check the link")
    error = Later(f"http_{status}", f"{answer}; `osd-build retry RUN` tries again", True)
    if after_s := retry_after(response.headers.get("Retry-After", "")):
        error.after_s = after_s
        pace.cool(origin(url).partition("://")[2], after_s, error.kind)
    raise error


def retry_after(value: str) -> float | None:
    """Seconds from now: the header holds seconds or an HTTP date."""
    if value.strip().isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (date - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def beginning(response: httpx2.Response, most_bytes: int) -> Iterator[bytes]:
    """The chunks of a body, as many as are needed for so many bytes."""
    seen = 0
    for chunk in response.iter_bytes():
        yield chunk
        seen += len(chunk)
        if seen >= most_bytes:
            return


def steady(chunks: Iterator[bytes], limits: Limits, url: str) -> Iterator[bytes]:
    """The chunks, as long as they come at the least rate.

    Raises:
        Later: `too_slow`.
    """
    since, arrived = time.monotonic(), 0
    for chunk in chunks:
        yield chunk
        arrived += len(chunk)
        lasted_s = time.monotonic() - since
        if lasted_s >= limits.slow_s:
            if arrived < limits.min_bytes_per_s * lasted_s:
                text = f"{shown(url)} came at {arrived / lasted_s:,.0f} bytes/s, less than `web.min_bytes_per_s`"
                raise Later("too_slow", f"{text}; `osd-build retry RUN` goes on with it", True)
            since, arrived = time.monotonic(), 0
