"""Many videos from servers that misbehave in every way: what can be had is had, the rest fails by its reason."""

import gzip
import hashlib
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import PurePosixPath
from statistics import mean

import pytest

from builder.records import Failure, Found
from builder.stage import Context, Item
from builder.stages.fetch import PARTS, Fetch
from builder.web.limits import Limits
from loopback import MUTE, Answer, Site, rest, video

HOSTS = [f"127.0.0.{n}" for n in range(1, 21)]
LIMITS = Limits(
    allow_private_hosts=True,
    connections=16,
    requests_per_s=1000,
    attempts=3,
    wait_s=0.05,
    silence_s=1,
    slow_s=0.5,
    max_size_bytes=1 << 20,
)
ETAG = {"ETag": '"1"'}
PLAIN, MOVIE = "", video()
Answers = list[Answer | Callable[[], Answer]]


def later() -> Answer:
    date = datetime.now(UTC) + timedelta(seconds=2)  # dates are whole seconds
    return Answer(b"", 429, {"Retry-After": format_datetime(date, usegmt=True)})


def faults(body: bytes) -> dict[str, tuple[Answers, str]]:
    """Of each behaviour: what a server that has it answers in turn, and the kind of the failure it comes to at last."""
    whole, begun = Answer(body, headers=ETAG, ranges=True), Answer(body, headers=ETAG, cut=len(body) // 2)
    some = len(body) // 2
    packed = {"Content-Encoding": "gzip"}
    return {
        "no fault": ([whole], PLAIN),
        **{f"{status} once": ([Answer(b"", status), whole], PLAIN) for status in (408, 500, 502, 503)},
        "429, seconds": ([Answer(b"", 429, {"Retry-After": "1"}), whole], PLAIN),
        "429, date": ([later, whole], PLAIN),
        "reset": ([replace(begun, reset=True), whole], PLAIN),
        "cut": ([begun, whole], PLAIN),
        "cut, no length": ([Answer(body, announced=-1, cut=some), whole], PLAIN),
        "cut, in chunks": ([Answer(body, chunked=True, cut=some), whole], PLAIN),
        "wrong range": ([begun, rest(body, some, shift=-7, **ETAG), whole], PLAIN),
        "200 for 206": ([begun, Answer(body, headers=ETAG)], PLAIN),
        "changed": ([Answer(bytes(len(body)), headers={"ETag": '"0"'}, cut=some), whole], PLAIN),
        "gzip": ([Answer(gzip.compress(body), headers=packed)], PLAIN),
        "503 always": ([Answer(b"", 503)], "http_503"),
        "404": ([Answer(b"", 404)], "http_404"),
        "page": ([Answer(b"<!DOCTYPE html><title>Busy</title>" + bytes(2000))], "web_page"),
        "loop": ([Answer(b"", 302, {"Location": "?again"})], "too_many_redirects"),
        "slow header": ([Answer(body, header_pause_s=0.2)], "timeout"),
        "trickle": ([Answer(body, pause_s=0.1)], "too_slow"),
        "endless": ([Answer(bytes(1 << 12), endless=True, announced=-1)], "too_large"),
        "mute": ([MUTE], "timeout"),
    }


def body_of(n: int) -> bytes:
    """A video of its own: the same pictures, and a box that players pass over."""
    return MOVIE + (20_000).to_bytes(4, "big") + b"free" + f"{n:08}".encode() + bytes(20_000 - 16)


@pytest.mark.parametrize("times", [5, pytest.param(50, marks=pytest.mark.torture)])
@pytest.mark.timeout(600)
def test_what_can_be_had_is_had_and_the_rest_says_why(context: Context, times: int) -> None:
    context.web = LIMITS
    with ExitStack() as stack:
        sites = [stack.enter_context(Site(host)) for host in HOSTS]
        found, expected, paths = list[Found](), dict[str, str](), dict[str, tuple[Site, str, str]]()
        for n, name in enumerate(name for name in faults(b"") for _ in range(times)):
            site, path, key = sites[n % len(sites)], f"/{n}.mp4", f"{n:020x}"
            answers, kind = faults(body_of(n))[name]
            if name == "loop":
                answers = [Answer(b"", 302, {"Location": path})]
            found.append(Found(key, "list", url=site.at(path, *answers)))
            paths[key] = (site, path, name)
            expected[key] = kind or hashlib.sha256(body_of(n)).hexdigest()
        stage = Fetch()
        with stage.opened(context):
            outcomes = stage.batch([Item(row, "") for row in found])
        got = {
            row.id: o.kind if isinstance(o, Failure) else o[0].sha256 for row, o in zip(found, outcomes, strict=True)
        }
        wrong = {key: (paths[key][2], got[key], expected[key]) for key in got if got[key] != expected[key]}
        assert not wrong
        asked = {key: site.times(path) for key, (site, path, _) in paths.items()}
    for key, (_, _, name) in paths.items():
        if name.startswith("429"):
            assert asked[key][1] - asked[key][0] >= 1
    loops = {key for key, (_, _, name) in paths.items() if name == "loop"}  # each hop of it is a request
    assert mean(len(when) for key, when in asked.items() if key not in loops) <= 3
    assert Counter(len(asked[key]) for key in loops) == {6: times}
    failed = {end.item_id for end in outcomes if isinstance(end, Failure) and end.retryable}
    assert {PurePosixPath(name).stem for name in context.storage.walk(PARTS)} <= failed
