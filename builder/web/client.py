"""The client: every request of the program goes through `Client.open`, which asks politely, checks and explains.

Each hop of a redirect is a request of its own here: its address, its host's robots.txt and its pace are checked anew.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from threading import Lock
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
import stamina

from builder.errors import ItemError
from builder.meter import Meter
from builder.records import utc_now
from builder.web import pages
from builder.web.access import Access
from builder.web.address import normalised, origin, shown
from builder.web.limits import Limits
from builder.web.pace import Pace
from builder.web.robots import AGENT, Rules, opted_out
from builder.web.sockets import Guard, Guarded

T = TypeVar("T")
LOG = logging.getLogger(__name__)
MAX_REDIRECTS = 5
PAGE_BYTES = 32 << 20
TRANSIENT = frozenset([408, 425, 429, 500, 502, 503, 504])  # other answers do not change by asking again
REDIRECTS = frozenset([301, 302, 303, 307, 308])


@dataclass(frozen=True)
class Page:
    """A small answer. Header names are in lower case; `kept` says that it came from the user's cache."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    retrieved_at: str = ""
    kept: bool = False

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Later(ItemError):
    """An attempt failed in a way that may pass: worth another one, but not before `after_s`."""

    after_s: float = 0.0


class Client:
    """Use it in a `with` statement, or call `close`. Threads may share it."""

    def __init__(self, limits: Limits | None = None, meter: Meter | None = None) -> None:
        self.limits = limits or Limits()
        self.meter = meter or Meter()
        self.guard = Guard(self.limits.allow_private_hosts)
        self.pace = Pace(self.limits.per_host, self.limits.requests_per_s, self.limits.patience_s)
        self.rules: dict[str, Rules] = {}
        self.asking: dict[str, Lock] = {}
        stamina.instrumentation.set_on_retry_hooks([])  # its own log line names no URL
        self.http = httpx2.Client(
            headers={"User-Agent": user_agent(self.limits.contact), "Accept-Encoding": "identity"},
            timeout=self.limits.silence_s,
            transport=Guarded(self.guard, self.limits.connections + 1),
            trust_env=False,  # neither a proxy, which would look up addresses itself, nor passwords from ~/.netrc
        )
        self.http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.http.close()

    def get(
        self, url: str, *, access: Access | None = None, keep_s: float = 0.0, params: Mapping[str, Any] | None = None
    ) -> Page:
        """A small answer, tried for as often as `Limits` say; one kept less than `keep_s` ago is not asked for again.

        Raises:
            ItemError: as `open` does, and `too_large`. Nothing in it tells the key of `access`.
        """
        url = str(httpx2.URL(normalised(url)).copy_merge_params(dict(params or {})))
        name = f"{access.service if access else ''} {url}"
        if keep_s and (kept := pages.kept(name, keep_s)):
            return Page(**kept, kept=True)
        page = self.tried(lambda: self._page(url, access))
        if keep_s:
            pages.keep(name, {n: getattr(page, n) for n in ("url", "body", "headers", "retrieved_at")})
        return page

    def tried(self, attempt: Callable[[], T]) -> T:
        """The result of `attempt`, which may fail with `Later` a number of times."""
        tries = stamina.retry_context(
            on=self._again,
            attempts=self.limits.attempts,
            timeout=None,
            wait_initial=self.limits.wait_s,
            wait_max=self.limits.patience_s,
            wait_jitter=self.limits.wait_s,
        )
        for once in tries:
            with once:
                return attempt()
        raise AssertionError("the last attempt neither returned nor raised")

    @contextmanager
    def open(
        self, url: str, headers: Mapping[str, str] | None = None, access: Access | None = None, check: bool = True
    ) -> Iterator[httpx2.Response]:
        """The answer to a GET, its body unread: 200 (or 206 or 416, if a range was asked for), after redirects.

        Raises:
            Filtered: `robots` or `opted_out`: the site does not want to be crawled.
            ItemError: `bad_url`, `private_host`, `http_<status>`, `timeout`, `connection`, `cut_short`, `downgrade`,
                `too_many_redirects`, `quota`; `Later` if another attempt may help.
        """
        for _ in range(MAX_REDIRECTS + 1):
            url = normalised(url)
            with ExitStack() as stack:
                response = self._send(url, headers or {}, access, check, stack)
                target = self._target(response, url, access)
                if not target:
                    check_answer(response, url, ranged="Range" in (headers or {}), access=access, pace=self.pace)
                    if check and self.limits.robots:
                        opted_out(response.headers.get_list("X-Robots-Tag"), url)
                    yield response
                    return
            url = target
        raise ItemError("too_many_redirects", f"{shown(url)} redirects more than {MAX_REDIRECTS} times; check the link")

    # -- inside
    def _again(self, error: Exception) -> bool:
        if not isinstance(error, Later) or error.after_s > self.limits.patience_s:
            return False
        LOG.info("%s", error)
        return True

    def _page(self, url: str, access: Access | None) -> Page:
        body = b""
        with self.open(url, access=access, check=access is None) as response, told_plainly(url):
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > PAGE_BYTES:
                    raise ItemError("too_large", f"{shown(url)} is larger than a page may be ({PAGE_BYTES:,} bytes)")
            names = ("content-type", "etag", "last-modified")
            kept = {n: v for n, v in response.headers.items() if n in names or n.startswith("x-ratelimit")}
        if access:
            body = access.redact(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        return Page(str(response.url), body, kept, utc_now())

    def _send(
        self, url: str, headers: Mapping[str, str], access: Access | None, check: bool, stack: ExitStack
    ) -> httpx2.Response:
        """Send a request when it may be sent; what belongs to its answer is closed with `stack`."""
        delay_s = self._rules(url).admit(url) if check and self.limits.robots and access is None else 0.0
        stack.enter_context(self.pace.turn(origin(url).partition("://")[2], delay_s))
        secret = {}
        if access:
            access.spend()
            headers = {**headers, access.header: access.key} if access.header else headers
            secret = {access.query: access.key} if access.query else {}
        stack.enter_context(told_plainly(url))
        stack.enter_context(self.guard.until(time.monotonic() + self.limits.deadline_s))
        request = self.http.build_request("GET", url, headers=headers, extensions={"secret": secret})
        response = self.http.send(request, stream=True)
        stack.callback(response.close)
        return response

    def _target(self, response: httpx2.Response, url: str, access: Access | None) -> str:
        """Where a redirect leads; empty for another answer."""
        place = response.headers.get("Location", "")
        if response.status_code not in REDIRECTS or not place:
            return ""
        target = normalised(str(httpx2.URL(url).join(place)))
        if access:
            text = f"{shown(url)} redirects to {shown(target)}; a key is not taken along, check the address"
            raise ItemError("redirected", text)
        if url.startswith("https:") and not target.startswith("https:"):
            raise ItemError("downgrade", f"{shown(url)} redirects to http, which is not followed; check the link")
        return target

    def _rules(self, url: str) -> Rules:
        """The robots.txt of the URL's host, asked for once. Without an answer the host cannot be crawled now."""
        site = origin(url)
        with self.asking.setdefault(site, Lock()):
            if site not in self.rules:
                try:
                    text = self.tried(lambda: self._robots(f"{site}/robots.txt"))
                except ItemError as error:
                    if not error.kind.startswith("http_4") or error.retryable:
                        raise
                    text = ""  # RFC 9309: "unavailable" means that everything is allowed
                self.rules[site] = Rules(text)
        return self.rules[site]

    def _robots(self, url: str) -> str:
        with self.open(url, check=False) as response, told_plainly(url):
            return b"".join(response.iter_bytes())[: Rules.MOST_BYTES].decode("utf-8", "replace")


def user_agent(contact: str) -> str:
    try:
        name = f"{AGENT}/{version('open-sora-dataset')}"
    except PackageNotFoundError:  # run from a source tree that was not installed
        name = AGENT
    return f"{name} ({contact})" if contact else name


@contextlib.contextmanager
def told_plainly(url: str) -> Iterator[None]:
    """Turn what the network can do into an ItemError."""
    try:
        yield
    except httpx2.TimeoutException as error:
        if "deadline" in str(error):
            text = f"{shown(url)} did not arrive in time; raise `web.deadline_s`, then `osd-build retry RUN` goes on"
            raise ItemError("timeout", text, retryable=True) from error
        raise Later("timeout", f"{shown(url)} went silent; `osd-build retry RUN` tries again", True) from error
    except httpx2.DecodingError as error:
        raise Later("cut_short", f"{shown(url)} sent a body that cannot be unpacked; check the link", True) from error
    except httpx2.RemoteProtocolError as error:
        text = f"{shown(url)} broke off before all of it had arrived; `osd-build retry RUN` tries again"
        raise Later("cut_short", text, True) from error
    except httpx2.RequestError as error:
        reason = str(error)[:200] if isinstance(error, httpx2.ConnectError) else type(error).__name__
        text = f"no connection to {shown(url)} ({reason}); check the link, then `osd-build retry RUN`"
        raise Later("connection", text, True) from error


def check_answer(response: httpx2.Response, url: str, ranged: bool, access: Access | None, pace: Pace) -> None:
    """Only 200 is an answer, or what answers a range."""
    status = response.status_code
    if status == httpx2.codes.OK or (ranged and status in (206, 416)):
        return
    answer = f"{shown(url)} answered {status} {response.reason_phrase}".rstrip()
    if access:
        with told_plainly(url):
            answer += f" ({access.redact(response.read().decode('utf-8', 'replace'))[:200].strip()})"
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
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
