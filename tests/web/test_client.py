"""The client against a real server that misbehaves in the ways servers do."""

import dataclasses
import hashlib
import io
import pickle
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from builder.errors import ItemError
from builder.web.client import Client, Download, Limits, retry_after
from loopback import Answer, Site

LIMITS = Limits(size_bytes=100_000, silence_s=5, deadline_s=20, attempts=3, wait_s=0.01, patience_s=5)
BODY = bytes(range(256)) * 100


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


def get(url: str, limits: Limits = LIMITS) -> tuple[bytes, Download]:
    with Client(limits, "ops@example.org") as client:
        download = client.download(url, file := io.BytesIO(b"left over" * 20_000))
    return file.getvalue(), download


def failure(url: str, limits: Limits = LIMITS) -> ItemError:
    with pytest.raises(ItemError) as caught:
        get(url, limits)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return caught.value


def test_a_body_arrives_whole_with_its_facts(site: Site) -> None:
    url = site.at("/a.mp4", Answer(BODY, headers={"ETag": '"x"', "Last-Modified": "Mon, 02 Nov 2026 00:00:00 GMT"}))
    body, download = get(url)
    assert body == BODY
    assert (download.size_bytes, download.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())
    assert (download.etag, download.last_modified) == ('"x"', "Mon, 02 Nov 2026 00:00:00 GMT")
    assert abs(datetime.fromisoformat(download.retrieved_at) - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_client_says_who_it_is(site: Site) -> None:
    get(site.at("/a.mp4", Answer(BODY)))
    sent = site.requests[0][2]
    assert sent["User-Agent"].startswith("open-sora-dataset")
    assert "ops@example.org" in sent["User-Agent"]


@pytest.mark.parametrize("status", [204, 301, 400, 403, 404, 410, 501])
def test_an_answer_that_will_not_change_is_asked_for_once(site: Site, status: int) -> None:
    error = failure(site.at("/a.mp4", Answer(b"", status)))
    assert (error.kind, error.retryable) == (f"http_{status}", False)
    assert site.asked("/a.mp4") == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_answer_that_may_change_is_asked_for_again(site: Site, status: int) -> None:
    url = site.at("/a.mp4", Answer(b"busy", status), Answer(BODY))
    assert get(url)[0] == BODY
    assert site.asked("/a.mp4") == 2
    error = failure(site.at("/b.mp4", Answer(b"busy", status)))
    assert (error.kind, error.retryable) == (f"http_{status}", True)
    assert site.asked("/b.mp4") == LIMITS.attempts


def test_retry_after_is_obeyed(site: Site) -> None:
    url = site.at("/a.mp4", Answer(b"", 429, {"Retry-After": "1"}), Answer(BODY))
    assert get(url)[0] == BODY
    first, second = site.times("/a.mp4")
    assert second - first >= 1


def test_a_server_that_asks_for_too_much_patience_is_left_alone(site: Site) -> None:
    error = failure(site.at("/a.mp4", Answer(b"", 503, {"Retry-After": "6"}), Answer(BODY)))
    assert (error.kind, error.retryable) == ("http_503", True)
    assert site.asked("/a.mp4") == 1


def test_both_forms_of_retry_after() -> None:
    assert retry_after("7") == 7
    soon = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert soon is not None and 50 < soon <= 60
    assert retry_after(format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)) == 0
    assert retry_after("") is retry_after("soon") is retry_after("-1") is None


def test_a_body_that_breaks_off_is_never_taken_for_the_whole(site: Site) -> None:
    cut = Answer(BODY[:1000], announced=len(BODY))
    assert get(site.at("/a.mp4", cut, Answer(BODY)))[0] == BODY
    error = failure(site.at("/b.mp4", cut))
    assert (error.kind, error.retryable) == ("cut_short", True)
    assert site.asked("/b.mp4") == LIMITS.attempts


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>Log in", b"\xef\xbb\xbf \r\n<HTML>", b"<script>x</script>"])
def test_a_web_page_is_no_file(site: Site, page: bytes) -> None:
    error = failure(site.at("/a.mp4", Answer(page, headers={"Content-Type": "video/mp4"})))
    assert error.kind == "web_page"


def test_an_empty_body(site: Site) -> None:
    assert failure(site.at("/a.mp4", Answer(b""))).kind == "empty_body"


@pytest.mark.parametrize("announced", [None, -1], ids=["announced", "not announced"])
def test_the_size_cap(site: Site, announced: int | None) -> None:
    error = failure(site.at("/a.mp4", Answer(bytes(LIMITS.size_bytes + 1), announced=announced)))
    assert error.kind == "too_large"
    assert site.asked("/a.mp4") == 1
    nothing_read = Answer(b"", announced=LIMITS.size_bytes + 1)
    assert failure(site.at("/c.mp4", nothing_read)).kind == "too_large"
    exact = bytes(LIMITS.size_bytes)
    assert get(site.at("/b.mp4", Answer(exact, announced=announced)))[0] == exact


def test_silence_is_a_timeout(site: Site) -> None:
    limits = dataclasses.replace(LIMITS, silence_s=0.2, attempts=2)
    error = failure(site.at("/a.mp4", Answer(BODY, silent_s=1)), limits)
    assert (error.kind, error.retryable) == ("timeout", True)
    assert site.asked("/a.mp4") == 2


def test_a_trickle_is_a_timeout(site: Site) -> None:
    limits = dataclasses.replace(LIMITS, silence_s=5, deadline_s=0.5)
    error = failure(site.at("/a.mp4", Answer(BODY, pause_s=0.05)), limits)
    assert (error.kind, error.retryable) == ("timeout", True)


def test_redirects(site: Site) -> None:
    url = site.at("/a.mp4", Answer(BODY))
    assert get(site.at("/old.mp4", Answer(b"", 302, {"Location": url})))[0] == BODY
    assert failure(site.at("/loop", Answer(b"", 302, {"Location": "/loop"}))).kind == "too_many_redirects"
    assert site.asked("/loop") <= 6


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a"])
def test_a_redirect_to_another_scheme_is_not_followed(site: Site, target: str) -> None:
    assert failure(site.at("/a.mp4", Answer(b"", 302, {"Location": target}))).kind == "bad_url"


def test_nobody_listens() -> None:
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("127.0.0.1", 0))
        error = failure(f"http://127.0.0.1:{taken.getsockname()[1]}/a.mp4?key=sesame")
    assert (error.kind, error.retryable) == ("connection", True)
    assert "sesame" not in str(error)
