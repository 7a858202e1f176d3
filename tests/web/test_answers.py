"""What servers do instead of answering: each has a name, and none holds a worker for longer than the limits say."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpcore2
import pytest

from builder.errors import ItemError
from builder.web.client import Client, Later
from builder.web.limits import Limits
from builder.web.sockets import Guard
from loopback import MUTE, Answer, Site

BODY = bytes(range(256)) * 100
SLOW = 0.2  # what is left of a minute in these tests


@pytest.fixture
def hasty(limits: Limits) -> Limits:
    return replace(limits, silence_s=SLOW, attempts=2, robots=False)


def failure(url: str, limits: Limits) -> ItemError:
    with Client(limits) as client, pytest.raises(ItemError) as caught:
        client.get(url)
    return caught.value


def flood(line: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + line * 20_000


NO_ANSWERS = {
    "garbage": Answer(raw=bytes(range(128, 256)) * 9 + b"\r\n\r\n"),
    "another protocol": Answer(raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
    "nothing, and goodbye": Answer(raw=b""),
    "half a header": Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Le"),
    "a flood of headers": Answer(raw=flood(b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")),
    "a header without end": Answer(raw=b"HTTP/1.1 200 OK\r\nX: " + b"a" * 2_000_000),
    "two lengths": Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "a length that is none": Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_http(site: Site, limits: Limits, name: str) -> None:
    error = failure(site.at("/a", NO_ANSWERS[name]), limits)
    assert (error.kind, error.retryable) == ("no_answer", True)
    assert site.asked("/a") == limits.attempts


LATE = {
    "never": MUTE,
    "not yet the body": Answer(BODY, silent_s=2),
    "a byte of the header now and then": Answer(BODY, header_pause_s=SLOW / 20),
    "half a header, then silence": Answer(raw=b"HTTP/1.1 200 OK\r\n", stuck=True),
}


@pytest.mark.parametrize("name", LATE)
def test_what_comes_too_late(site: Site, hasty: Limits, name: str) -> None:
    began = time.monotonic()
    error = failure(site.at("/a", LATE[name]), hasty)
    assert (error.kind, error.retryable) == ("timeout", True)
    assert "went silent" in error.message
    assert site.asked("/a") == hasty.attempts
    assert time.monotonic() - began < 20 * SLOW


def test_the_longest_string_of_interim_answers(site: Site, hasty: Limits) -> None:
    """1xx answers may come for ever: each is one, and none is the end."""
    error = failure(site.at("/a", Answer(raw=b"HTTP/1.1 102 Processing\r\n\r\n" * 1000, endless=True)), hasty)
    assert error.kind == "timeout"


BROKEN = {
    "less than announced": Answer(BODY, announced=len(BODY) + 1),
    "cut": Answer(BODY, cut=100),
    "cut in chunks": Answer(BODY, cut=100, chunked=True),
    "no chunks": Answer(BODY, announced=-1, headers={"Transfer-Encoding": "chunked"}),
    "not packed": Answer(BODY, headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_body_that_breaks_off_is_never_taken_for_the_whole(site: Site, client: Client, name: str) -> None:
    url = site.at("/a", BROKEN[name], Answer(BODY))
    assert client.get(url).body == BODY
    error = failure(site.at("/b", BROKEN[name]), client.limits)
    assert (error.kind, error.retryable) == ("cut_short", True)
    assert site.asked("/b") == client.limits.attempts


def test_a_connection_that_is_reset(site: Site, client: Client) -> None:
    assert client.get(site.at("/a", Answer(BODY, cut=100, reset=True), Answer(BODY))).body == BODY
    assert failure(site.at("/b", Answer(BODY, cut=100, reset=True)), client.limits).kind == "connection"


def test_a_body_that_trickles_is_given_up(site: Site, hasty: Limits) -> None:
    limits = replace(hasty, silence_s=5, slow_s=SLOW)
    error = failure(site.at("/a", Answer(BODY, pause_s=0.01)), limits)
    assert (error.kind, error.retryable) == ("too_slow", True)
    assert site.asked("/a") == limits.attempts


def test_what_is_slow_but_may_be_arrives(site: Site, hasty: Limits) -> None:
    limits = replace(hasty, silence_s=5, slow_s=SLOW, min_bytes_per_s=10)
    with Client(limits) as client:
        assert client.get(site.at("/a", Answer(BODY[:50], pause_s=0.01))).body == BODY[:50]


@pytest.mark.parametrize("pause_s", [0.02, 0.3])
def test_the_deadline_ends_it_at_once(site: Site, limits: Limits, pause_s: float) -> None:
    """Whether it passes while bytes come, or between two of them; more attempts would each take as long."""
    limits = replace(limits, deadline_s=0.5, min_bytes_per_s=0)
    began = time.monotonic()
    error = failure(site.at("/a", Answer(BODY, pause_s=pause_s)), limits)
    assert (error.kind, error.retryable, isinstance(error, Later)) == ("timeout", True, False)
    assert "deadline_s" in error.message
    assert site.asked("/a") == 1
    assert time.monotonic() - began < 5


def test_a_refusal_is_told_whole_although_it_is_not_read(site: Site, client: Client) -> None:
    assert failure(site.at("/a", Answer(b"x", 404, endless=True, announced=-1)), client.limits).kind == "http_404"


# -- no connection
def test_nobody_listens(limits: Limits) -> None:
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("127.0.0.1", 0))
        error = failure(f"http://127.0.0.1:{taken.getsockname()[1]}/a?key=sesame", limits)
    assert (error.kind, error.retryable) == ("connection", True)
    assert "sesame" not in str(error)


Resolve = Callable[..., list[Any]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names that were looked up: those in `.invalid` do not exist, of others the name server says nothing now."""
    asked: list[str] = []
    resolve: Resolve = socket.getaddrinfo

    def answer(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        if host.startswith("127."):
            return resolve(host, *args, **kwargs)
        asked.append(host)
        code = socket.EAI_NONAME if host.endswith(".invalid") else socket.EAI_AGAIN
        raise socket.gaierror(code, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    yield asked


def test_a_name_that_does_not_exist_is_looked_up_once(names: list[str], limits: Limits) -> None:
    error = failure("http://nowhere.invalid/a", limits)
    assert (error.kind, error.retryable, names) == ("no_such_host", True, ["nowhere.invalid"])
    names.clear()
    assert failure("http://somewhere.example/a", limits).kind == "connection"
    assert names == ["somewhere.example"] * limits.attempts


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b", "xn--a", "-", "."])
def test_names_that_cannot_be(host: str, limits: Limits) -> None:
    assert failure(f"http://{host}/a", replace(limits, attempts=1)).kind in ("no_such_host", "connection", "bad_url")


def test_one_address_of_several_is_enough(site: Site, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve: Resolve = socket.getaddrinfo

    def answer(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        hosts = ("127.0.0.2", "127.0.0.1") if host == "several.example" else (host,)
        return [entry for each in hosts for entry in resolve(each, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    site.at("/a", Answer(BODY))
    with Client(limits) as client:
        assert client.get(f"http://several.example:{site.server.server_port}/a").body == BODY


def test_both_families_are_tried_but_not_a_whole_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine may have either alone."""
    guard, tried = Guard(), list[str]()

    def connect(host: str, *_: Any) -> httpcore2.NetworkStream:
        tried.append(host)
        raise httpcore2.ConnectError("unreachable")

    addresses = [f"8.8.8.{n}" for n in range(9)] + [f"2606:2800::{n}" for n in range(9)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 80)) for address in addresses])
    monkeypatch.setattr(guard.sockets, "connect_tcp", connect)
    with pytest.raises(httpcore2.ConnectError):
        guard.connect_tcp("many.example", 80)
    assert tried == ["8.8.8.0", "2606:2800::0", "8.8.8.1", "2606:2800::1"]


# -- TLS
CERTIFICATE = Path(__file__).with_name("loopback.pem")


@pytest.fixture
def secure() -> Iterator[Site]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with Site(tls=context) as site:
        yield site


def test_a_certificate_that_nobody_vouches_for_is_looked_at_once(secure: Site, limits: Limits) -> None:
    error = failure(secure.at("/a", Answer(BODY)), limits)
    assert (error.kind, error.retryable) == ("certificate", False)
    assert secure.requests == []


def test_no_tls_on_the_other_side(site: Site, limits: Limits) -> None:
    error = failure(site.at("/a", Answer(BODY)).replace("http:", "https:"), limits)
    assert (error.kind, error.retryable) == ("connection", True)


def test_https_is_never_left(secure: Site, site: Site, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    there = secure.at("/b", Answer(BODY))
    assert (
        failure(secure.at("/a", Answer(b"", 302, {"Location": site.at("/c", Answer(BODY))})), limits).kind
        == "downgrade"
    )
    assert site.requests == []
    with Client(limits) as client:
        assert client.get(secure.at("/d", Answer(b"", 302, {"Location": there}))).body == BODY
        assert client.get(site.at("/e", Answer(b"", 302, {"Location": there}))).body == BODY
