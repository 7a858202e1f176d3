"""The client against a real server: what is asked for, how often, and what becomes of the answer."""

import gzip
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import ItemError
from builder.web import pages
from builder.web.access import Access
from builder.web.answers import retry_after
from builder.web.client import PAGE_BYTES, Client, Later
from builder.web.limits import Limits
from builder.web.state import shared_folder
from loopback import MUTE, Answer, Site

BODY = bytes(range(256)) * 100
API = Access("Site", "k3y", header="X-Key")


def failure(client: Client, url: str, access: Access | None = None) -> ItemError:
    with pytest.raises(ItemError) as caught:
        client.get(url, access=access)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return caught.value


# -- a page
def test_a_page_arrives_whole_with_its_facts(site: Site, client: Client) -> None:
    url = site.at("/a?b=%20c", Answer(BODY, headers={"ETag": '"x"', "X-RateLimit-Left": "7", "Set-Cookie": "a=b"}))
    page = client.get(url)
    assert (page.url, page.body, page.kept) == (url, BODY, False)
    assert page.headers == {"etag": '"x"', "x-ratelimit-left": "7"}
    assert abs(datetime.fromisoformat(page.retrieved_at) - datetime.now(UTC)) < timedelta(minutes=1)
    assert client.get(url).body == BODY
    assert not any("Cookie" in headers for _, _, headers in site.requests)


def test_the_client_says_who_it_is(site: Site, limits: Limits) -> None:
    with Client(replace(limits, contact="ops@example.org")) as client:
        client.get(site.at("/", Answer(BODY)))
    assert all("open-sora-dataset" in headers["User-Agent"] for _, _, headers in site.requests)
    assert all("(ops@example.org)" in headers["User-Agent"] for _, _, headers in site.requests)
    with pytest.raises(ValueError, match="contact"):
        replace(limits, contact="ops\n")


def test_parameters_are_added_and_a_query_is_left_as_it_is(site: Site, client: Client) -> None:
    for path in ("/a?q=a%20b&x=%2F", "/a?q=sea&page=2"):
        site.at(path, Answer(BODY))
    assert client.get(f"{site.url}/a?q=a%20b&x=%2F").url.endswith("?q=a%20b&x=%2F")
    assert client.get(f"{site.url}/a?q=sea", params={"page": 2}).url.endswith("?q=sea&page=2")


def test_a_page_is_kept_for_as_long_as_is_asked(site: Site, client: Client) -> None:
    url = site.at("/a", Answer(b"one\xff"), Answer(b"two"))
    assert [client.get(url, keep_s=60).body for _ in range(3)] == [b"one\xff"] * 3
    assert client.get(url, keep_s=60).kept
    assert client.get(url, keep_s=60, access=API).body == b"two"  # with a key it may be another page
    assert client.get(url, keep_s=1e-6).body == b"two"
    assert client.get(url).body == b"two"
    assert site.asked("/a") == 4


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b'{"body": 1}', b"\xff\xfe", b"[" * 100_000])
def test_a_page_that_was_kept_badly_is_asked_for_again(site: Site, client: Client, damage: bytes) -> None:
    url = site.at("/a", Answer(b"one"), Answer(b"two"))
    client.get(url, keep_s=60)
    [path] = (p for p in (shared_folder() / "pages").rglob("*.json") if p.name != "tidied.json")
    path.write_bytes(damage)
    assert client.get(url, keep_s=60).body == b"two"


def test_old_pages_are_dropped_while_others_are_kept() -> None:
    """By several threads at once, which find the same ones."""
    fields = {"url": "", "body": b"", "headers": {}, "retrieved_at": ""}
    for n in range(100):
        pages.keep(str(n), fields)
        os.utime(pages.path_of(str(n)), (0, 0))
    for marker in (shared_folder() / "pages").rglob("tidied.json"):
        marker.unlink()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: pages.keep(str(n), fields), range(100, 300)))
    assert [n for n in range(300) if pages.kept(str(n), 60)] == list(range(100, 300))
    assert not any(pages.path_of(str(n)).exists() for n in range(100))


