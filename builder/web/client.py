"""The client: every request of the program goes through `Client.open`, which asks politely, checks and explains.

Each hop of a redirect is a request of its own here: its address, its host's robots.txt and its pace are checked anew.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
import stamina

from builder.digests import utc_now
from builder.errors import Filtered, ItemError
from builder.meter import Meter
from builder.web import pace, pages
from builder.web.access import Access
from builder.web.address import masked, normalised, origin, shown
from builder.web.answers import Later, beginning, check_answer, steady, told_plainly, until_answered
from builder.web.limits import Limits
from builder.web.robots import AGENT, MOST_BYTES, Sites, opted_out
from builder.web.sockets import Guard, Guarded
from builder.web.state import tidy

__all__ = ["MAX_REDIRECTS", "PAGE_BYTES", "REDIRECTS", "Client", "Later", "Page", "check_answer", "told_plainly"]

T = TypeVar("T")
LOG = logging.getLogger(__name__)
MAX_REDIRECTS = 5
PAGE_BYTES = 32 << 20
REDIRECTS = frozenset([301, 302, 303, 307, 308])
KEPT_HEADERS = ("content-type", "etag", "last-modified")  # and x-ratelimit-*
SENDING = "send_request_headers.started"  # what httpcore2 calls the moment before the first byte


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


class Client:
    """Use it in a `with` statement, or call `close`. Threads may share it."""

    def __init__(self, limits: Limits | None = None, meter: Meter | None = None, guard: Guard | None = None) -> None:
        self.limits = limits or Limits()
        self.meter = meter or Meter()
        self.guard = guard or Guard(self.limits.allow_private_hosts)
        self.pace = pace.Pace(self.limits.per_host, self.limits.requests_per_s, self.limits.patience_s)
        self.sites = Sites(lambda url: self.tried(lambda: self._robots(url)))
        tidy(pace.folder(), pace.LONGEST_S)  # a list may name any number of hosts
        stamina.instrumentation.set_on_retry_hooks([])  # its own log line names no URL
        silence()
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
        url = normalised(url)
        url = str(httpx2.URL(url).copy_merge_params(dict(params))) if params else url
        name = f"{access.service if access else ''} {url}"
        if keep_s and (kept := pages.kept(name, keep_s)):
            return Page(**kept, kept=True)
        page = self.tried(lambda: self._page(url, access))
        if keep_s:
            pages.keep(name, {n: getattr(page, n) for n in pages.FIELDS} | {"url": masked(page.url)})
        return page

    def tried(self, attempt: Callable[[], T], attempts: int = 0) -> T:
        """The result of `attempt`, which may fail with `Later` a number of times: as `Limits` say, or `attempts`."""
        tries = stamina.retry_context(
            on=self._again,
            attempts=attempts or self.limits.attempts,
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
            ItemError: `bad_url`, `private_host`, `no_such_host`, `certificate`, `http_<status>`, `timeout`,
                `connection`, `no_answer`, `cut_short`, `downgrade`, `too_many_redirects`, `quota`, with a key
                `redirected`; `Later` if another attempt may help. Nothing in it tells the key of `access`.
        """
        with keyless(access):
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
        body = bytearray()
        with self.open(url, access=access, check=access is None) as response:
            for chunk in steady(response.iter_bytes(), self.limits, url):
                body += chunk
                if len(body) > PAGE_BYTES:
                    raise ItemError("too_large", f"{shown(url)} is larger than a page may be ({PAGE_BYTES:,} bytes)")
        names = [n for n in response.headers if n in KEPT_HEADERS or n.startswith("x-ratelimit")]
        kept = {n: response.headers[n] for n in names}
        page = bytes(body)
        if access:
            kept = {n: access.redact(value) for n, value in kept.items()}
            page = access.redact(page.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        return Page(str(response.url), page, kept, utc_now())

    def _send(
        self, url: str, headers: Mapping[str, str], access: Access | None, check: bool, stack: ExitStack
    ) -> httpx2.Response:
        """Send a request when it may be sent; what belongs to its answer is closed with `stack`."""
        crawls, limits, host = check and self.limits.robots and access is None, self.limits, host_of(url)
        delay_s = self.sites.rules(url).admit(url) if crawls else 0.0
        if access:
            access.spend()
        stack.enter_context(self.pace.turn(host, delay_s))
        stack.enter_context(told_plainly(url))
        stack.enter_context(self.guard.until(time.monotonic() + limits.deadline_s, "deadline"))
        departing = partial(self._departing, host, delay_s)
        request = self.http.build_request(
            "GET", url, headers=headers, extensions={"access": access, "trace": departing}
        )
        with until_answered(url), self.guard.until(time.monotonic() + limits.silence_s, "header"):
            response = self.http.send(request, stream=True)
        stack.callback(response.close)
        LOG.debug("%s: %d", shown(url), response.status_code)
        return response

    def _departing(self, host: str, delay_s: float, event: str, _: Any) -> None:
        if event.endswith(SENDING):
            self.pace.depart(host, delay_s)

    def _target(self, response: httpx2.Response, url: str, access: Access | None) -> str:
        """Where a redirect leads; empty for another answer."""
        place = response.headers.get("Location", "")
        if response.status_code not in REDIRECTS or not place:
            return ""
        try:
            target = normalised(str(httpx2.URL(url).join(place)))
        except (httpx2.InvalidURL, ValueError, ItemError):
            raise ItemError("bad_url", f"{shown(url)} redirects to no http or https address; check the link") from None
        if access:
            text = f"{shown(url)} redirects to {shown(target)}; a key is not taken along, check the address"
            raise ItemError("redirected", text)
        if url.startswith("https:") and not target.startswith("https:"):
            raise ItemError("downgrade", f"{shown(url)} redirects to http, which is not followed; check the link")
        return target

    def _robots(self, url: str) -> str:
        with self.open(url, check=False) as response:
            body = b"".join(steady(beginning(response, MOST_BYTES), self.limits, url))
        return body[:MOST_BYTES].decode("utf-8-sig", "replace")


def host_of(url: str) -> str:
    """What a pace is kept for: host, and port if it is not the usual one."""
    return origin(url).partition("://")[2]


@contextmanager
def keyless(access: Access | None) -> Iterator[None]:
    """Let no error hold the key, which the server may have echoed: neither in its text, nor in what led to it."""
    try:
        yield
    except (ItemError, Filtered) as error:
        if not access:
            raise
        kind, message, *more = error.args
        told = type(error)(kind, access.redact(message), *more)
        vars(told).update({n: value for n, value in vars(error).items() if n == "after_s"})
        raise told from None


def silence() -> None:
    """Let the libraries below log nothing: they tell of whole URLs and headers, whose parts may be secret."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("httpx2", "httpcore2") and silent not in logging.getLogger(name).filters:
            logging.getLogger(name).addFilter(silent)


def silent(record: logging.LogRecord) -> bool:
    return False


def user_agent(contact: str) -> str:
    try:
        name = f"{AGENT}/{version('open-sora-dataset')}"
    except PackageNotFoundError:  # run from a source tree that was not installed
        name = AGENT
    return f"{name} ({contact})" if contact else name
