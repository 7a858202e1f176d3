"""`fetch` among servers that fail in every way they are known to: what can be had arrives, byte for byte, and of the
rest it is known why it did not."""

import gzip
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path

import pytest

from builder.records import Failure, Fetched, Found
from builder.stage import Context, Item
from builder.stages.fetch import PARTS, Fetch
from builder.storage import Storage
from builder.web.limits import Limits
from loopback import MUTE, Answer, Site, rest, video

HOSTS = [f"127.0.0.{n}" for n in range(1, 21)]
REST_S = 1.0
LIMITS = Limits(allow_private_hosts=True, requests_per_s=10_000, per_host=16, connections=48, attempts=3, wait_s=0.01)
LIMITS = replace(LIMITS, silence_s=2, slow_s=1, max_size_bytes=1_000_000)
ROBOTS = [
    Answer(b"gone", 404),
    Answer(b"<!doctype html><p>Not found"),
    Answer(b"User-agent: *\nAllow: /"),
    Answer(b"x", 403),
]


def unique(n: int) -> bytes:
    """A video, and a box that players skip."""
    return video() + (16).to_bytes(4, "big") + b"free" + n.to_bytes(8, "big")


@dataclass(frozen=True)
class Fault:
    """The answers for a video, and what becomes of it: the bytes, if there is no `kind`."""

    answers: Callable[[bytes], list[Answer | Callable[[], Answer]]]
    kind: str = ""
    asked: int = 2  # at most
    leaves: bool = False  # a part, to be gone on with
    tls: bool = False  # is asked for


def whole(body: bytes, **more: object) -> Answer:
    return replace(Answer(body, headers={"ETag": '"x"'}, ranges=True), **more)  # type: ignore[arg-type]