def test_a_page_has_a_largest_size(site: Site, client: Client) -> None:
    assert failure(client, site.at("/endless", Answer(b"x", endless=True, announced=-1))).kind == "too_large"
    bomb = gzip.compress(bytes(PAGE_BYTES + 1))
    assert failure(client, site.at("/bomb", Answer(bomb, headers={"Content-Encoding": "gzip"}))).kind == "too_large"
    assert site.asked("/endless") == site.asked("/bomb") == 1


def test_a_page_may_be_packed(site: Site, client: Client) -> None:
    packed = gzip.compress(BODY)
    assert client.get(site.at("/a", Answer(packed, headers={"Content-Encoding": "gzip"}))).body == BODY
    assert failure(client, site.at("/b", Answer(BODY, headers={"Content-Encoding": "gzip"}))).kind == "cut_short"


# -- what is asked for again
@pytest.mark.parametrize("status", [204, 206, 301, 304, 400, 403, 404, 410, 416, 451, 501, 505])
def test_an_answer_that_will_not_change_is_asked_for_once(site: Site, client: Client, status: int) -> None:
    error = failure(client, site.at("/a", Answer(b"", status)))
    assert (error.kind, error.retryable, isinstance(error, Later)) == (f"http_{status}", False, False)
    assert site.asked("/a") == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 522])
def test_an_answer_that_may_change_is_asked_for_again(site: Site, client: Client, status: int) -> None:
    assert client.get(site.at("/a", Answer(b"busy", status), Answer(BODY))).body == BODY
    assert site.asked("/a") == 2
    error = failure(client, site.at("/b", Answer(b"busy", status)))
    assert (error.kind, error.retryable) == (f"http_{status}", True)
    assert site.asked("/b") == client.limits.attempts


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed(site: Site, client: Client, as_date: bool) -> None:
    due = datetime.now(UTC) + timedelta(seconds=2)
    value = format_datetime(due, usegmt=True) if as_date else "1"
    assert client.get(site.at("/a", Answer(b"", 429, {"Retry-After": value}), Answer(BODY))).body == BODY
    first, second = site.times("/a")
    if as_date:
        assert datetime.now(UTC) >= due.replace(microsecond=0)
    else:
        assert second - first >= 1


def test_a_server_that_asks_for_too_much_patience_is_left_alone(site: Site, client: Client) -> None:
    url = site.at("/a", Answer(b"", 503, {"Retry-After": "6"}), Answer(BODY))
    for _ in range(2):
        error = failure(client, url)
        assert (error.kind, error.retryable) == ("http_503", True)
    assert site.asked("/a") == 1


def test_both_forms_of_retry_after() -> None:
    assert retry_after("7") == 7
    soon = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert soon is not None and 50 < soon <= 60
    assert retry_after(format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)) == 0
    assert retry_after("") is retry_after("soon") is retry_after("-1") is None


@given(
    st.text() | st.from_regex(r"\w{3}, \d{1,2} \w{3} \d{1,9} \d\d:\d\d:\d\d ([+-]\d{1,12}|GMT|-0000)", fullmatch=True)
)
def test_any_retry_after_can_be_read(value: str) -> None:
    seconds = retry_after(value)
    assert seconds is None or seconds >= 0


def test_what_a_failure_says_of_the_next_attempt_is_pickled_along(site: Site, client: Client) -> None:
    with pytest.raises(Later) as caught, client.open(site.at("/a", Answer(b"", 429, {"Retry-After": "3"}))):
        pass
    assert pickle.loads(pickle.dumps(caught.value)).after_s == 3


