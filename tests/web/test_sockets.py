"""The guard: nothing a list or a server says makes the client connect to a private address. A canary listens there."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpcore2
import pytest

from builder.errors import ItemError
from builder.web import sockets
from builder.web.access import Access
from builder.web.address import is_public
from builder.web.client import Client
from builder.web.limits import Limits
from loopback import Answer, Canary, Site

PUBLIC = "93.184.216.34"
HOP = "127.0.0.77"  # taken for public in some tests
SECTIONS = Path(__file__).with_name("private_urls.txt").read_text("utf-8").split("\n# ")
FORMS = [line for section in SECTIONS for line in section.splitlines()[1:] if line]
UNDERSTOOD = [line for line in SECTIONS[1].splitlines()[1:] if line]
FORMS += [
    "http://127.0.0.1\t:PORT/",
    "http://127.0.0.1\r\n:PORT/",
    "ht\ntp://127.0.0.1:PORT/",
    "http://127.0.0.1\u200b:PORT/",
]
FORMS += ["http://example.invalid/ HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n"]
LISTENING = ("127.0.0.1", "127.0.0.2", "127.255.255.254", "::1")
REFUSALS = ("private_host", "bad_url", "no_such_host")


@pytest.fixture
def canary() -> Iterator[Canary]:
    with Canary(*LISTENING) as canary:
        yield canary
        assert canary.visits() == 0


@pytest.fixture
def guarded() -> Iterator[Client]:
    """As by default, but for the waits. Not even robots.txt is asked for."""
    with Client(Limits(attempts=2, wait_s=0.01, silence_s=5, requests_per_s=10_000)) as client:
        yield client


@pytest.fixture
def hop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site whose address is taken for public."""
    monkeypatch.setattr(sockets, "is_public", lambda address: address == HOP or is_public(address))
    with Site(HOP) as site:
        yield site


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """What names resolve to, the first time, the second time and so on; the last answer stays."""
    known: dict[str, list[list[str]]] = {}
    resolve: Callable[..., list[Any]] = socket.getaddrinfo

    def answer(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        if (answers := known.get(host)) is None:
            return resolve(host, port, *args, **kwargs)
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [entry for address in found for entry in resolve(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return known


def refused(client: Client, url: str, access: Access | None = None) -> str:
    with pytest.raises(ItemError) as caught:
        client.get(url, access=access)
    assert not caught.value.retryable or caught.value.kind == "no_such_host"
    return caught.value.kind


def test_no_form_of_a_private_address_is_connected_to(canary: Canary, guarded: Client) -> None:
    kinds = {form: refused(guarded, form.replace("PORT", str(canary.port))) for form in FORMS}
    assert {form: kind for form, kind in kinds.items() if kind not in REFUSALS} == {}
    assert len(kinds) >= 100


def test_the_canary_sings() -> None:
    """What a resolver understands does reach it when it may: else the test above could not fail."""
    with Client(Limits(allow_private_hosts=True, attempts=1, silence_s=0.05, robots=False)) as client:
        for form in UNDERSTOOD:
            with Canary(*LISTENING) as canary:
                with pytest.raises(ItemError):
                    client.get(form.replace("PORT", str(canary.port)))
                assert canary.visits() > 0, form


def test_no_redirect_leads_there(canary: Canary, guarded: Client, hop: Site) -> None:
    kinds = {}
    for n, form in enumerate(FORMS):
        place = form.replace("PORT", str(canary.port)).encode().decode("latin-1").replace("\r", "").replace("\n", "")
        url = hop.at(f"/{n}", Answer(b"", 302, {"Location": f"/{n}/again"}))
        hop.at(f"/{n}/again", Answer(b"", 307, {"Location": place}))
        with pytest.raises(ItemError) as caught:
            guarded.get(url)
        kinds[form] = caught.value.kind
        assert hop.asked(f"/{n}/again") == 1
    assert {form: kind for form, kind in kinds.items() if kind not in (*REFUSALS, "http_404")} == {}  # some are paths


def test_a_redirect_is_followed_where_it_may_be(guarded: Client, hop: Site) -> None:
    url = hop.at("/1", Answer(b"", 302, {"Location": hop.at("/2", Answer(b"arrived"))}))
    assert guarded.get(url).body == b"arrived"


def test_robots_may_not_redirect_there_either(canary: Canary, guarded: Client, hop: Site) -> None:
    hop.at("/robots.txt", Answer(b"", 302, {"Location": f"http://127.0.0.1:{canary.port}/"}))
    assert refused(guarded, hop.at("/a", Answer(b"secret"))) == "private_host"
    assert hop.asked("/a") == 0


@pytest.mark.parametrize(
    "found", [["127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], [PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC]]
)
def test_a_name_may_not_stand_for_one(
    canary: Canary, guarded: Client, names: dict[str, list[list[str]]], found: list[str]
) -> None:
    names["inside.example"] = [found]
    assert refused(guarded, f"http://inside.example:{canary.port}/") == "private_host"


def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to(
    canary: Canary, guarded: Client, names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that gives a public address first and a private one to who asks again."""
    names["rebind.example"] = [[PUBLIC], ["127.0.0.1"]]
    tried: list[str] = []

    def connect(host: str, *args: Any) -> httpcore2.NetworkStream:
        tried.append(host)
        raise httpcore2.ConnectError("not from here")

    monkeypatch.setattr(guarded.guard.sockets, "connect_tcp", connect)
    assert refused(guarded, f"http://rebind.example:{canary.port}/") == "private_host"
    assert tried == [PUBLIC]


def test_a_connection_that_is_kept_is_to_the_address_that_was_checked(
    canary: Canary, guarded: Client, hop: Site, names: dict[str, list[list[str]]]
) -> None:
    port = hop.server.server_port
    names["rebind.example"] = [[HOP], ["127.0.0.1"]]
    for path in ("/robots.txt", "/a", "/b"):
        hop.at(path, Answer(b"", keep=True))
    assert [guarded.get(f"http://rebind.example:{port}{path}").body for path in ("/a", "/b")] == [b"", b""]
    assert hop.connections == 1


def test_a_key_is_shown_to_nobody_else(canary: Canary, guarded: Client, hop: Site) -> None:
    access = Access("Site", "k3y", header="Authorization", query="key")
    for place in (f"http://127.0.0.1:{canary.port}/", "/elsewhere", f"http://{HOP}:{hop.server.server_port}/elsewhere"):
        hop.at("/a?key=k3y", Answer(b"", 302, {"Location": place}))
        assert refused(guarded, f"{hop.url}/a", access) == "redirected"
    assert hop.asked("/elsewhere") == 0
    assert all(headers["Authorization"] == "k3y" for path, _, headers in hop.requests)
    assert {path for path, _, _ in hop.requests} == {"/a?key=k3y"}


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_no_proxy_is_used(canary: Canary, limits: Limits, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """It would look up names itself."""
    monkeypatch.setenv(variable, f"http://127.0.0.1:{canary.port}")
    with Site() as site, Client(replace(limits, attempts=1)) as client:
        assert client.get(site.at("/a", Answer(b"direct"))).body == b"direct"


PUBLIC_FORMS = [
    PUBLIC,
    "8.8.8.8",
    "2606:2800:220:1:248:1893:25c8:1946",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
    "1.1.1.1",
]


@pytest.mark.parametrize("address", PUBLIC_FORMS)
def test_what_is_public(address: str) -> None:
    assert is_public(address)
    assert not is_public(f"{address}%1")
