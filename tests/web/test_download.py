"""Downloads from a real server that breaks off, changes its mind, or does not know what it says."""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from builder.errors import ItemError
from builder.meter import Meter, News
from builder.web.client import Client
from builder.web.download import Wanted
from downloads import get, left
from loopback import Answer, Site, rest

BODY = bytes(range(256)) * 100
NEW = bytes(reversed(BODY))
ETAG = {"ETag": '"x"'}
DATE = {"Last-Modified": "Mon, 02 Nov 2026 00:00:00 GMT"}
CUT = Answer(BODY, cut=1000, headers=ETAG, ranges=True)
WHOLE = Answer(BODY, headers=ETAG, ranges=True)


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "parts" / "a.part"
    assert left(tmp_path / "parts") == []


def failure(client: Client, url: str, part: Path, wanted: Wanted | None = None) -> ItemError:
    with pytest.raises(ItemError) as caught:
        get(client, url, part, wanted)
    return caught.value


def ranges(site: Site, path: str = "/a") -> list[str]:
    """What was asked for, request by request."""
    return [headers.get("Range", "") for asked, _, headers in site.requests if asked == path]


def test_a_file_arrives_whole_with_its_facts(site: Site, client: Client, part: Path) -> None:
    body, got = get(client, site.at("/a", Answer(BODY, headers=ETAG | DATE)), part)
    assert body == BODY
    assert (got.size_bytes, got.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())
    assert (got.etag, got.last_modified) == ('"x"', DATE["Last-Modified"])
    assert abs(datetime.fromisoformat(got.retrieved_at) - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_watcher_hears_of_every_byte(site: Site, client: Client, part: Path) -> None:
    heard: list[News] = []
    client.meter = Meter(heard.append)
    get(client, site.at("/a", CUT, WHOLE), part)
    client.meter.flush()
    assert sum(news.size_bytes for news in heard) == len(BODY)


# -- to go on
@pytest.mark.parametrize("validators", [ETAG, DATE, ETAG | DATE, DATE | {"ETag": 'W/"x"'}], ids=str)
def test_the_next_attempt_goes_on_where_it_broke_off(
    site: Site, client: Client, part: Path, validators: dict[str, str]
) -> None:
    cut = [replace(CUT, cut=at, headers=validators) for at in (1000, 5000)]
    url = site.at("/a", *cut, replace(WHOLE, headers=validators))
    if "W/" in validators.get("ETag", ""):
        for answer in cut:
            assert answer.headers["Last-Modified"]
        url = site.at("/a", cut[0], rest(BODY, 1000, **{"ETag": 'W/"x"'}))
    assert get(client, url, part)[0] == BODY
    assert ranges(site)[:2] == ["", "bytes=1000-"]
    validator = DATE["Last-Modified"] if validators.get("ETag", 'W/"x"') == 'W/"x"' else '"x"'
    assert site.requests[2][2]["If-Range"] == validator


@pytest.mark.parametrize("validators", [{}, {"ETag": 'W/"x"'}], ids=str)
def test_what_no_validator_vouches_for_is_begun_anew(
    site: Site, client: Client, part: Path, validators: dict[str, str]
) -> None:
    url = site.at("/a", replace(CUT, headers=validators), replace(WHOLE, headers=validators))
    assert get(client, url, part)[0] == BODY
    assert ranges(site) == ["", ""]


def test_a_file_that_changed_meanwhile_is_begun_anew(site: Site, client: Client, part: Path) -> None:
    url = site.at("/a", CUT, Answer(NEW, headers={"ETag": '"y"'}, ranges=True))
    body, got = get(client, url, part)
    assert (body, got.etag) == (NEW, '"y"')
    assert ranges(site) == ["", "bytes=1000-"]


WRONG = {
    "all of it": Answer(BODY, headers=ETAG),
    "shifted": rest(BODY, 1000, shift=1, **ETAG),
    "shifted back": rest(BODY, 1000, shift=-1, **ETAG),
    "of another size": rest(BODY, 1000, total=len(BODY) + 1, **ETAG),
    "of another file": rest(NEW, 1000, ETag='"y"'),
    "of who knows what": rest(NEW, 1000),
    "with another date": rest(NEW, 1000, Last_Modified="Tue, 03 Nov 2026 00:00:00 GMT", **ETAG),
    "packed": rest(BODY, 1000, Content_Encoding="gzip", **ETAG),
    "from nowhere": Answer(BODY[1000:], 206, ETAG),
    "without a size": Answer(BODY[1000:], 206, ETAG | {"Content-Range": f"bytes 1000-{len(BODY) - 1}/*"}),
    "backwards": Answer(BODY[1000:], 206, ETAG | {"Content-Range": f"bytes 1000-999/{len(BODY)}"}),
    "in parts": Answer(b"--x\r\n", 206, ETAG | {"Content-Type": "multipart/byteranges; boundary=x"}),
    "out of reach": Answer(b"", 416, {"Content-Range": f"bytes */{len(BODY)}"}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_to_a_range_is_never_added(site: Site, client: Client, part: Path, name: str) -> None:
    cut = replace(CUT, headers=ETAG | DATE) if "date" in name else CUT
    body, _ = get(client, site.at("/a", cut, WRONG[name], WHOLE), part)
    assert body == BODY
    assert ranges(site) == ["", "bytes=1000-", ""][: 2 if name == "all of it" else 3]


def test_a_server_that_never_gets_ranges_right_is_told_of(site: Site, client: Client, part: Path) -> None:
    url = site.at("/a", CUT, WRONG["shifted"], CUT, WRONG["shifted"])
    with Client(replace(client.limits, attempts=4)) as patient:
        error = failure(patient, url, part)
    assert (error.kind, error.retryable) == ("wrong_range", True)


def test_less_may_come_than_was_asked_for(site: Site, client: Client, part: Path) -> None:
    some = ETAG | {"Content-Range": f"bytes 1000-1999/{len(BODY)}"}
    assert get(client, site.at("/a", CUT, Answer(BODY[1000:2000], 206, some), WHOLE), part)[0] == BODY
    assert ranges(site) == ["", "bytes=1000-", "bytes=2000-"]


def test_a_size_that_only_a_range_tells_counts(site: Site, client: Client, part: Path) -> None:
    """In chunks nobody says how long the file is; a part of it says so, and is not the last one."""
    some = ETAG | {"Content-Range": f"bytes 1000-1999/{len(BODY)}"}
    first = replace(CUT, chunked=True)
    assert get(client, site.at("/a", first, Answer(BODY[1000:2000], 206, some), WHOLE), part)[0] == BODY


def test_what_came_before_is_kept_by_an_attempt_that_is_given_up(site: Site, client: Client, part: Path) -> None:
    """Each one is slow or silent, each goes a little further."""
    limits = replace(client.limits, silence_s=0.4, slow_s=0.4, robots=False)
    silent = [Answer(BODY[:at], announced=len(BODY), headers=ETAG, ranges=False) for at in (500,)]
    slow = replace(WHOLE, pause_s=0.01)
    url = site.at("/a", *silent, slow, slow, slow, WHOLE)
    with Client(replace(limits, attempts=5)) as patient:
        assert get(patient, url, part)[0] == BODY
    starts = [int(asked[6:-1] or 0) if asked else 0 for asked in ranges(site)]
    assert starts == sorted(set(starts)) and len(starts) == 5


# -- what is no file
@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>Log in", b"\xef\xbb\xbf \r\n<HTML>", b"<script>x</script>"])
@pytest.mark.parametrize("padding", [0, 10_000])
def test_a_web_page_is_no_file(site: Site, client: Client, part: Path, page: bytes, padding: int) -> None:
    error = failure(client, site.at("/a", Answer(page + b" " * padding, headers={"Content-Type": "video/mp4"})), part)
    assert (error.kind, error.retryable) == ("web_page", False)
    assert site.asked("/a") == 1


def test_a_web_page_that_never_ends_is_not_read(site: Site, client: Client, part: Path) -> None:
    assert failure(client, site.at("/a", Answer(b"<html>", endless=True, announced=-1)), part).kind == "web_page"


def test_an_empty_body(site: Site, client: Client, part: Path) -> None:
    assert failure(client, site.at("/a", Answer(b"")), part).kind == "empty_body"
    assert site.asked("/a") == 1
    assert failure(client, site.at("/b", Answer(b"", announced=-1)), part).kind == "empty_body"  # or it was lost
    assert site.asked("/b") == client.limits.attempts


@pytest.mark.parametrize("announced", [None, -1], ids=["announced", "not announced"])
def test_the_size_cap(site: Site, client: Client, part: Path, announced: int | None) -> None:
    with Client(replace(client.limits, max_size_bytes=100_000)) as capped:
        error = failure(capped, site.at("/a", Answer(bytes(100_001), announced=announced)), part)
        assert (error.kind, error.retryable) == ("too_large", False)
        assert failure(capped, site.at("/b", Answer(b"", announced=100_001)), part).kind == "too_large"
        bomb = Answer(gzip.compress(bytes(50_000_000)), headers={"Content-Encoding": "gzip"})
        assert failure(capped, site.at("/c", bomb), part).kind == "too_large"
        assert failure(capped, site.at("/d", Answer(b"x", endless=True, chunked=True)), part).kind == "too_large"
        assert get(capped, site.at("/e", Answer(bytes(100_000), announced=announced)), part)[0] == bytes(100_000)
    assert [site.asked(f"/{name}") for name in "abcd"] == [1, 1, 1, 1]


def test_a_file_that_was_packed_on_the_way_is_unpacked(site: Site, client: Client, part: Path) -> None:
    packed = Answer(gzip.compress(BODY), headers=ETAG | {"Content-Encoding": "gzip"}, ranges=True)
    body, got = get(client, site.at("/a", replace(packed, cut=100), packed), part)
    assert (body, got.etag) == (BODY, "")
    assert ranges(site) == ["", ""]  # a range would count packed bytes


# -- what is known of it beforehand
def test_a_hash_is_compared(site: Site, client: Client, part: Path) -> None:
    right, wrong = hashlib.sha256(BODY).hexdigest(), "0" * 64
    assert get(client, site.at("/a", WHOLE), part, Wanted(right))[0] == BODY
    error = failure(client, site.at("/b", WHOLE), part, Wanted(wrong))
    assert (error.kind, error.retryable) == ("wrong_hash", False)
    assert site.asked("/b") == 1
    assert get(client, site.at("/c", Answer(BODY[:-1], announced=-1), WHOLE), part, Wanted(right))[0] == BODY


def test_a_file_that_was_joined_wrongly_is_fetched_once_more(site: Site, client: Client, part: Path) -> None:
    """By a server that says it is the same file when it is not."""
    url = site.at("/a", CUT, rest(NEW, 1000, **ETAG), WHOLE)
    assert get(client, url, part, Wanted(hashlib.sha256(BODY).hexdigest()))[0] == BODY
    assert ranges(site) == ["", "bytes=1000-", ""]


@pytest.mark.parametrize(
    ("answer", "whole"), [(WHOLE, True), (replace(WHOLE, chunked=True), True), (replace(WHOLE, announced=-1), False)]
)
def test_who_checks_a_file_knows_whether_its_end_can_be_missing(
    site: Site, client: Client, part: Path, answer: Answer, whole: bool
) -> None:
    told: list[tuple[bytes, bool]] = []

    def check(path: Path, whole: bool) -> None:
        told.append((path.read_bytes(), whole))
        raise ItemError("truncated", "it looks short")

    assert failure(client, site.at("/a", answer), part, Wanted(check=check)).kind == "truncated"
    assert told == [(BODY, whole)] * (1 if whole else client.limits.attempts)