# -- redirects
def test_redirects(site: Site, client: Client) -> None:
    site.at("/x/a", Answer(BODY))
    for n, (status, place) in enumerate(
        [(301, f"{site.url}/x/a"), (302, "/x/a"), (303, "x/a"), (307, "a"), (308, "?")]
    ):
        path = ("/0", "/1", "/2", "/x/3", "/x/a?")[n]
        if n < 4:
            page = client.get(site.at(path, Answer(b"moved", status, {"Location": place})))
            assert (page.url, page.body) == (f"{site.url}/x/a", BODY)
    assert failure(client, site.at("/loop", Answer(b"", 302, {"Location": "/loop"}))).kind == "too_many_redirects"
    assert site.asked("/loop") == 6


BAD_PLACES = ["file:///etc/passwd", "ftp://127.0.0.1/a", "http://[", "http://[::1", "http://a:b/", "http://\x7f/"]
BAD_PLACES += ["http://me:word@127.0.0.1/", "http://xn--/", "http://ex\xe4mple.\xad/", "javascript:alert(1)"]


@pytest.mark.parametrize("place", BAD_PLACES)
def test_a_redirect_to_what_is_no_address(site: Site, client: Client, place: str) -> None:
    error = failure(client, site.at("/a", Answer(b"", 302, {"Location": place})))
    assert error.kind in ("bad_url", "no_such_host", "connection", "http_302")
    assert site.asked("/a") == 1


def test_a_key_is_not_taken_along_by_a_redirect(site: Site, client: Client) -> None:
    url = site.at("/a", Answer(b"", 302, {"Location": site.at("/b", Answer(BODY))}))
    assert failure(client, url, API).kind == "redirected"
    assert site.asked("/b") == 0


# -- what is kept between requests
def test_connections_are_used_again(site: Site, client: Client) -> None:
    for n in range(5):
        client.get(site.at(f"/{n}", Answer(BODY, keep=True)), access=API)
    assert site.connections == 1


def test_a_connection_that_was_closed_meanwhile_is_opened_anew(site: Site, client: Client) -> None:
    for n in range(5):
        client.get(site.at(f"/{n}", Answer(BODY, keep=n % 2 == 0)), access=API)
    assert site.asked("/3") == 1


@pytest.mark.parametrize("more", [b"x", b"HTTP/1.1 404 Not Found\r\n\r\n", bytes(100_000)])
def test_what_is_sent_after_a_body_spoils_no_other_answer(site: Site, client: Client, more: bytes) -> None:
    """An announced length that is too short leaves bytes that look like the beginning of the next answer."""
    for n in range(4):
        client.get(site.at(f"/{n}", Answer(BODY + more, announced=len(BODY), keep=True)), access=API)
        assert client.get(site.at(f"/good{n}", Answer(b"good", keep=True)), access=API).body == b"good"


def test_threads_share_a_client(site: Site, client: Client) -> None:
    urls = [site.at(f"/{n}", Answer(str(n).encode(), keep=bool(n % 3))) for n in range(100)]
    with ThreadPoolExecutor(16) as pool:
        assert [page.text for page in pool.map(client.get, urls)] == [str(n) for n in range(100)]
    assert site.asked("/robots.txt") == 1


def test_nothing_is_left_open(site: Site, limits: Limits) -> None:
    answers = [Answer(b"", 404), Answer(b"", 302, {"Location": "/x"}), Answer(BODY, cut=9), Answer(b"", raw=b"no HTTP")]
    answers += [
        Answer(BODY, cut=9, reset=True),
        Answer(b"x", endless=True, announced=-1),
        Answer(b"", 503),
        Answer(BODY),
        MUTE,
    ]
    urls = [site.at(f"/{n}", answer) for n, answer in enumerate(answers)]
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Client(replace(limits, silence_s=1, attempts=1)) as client, ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(client.get, url) for url in urls * 3]
        assert sum(future.exception() is None for future in futures) == 3
        transport = client.http._transport
        assert isinstance(transport, httpx2.HTTPTransport)
        assert all(connection.is_idle() for connection in transport._pool.connections)
    deadline = time.monotonic() + 10  # the server's own sockets
    while len(list(Path("/proc/self/fd").iterdir())) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
