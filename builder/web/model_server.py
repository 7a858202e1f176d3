"""Servers of models that speak OpenAI's API: what they list, and what they answer to a chat.

Frames of clips go there, so the server has to be this machine's or of a private network, unless its host is allowed by
name. Pace and back-off are the client's: of all processes here, so many requests are under way at a time.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

import httpx2

from builder.errors import ItemError, RunError
from builder.figures import one_line
from builder.web.access import Access
from builder.web.address import is_near, is_public, normalised, shown
from builder.web.answers import TRANSIENT, Later, beginning, retry_after, told_plainly, until_answered
from builder.web.client import REDIRECTS, Client, host_of, keyless
from builder.web.limits import Limits
from builder.web.sockets import Guard

T = TypeVar("T")
ANSWER_BYTES = 4 << 20  # far above what the longest caption takes
SAID = 300  # characters of what a server says about an error
GREETING, LIST_S = 2, 30.0  # attempts, and seconds for each, before anything else is asked
UNKNOWN_KEY = (401, 402, 403)


class Near(Guard):
    """Opens connections to this machine and to private networks; elsewhere to the hosts in `allowed` alone."""

    def __init__(self, allowed: Sequence[str], plain_key: bool) -> None:
        super().__init__()
        self.allowed, self.plain_key = frozenset(host.lower() for host in allowed), plain_key

    def admit(self, host: str, addresses: Sequence[str]) -> None:
        """Refuse a host for one of its addresses.

        Raises:
            RunError: it is a public one and was not allowed by name, or would be sent a key that others can read.
        """
        far = [address for address in addresses if not is_near(address)]
        if far and host.lower() not in self.allowed:
            text = f"{host} ({far[0]}) is outside of your network, and would be sent frames of your videos"
            raise RunError(f'{text}; if that is what you want, set allow_hosts = ["{host}"]')
        if self.plain_key and any(map(is_public, addresses)):
            raise RunError(f"the key would travel to {host} for all to read; write https:// in `url`")


class ModelServer:
    """One server, as threads may share it. `url` ends before `/chat/completions`; `access` holds the key, if any.

    `limits.per_host` requests are under way at a time, and each may take `limits.deadline_s`.
    """

    def __init__(self, url: str, limits: Limits, access: Access | None = None, allowed: Sequence[str] = ()) -> None:
        self.url = normalised(url).rstrip("/")
        self.access = access
        self.client = Client(limits, guard=Near(allowed, bool(access) and self.url.startswith("http:")))

    def close(self) -> None:
        self.client.close()

    def models(self) -> list[Mapping[str, Any]] | None:
        """What the server lists; None where it keeps no list. This is the first thing it is asked.

        Raises:
            RunError: there is no server, or none that wants to talk.
        """
        try:
            listed = self.ask("models", None, lambda answer: answer.get("data"), GREETING)
        except ItemError:
            return None
        return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else None

    def chat(self, body: Mapping[str, Any], read: Callable[[dict[str, Any]], T], attempts: int = 0) -> T:
        """What `read` makes of the answer to a chat; tried as often as the limits say, or `attempts`.

        Raises:
            ItemError: as `ask` does, or `read`.
            RunError: as `ask` does.
        """
        return self.ask("chat/completions", json.dumps(body).encode(), read, attempts)

    def ask(self, path: str, data: bytes | None, read: Callable[[dict[str, Any]], T], attempts: int) -> T:
        """What `read` makes of the JSON object that answers a POST of `data`, or a GET.

        Raises:
            ItemError: `http_<status>`, `timeout`, `connection`, `cut_short`, `no_answer`, `too_large`; `Later` if it
                was the last attempt. None tells the key.
            RunError: no server, a host that is not allowed, a redirect, an unknown key: as good as all will fail.
        """
        url = f"{self.url}/{path}"
        try:
            with keyless(self.access):
                return self.client.tried(lambda: read(self._once(url, data)), attempts)
        except ItemError as error:
            if error.kind in ("no_server", "no_such_host", "certificate"):
                raise RunError(error.message) from None
            raise

    # -- inside
    def _once(self, url: str, data: bytes | None) -> dict[str, Any]:
        client = self.client
        with ExitStack() as stack:
            stack.enter_context(client.pace.turn(host_of(url)))
            stack.enter_context(told_plainly(url))
            # Called an answer, as a deadline is not tried again.
            wait_s = client.limits.deadline_s if data else min(client.limits.deadline_s, LIST_S)
            stack.enter_context(client.guard.until(time.monotonic() + wait_s, "answer"))
            request = client.http.build_request(
                "GET" if data is None else "POST",
                url,
                content=data,
                headers={"Content-Type": "application/json"},
                extensions={"access": self.access},
            )
            try:
                with until_answered(url):
                    response = client.http.send(request, stream=True)
            except httpx2.ConnectError as error:
                raise self._not_there(error) from error
            stack.callback(response.close)
            body = b"".join(beginning(response, ANSWER_BYTES + 1))
            if self.access:  # it may be echoed anywhere
                body = self.access.redact(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            self._check(response, url, body)
        return parsed(body, url)

    def _not_there(self, error: httpx2.ConnectError) -> ItemError:
        if "CERTIFICATE" in str(error):
            return ItemError(
                "certificate", f"{shown(self.url)} is not trusted ({str(error)[:SAID]}); see SSL_CERT_FILE"
            )
        start = "start one there (vllm serve MODEL, or: transformers serve MODEL), or correct `url`"
        return Later("no_server", f"no server answers at {shown(self.url)} ({str(error)[:SAID]}): {start}", True)

    def _check(self, response: httpx2.Response, url: str, body: bytes) -> None:
        status = response.status_code
        if status in REDIRECTS:
            place = shown(response.headers.get("Location", "nowhere"))
            raise RunError(f"{shown(url)} redirects to {place}, which is not followed; correct `url`")
        if status == httpx2.codes.OK:
            if len(body) > ANSWER_BYTES:
                raise ItemError("too_large", f"{shown(url)} gave an answer of more than {ANSWER_BYTES:,} bytes")
            return
        said = one_line(body.decode("utf-8", "replace"))[:SAID]
        text = f"{shown(url)} answered {status} ({said})"
        if status in UNKNOWN_KEY:
            raise RunError(f"{text}; name the environment variable that holds the key in `key_env`, or correct the key")
        if status not in TRANSIENT:
            raise ItemError(f"http_{status}", text)
        error = Later(f"http_{status}", f"{text}; `osd-build retry RUN` tries again", True)
        if after_s := retry_after(response.headers.get("Retry-After", "")):
            error.after_s = after_s
            self.client.pace.cool(host_of(url), after_s, error.kind)
        raise error


def parsed(body: bytes, url: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        said = one_line(body[:SAID].decode("utf-8", "replace"))
        raise Later("no_answer", f"{shown(url)} answered what is no JSON object ({said})", True)
    return answer