def cut(body: bytes, **more: object) -> Answer:
    return whole(body, cut=len(body) // 2, **more)


def status(code: int, **headers: str) -> Callable[[bytes], list[Answer | Callable[[], Answer]]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda body: [Answer(b"busy", code, named), whole(body)]


def until_a_date() -> Answer:
    due = datetime.now(UTC) + timedelta(seconds=1 + REST_S)  # dates have whole seconds
    return Answer(b"busy", 503, {"Retry-After": format_datetime(due, usegmt=True)})


def middle(body: bytes) -> int:
    return len(body) // 2


FAULTS: Mapping[str, Fault] = {
    "none": Fault(lambda body: [whole(body)], asked=1),
    "500": Fault(status(500)),
    "502": Fault(status(502)),
    "503": Fault(status(503)),
    "408": Fault(status(408)),
    "429": Fault(status(429)),
    "429, seconds": Fault(status(429, Retry_After="1")),
    "503, date": Fault(lambda body: [until_a_date, whole(body)]),
    "404": Fault(lambda body: [Answer(b"<!doctype html>", 404)], "http_404", 1),
    "reset": Fault(lambda body: [cut(body, reset=True), whole(body)]),
    "cut": Fault(lambda body: [cut(body), whole(body)]),
    "cut, no length": Fault(lambda body: [Answer(body[: middle(body)], announced=-1), whole(body)]),
    "cut, chunks": Fault(lambda body: [cut(body, chunked=True), whole(body)]),
    "length too long": Fault(lambda body: [Answer(body, announced=len(body) + 1000)], "cut_short", 3),
    "length too short": Fault(lambda body: [Answer(body, announced=middle(body))], "truncated", 1),
    "200 for 206": Fault(lambda body: [cut(body), whole(body, ranges=False)]),
    "shifted": Fault(lambda body: [cut(body), rest(body, middle(body), shift=7, ETag='"x"'), whole(body)], asked=3),
    "other size": Fault(
        lambda body: [cut(body), rest(body, middle(body), total=9**9, ETag='"x"'), whole(body)], asked=3
    ),
    "other tag": Fault(lambda body: [cut(body), rest(body, middle(body), ETag='"y"'), whole(body)], asked=3),
    "changed": Fault(lambda body: [cut(body[::-1]), whole(body, headers={"ETag": '"y"'})]),
    "page": Fault(lambda body: [Answer(b"<html>sorry", headers={"Content-Type": "video/mp4"})], "web_page", 1),
    "packed": Fault(lambda body: [Answer(gzip.compress(body), headers={"Content-Encoding": "gzip"})], asked=1),
    "bomb": Fault(
        lambda body: [Answer(gzip.compress(bytes(2_000_000)), headers={"Content-Encoding": "gzip"})], "too_large", 1
    ),
    "loop": Fault(lambda body: [Answer(b"", 302, {"Location": "?"})], "too_many_redirects", 6),
    "nowhere": Fault(lambda body: [Answer(b"", 302)], "http_302", 1),
    "slow header": Fault(lambda body: [whole(body, header_pause_s=0.1)], "timeout", 3),
    "slow body": Fault(lambda body: [whole(body, pause_s=0.1)], "too_slow", 3, leaves=True),
    "endless": Fault(lambda body: [Answer(b"\0", endless=True, announced=-1)], "too_large", 1),
    "garbage": Fault(lambda body: [Answer(raw=b"\x16\x03\x01" * 99)], "no_answer", 3),
    "silence": Fault(lambda body: [MUTE], "timeout", 3),
    "no TLS": Fault(lambda body: [whole(body)], "connection", 0, tls=True),
}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    context = Context(Storage(tmp_path / "run"), base=tmp_path, web=LIMITS)
    yield context
    context.close()


@pytest.fixture
def sites() -> Iterator[list[Site]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Site(host)) for host in HOSTS]


def fetch(context: Context, urls: list[str]) -> list[Fetched | Failure]:
    rows = [Found(f"{n:04}", "list", url=url, license="CC0-1.0") for n, url in enumerate(urls)]
    stage = Fetch()
    with stage.opened(context):
        answers = stage.batch([Item(row, row.digest()) for row in rows])
    return [answer if isinstance(answer, Failure) else answer[0] for answer in answers]


def outcome(answer: Fetched | Failure) -> str:
    return answer.kind if isinstance(answer, Failure) else answer.sha256


def rests(site: Site, path: str) -> bool:
    """Whether the URL was asked for again in time, and the host left alone meanwhile but for what was under way."""
    first, second = site.times(path)
    meanwhile = [when for _, when, _ in site.requests if first + 0.5 < when < first + REST_S]
    return second >= first + REST_S and not meanwhile


THOUSAND = pytest.param(33, marks=[pytest.mark.torture, pytest.mark.timeout(900)], id="a thousand")


@pytest.mark.parametrize("each", [4, THOUSAND])
def test_among_faults(context: Context, sites: list[Site], each: int) -> None:
    for n, site in enumerate(sites):
        site.at("/robots.txt", ROBOTS[n % len(ROBOTS)])
    faults = [(name, FAULTS[name]) for _ in range(each) for name in FAULTS]
    places = [(sites[(n + n // len(FAULTS)) % len(sites)], f"/{n}.mp4") for n in range(len(faults))]
    urls = []
    for n, ((site, path), (_, fault)) in enumerate(zip(places, faults, strict=True)):
        url = site.at(path, *fault.answers(unique(n)))
        urls.append(url.replace("http:", "https:") if fault.tls else url)
    answers = fetch(context, urls)
    wanted = [(name, fault.kind or sha256(unique(n)).hexdigest()) for n, (name, fault) in enumerate(faults)]
    found = [(name, outcome(answer)) for (name, _), answer in zip(faults, answers, strict=True)]
    assert [pair for pair in zip(found, wanted, strict=True) if pair[0] != pair[1]] == []

    asked = Counter((site.url, path.partition("?")[0]) for site in sites for path, _, _ in site.requests)
    assert asked.total() <= 3 * len(faults)
    assert all(asked[site.url, "/robots.txt"] == 1 for site in sites)
    for (site, path), (name, fault) in zip(places, faults, strict=True):
        assert asked[site.url, path] <= fault.asked, name
        assert name not in ("429, seconds", "503, date") or rests(site, path), name
    left = Counter(Path(name).stem for name in context.storage.walk(PARTS))
    assert left == {f"{n:04}": 2 for n, (_, fault) in enumerate(faults) if fault.leaves}
    assert len(context.storage.walk("media")) == sum(not fault.kind for _, fault in faults)
    assert context.storage.walk(".scratch") == []


def test_slow_servers_keep_no_file_of_others_from_arriving(context: Context, sites: list[Site]) -> None:
    """Twenty that never end come first, and there are only eight places to wait in."""
    context.web = replace(LIMITS, connections=8, silence_s=0.6, slow_s=0.6, attempts=2)
    slow = [FAULTS[name].answers(unique(0))[0] for name in ("slow header", "slow body", "silence")]
    urls = [site.at("/slow.mp4", slow[n % 3]) for n, site in enumerate(sites)]
    urls += [sites[n % 20].at(f"/{n}.mp4", whole(unique(n))) for n in range(200)]
    began = time.monotonic()
    answers = fetch(context, urls)
    assert {outcome(answer) for answer in answers[:20]} == {"timeout", "too_slow"}
    assert [outcome(answer) for answer in answers[20:]] == [sha256(unique(n)).hexdigest() for n in range(200)]
    assert time.monotonic() - began < 60  # by default limits this would be minutes, by none for ever
