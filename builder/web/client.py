"""The only file that touches the network: one client that streams, checks and tries again.

Every request passes `admit`, those of redirects too.
"""

import contextlib
import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import BinaryIO, Self

import httpx2
import stamina

from builder.errors import ItemError
from builder.web.address import shown

LOG = logging.getLogger(__name__)
MAX_REDIRECTS = 5
TRANSIENT = frozenset([408, 425, 429, 500, 502, 503, 504])  # other answers do not change by asking again
SNIFF_BYTES = 512
WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<script")


@dataclass(frozen=True)
class Limits:
    """`silence_s` without a byte, or `deadline_s` in all, is a timeout.

    Waits between attempts start at `wait_s` and double; a server that asks for more than `patience_s` is given up.
    """

    size_bytes: int = 4 << 30
    silence_s: float = 60.0
    deadline_s: float = 3600.0
    attempts: int = 4
    wait_s: float = 1.0
    patience_s: float = 120.0


@dataclass(frozen=True)
class Download:
    """What came over the wire. `retrieved_at` is UTC, to the second."""

    size_bytes: int
    sha256: str
    etag: str
    last_modified: str
    retrieved_at: str


class Later(ItemError):
    """An attempt failed in a way that may pass: worth another one, after `after_s` if the server said when."""

    after_s: float | None = None


class Client:
    """Use it in a `with` statement, or call `close`."""

    def __init__(self, limits: Limits | None = None, contact: str = "") -> None:
        self.limits = limits or Limits()
        stamina.instrumentation.set_on_retry_hooks([])  # its own log line names no URL
        self.http = httpx2.Client(
            headers={"User-Agent": user_agent(contact), "Accept-Encoding": "identity"},
            timeout=self.limits.silence_s,
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            event_hooks={"request": [self.admit]},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.http.close()

    def admit(self, request: httpx2.Request) -> None:
        """Refuse or delay a request: the place for the address guard, robots.txt and limits per host."""
        if request.url.scheme not in ("http", "https"):
            raise ItemError("bad_url", f"redirected to a {request.url.scheme}: address, which is never followed")

    def download(self, url: str, file: BinaryIO) -> Download:
        """Write the body to `file` (from its start), hashing on the way.

        Raises:
            ItemError: `http_<status>`, `timeout`, `connection`, `cut_short`, `too_large`, `empty_body`, `web_page`,
                `too_many_redirects`; retryable if it may pass.
        """
        started = time.monotonic()
        attempts = stamina.retry_context(
            on=self._wait,
            attempts=self.limits.attempts,
            timeout=self.limits.deadline_s,
            wait_initial=self.limits.wait_s,
            wait_max=self.limits.patience_s,
            wait_jitter=self.limits.wait_s,
        )
        for attempt in attempts:
            with attempt:
                file.seek(0)
                file.truncate()
                return self._attempt(url, file, started)
        raise AssertionError("the last attempt neither returned nor raised")

    def _wait(self, error: Exception) -> bool | float:
        """Whether to try again, or after how many seconds."""
        if not isinstance(error, Later) or (error.after_s or 0.0) > self.limits.patience_s:
            return False
        LOG.info("%s", error)
        return True if error.after_s is None else error.after_s

    def _attempt(self, url: str, file: BinaryIO, started: float) -> Download:
        with told_plainly(url), self.http.stream("GET", url) as response:
            check_answer(response, url)
            size_bytes, sha256 = self._copy(response, file, url, started)
            headers = response.headers
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Download(size_bytes, sha256, headers.get("ETag", ""), headers.get("Last-Modified", ""), now)

    def _copy(self, response: httpx2.Response, file: BinaryIO, url: str, started: float) -> tuple[int, str]:
        """The body into `file`: its size and sha256."""
        digest, head, size_bytes = hashlib.sha256(), b"", 0
        announced = response.headers.get("Content-Length", "")
        self._check_size(int(announced) if announced.isdecimal() else 0, url)
        for chunk in response.iter_bytes():
            size_bytes += len(chunk)
            self._check_size(size_bytes, url)
            if time.monotonic() - started > self.limits.deadline_s:
                text = f"{shown(url)} did not arrive within {self.limits.deadline_s:g} s; raise `fetch.deadline_s`"
                raise ItemError("timeout", text, retryable=True)
            if len(head) < SNIFF_BYTES:
                head = (head + chunk)[:SNIFF_BYTES]
                check_no_page(head, url)
            digest.update(chunk)
            file.write(chunk)
        if not size_bytes:
            raise ItemError("empty_body", f"{shown(url)} answered with 0 bytes; check the link", retryable=True)
        return size_bytes, digest.hexdigest()

    def _check_size(self, size_bytes: int, url: str) -> None:
        if size_bytes > self.limits.size_bytes:
            limit = f"{self.limits.size_bytes:,} bytes"
            raise ItemError("too_large", f"{shown(url)} is larger than {limit}; raise `fetch.max_size_bytes` and retry")


def user_agent(contact: str) -> str:
    try:
        name = f"open-sora-dataset/{version('open-sora-dataset')}"
    except PackageNotFoundError:  # run from a source tree that was not installed
        name = "open-sora-dataset"
    return f"{name} ({contact})" if contact else name


@contextlib.contextmanager
def told_plainly(url: str) -> Iterator[None]:
    """Turn what the network can do into an ItemError."""
    try:
        yield
    except httpx2.TimeoutException as error:
        raise Later("timeout", f"{shown(url)} went silent; `osd-build retry RUN` tries again", True) from error
    except httpx2.TooManyRedirects as error:
        text = f"{shown(url)} redirects more than {MAX_REDIRECTS} times; check the link"
        raise ItemError("too_many_redirects", text) from error
    except httpx2.RemoteProtocolError as error:
        text = f"{shown(url)} broke off before all of it had arrived; `osd-build retry RUN` tries again"
        raise Later("cut_short", text, True) from error
    except httpx2.RequestError as error:
        text = f"no connection to {shown(url)} ({type(error).__name__}); check the link, then `osd-build retry RUN`"
        raise Later("connection", text, True) from error


def check_answer(response: httpx2.Response, url: str) -> None:
    """Only 200 is an answer."""
    status = response.status_code
    if status == httpx2.codes.OK:
        return
    answer = f"{shown(url)} answered {status} {response.reason_phrase}".rstrip()
    if status not in TRANSIENT:
        raise ItemError(f"http_{status}", f"{answer}; check the link")
    error = Later(f"http_{status}", f"{answer}; `osd-build retry RUN` tries again", True)
    error.after_s = retry_after(response.headers.get("Retry-After", ""))
    raise error


def retry_after(value: str) -> float | None:
    """Seconds from now: the header holds seconds or an HTTP date."""
    if value.strip().isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def check_no_page(head: bytes, url: str) -> None:
    """Error and login pages often come with status 200; the declared type is wrong too often to go by."""
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(WEB_PAGE):
        raise ItemError("web_page", f"{shown(url)} answered with a web page instead of a file; check the link")
