"""How fast a host is asked, as the host sees it: by threads and processes together, after kills and restarts."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ItemError
from builder.web.client import Client
from builder.web.limits import Limits
from builder.web.pace import LONGEST_S, Pace, path_of
from builder.web.state import boot
from loopback import MUTE, Answer, Site

ROOT = Path(__file__).parents[2]
PACE = Pace(per_host=1, requests_per_s=1000, patience_s=5)
CRAWLER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from builder.web.client import Client
from builder.web.limits import Limits

rate, per_host, threads, *urls = sys.argv[1:]
limits = Limits(requests_per_s=float(rate), per_host=int(per_host), allow_private_hosts=True, robots=False, attempts=1)
with Client(limits) as client, ThreadPoolExecutor(int(threads)) as pool:
    list(pool.map(client.get, urls))
"""


@contextmanager
def crawler(rate: float, per_host: int, threads: int, *urls: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process of the same user, which asks for some pages."""
    command = [sys.executable, "-c", CRAWLER, *map(str, (rate, per_host, threads)), *urls]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as process:
        yield process
        if process.poll() is None:
            process.wait()


def seen(site: Site, path: str, count: int = 1) -> list[float]:
    while site.asked(path) < count:
        time.sleep(0.005)
    return site.times(path)


def fits(times: list[float], rate: int) -> bool:
    """In no second are there more than `rate`; a tenth of it is for threads of a busy machine that are late."""
    ordered = sorted(times)
    return all(last - first >= 0.9 for first, last in zip(ordered, ordered[rate:], strict=False))


def test_the_rate_holds_over_threads_and_processes(site: Site) -> None:
    urls = [site.at(f"/{n}", Answer(b"x", keep=True)) for n in range(3)]
    crawlers = [crawler(30, 8, 8, *[url] * 25) for url in urls]
    with crawlers[0] as first, crawlers[1] as second, crawlers[2] as third:
        assert [process.wait() for process in (first, second, third)] == [0, 0, 0]
    times = [when for _, when, _ in site.requests]
    assert len(times) == 75
    assert fits(times, 30)


def test_the_number_holds_over_threads_and_processes(site: Site) -> None:
    urls = [site.at(f"/{n}", Answer(b"x", silent_s=0.05, keep=True)) for n in range(2)]
    with crawler(1000, 3, 6, *[urls[0]] * 20) as first, crawler(1000, 3, 6, *[urls[1]] * 20) as second:
        assert (first.wait(), second.wait()) == (0, 0)
    assert (len(site.requests), site.most_at_once) == (40, 3)


def test_connections_that_take_long_to_open_make_no_crowd(
    site: Site, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that had their turns in order may be ready all at once."""
    with Client(replace(limits, requests_per_s=20, per_host=8, robots=False)) as client:
        connect, began = client.guard.sockets.connect_tcp, time.monotonic()

        def late(*args: Any) -> Any:
            time.sleep(max(0.0, began + 0.4 - time.monotonic()))
            return connect(*args)

        monkeypatch.setattr(client.guard.sockets, "connect_tcp", late)
        url = site.at("/a", Answer(b"x", keep=True))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(client.get, [url] * 30))
    assert fits(site.times("/a"), 20)


def test_who_comes_later_is_not_kept_waiting_for_ever() -> None:
    """By one that is back for another turn in no time."""
    pace, turns, coming = replace(PACE, requests_per_s=1e6), 0, threading.Event()

    def busy() -> None:
        nonlocal turns
        while not coming.is_set() or turns < 200:
            with pace.turn("h"):
                time.sleep(0.005)
                turns += 1

    with ThreadPoolExecutor() as pool:
        busy_one = pool.submit(busy)
        time.sleep(0.05)
        before = turns
        coming.set()
        with pace.turn("h"):
            after = turns
        assert after - before <= 40  # of 200, had it been starved; not fewer, for a machine that is busy
        assert busy_one.result() is None


def test_a_host_that_asks_for_rest_gets_it_from_everybody(site: Site, limits: Limits) -> None:
    limits = replace(limits, attempts=1, robots=False)
    tired, other = site.at("/tired", Answer(b"", 429, {"Retry-After": "1"})), site.at("/other", Answer(b"x"))
    site.at("/third", Answer(b"x"))
    with Client(limits) as first, Client(limits) as second:
        with pytest.raises(ItemError):
            first.get(tired)
        with crawler(1000, 4, 2, f"{site.url}/third", f"{site.url}/third"):
            second.get(other)
    [until] = [when + 1 for when in site.times("/tired")]
    assert min(site.times("/other") + site.times("/third")) >= until


def test_a_killed_process_holds_no_slot(site: Site, limits: Limits) -> None:
    stuck, next_one = site.at("/stuck", MUTE), site.at("/next", Answer(b"x"))
    with crawler(1000, 1, 1, stuck) as process, ThreadPoolExecutor() as pool:
        seen(site, "/stuck")
        with Client(replace(limits, per_host=1, robots=False)) as client:
            waiting = pool.submit(client.get, next_one)
            time.sleep(0.3)
            assert site.asked("/next") == 0
            os.kill(process.pid, signal.SIGKILL)
            assert waiting.result().body == b"x"


# -- what is kept between processes
def test_hosts_of_long_ago_are_forgotten(site: Site, limits: Limits) -> None:
    for n in range(50):
        took_s(host=f"{n}.example")
    files = list(path_of("h.json").parent.iterdir())
    for path in files[::2]:
        os.utime(path, (0, 0))
    with Client(limits) as client:
        client.get(site.at("/a", Answer(b"x")))
    assert {path.exists() for path in files[::2]} == {False}
    assert {path.exists() for path in files[1::2]} == {True}


def took_s(pace: Pace = PACE, host: str = "h") -> float:
    began = time.monotonic()
    with pace.turn(host):
        return time.monotonic() - began


def write(text: str) -> None:
    path_of("h.json").parent.mkdir(exist_ok=True)
    path_of("h.json").write_text(text)


def test_a_rest_that_is_too_long_is_an_error_and_gives_the_slot_back() -> None:
    assert took_s() < 1
    PACE.cool("h", 6, "http_503")
    for _ in range(2):
        with pytest.raises(ItemError) as caught:
            took_s()
        assert (caught.value.kind, caught.value.retryable) == ("http_503", True)
    PACE.cool("h", 1, "http_429")  # a shorter one does not end it
    with pytest.raises(ItemError):
        took_s()
    assert took_s(host="other") < 1


def test_a_rest_without_end_ends_within_a_day() -> None:
    PACE.cool("h", float("inf"), "http_429")
    assert took_s(replace(PACE, patience_s=0.1), "other") < 1
    with pytest.raises(ItemError, match=r"next 8\d{4} s"):
        took_s()


@pytest.mark.parametrize("later_s", [2.0, 5000.0, LONGEST_S - 1])
def test_a_restart_of_the_machine_ends_all_waits(later_s: float) -> None:
    """Its clock began anew: the times in the file may be in the future, even by days."""
    at = time.monotonic() + later_s
    write(f'{{"boot": "of yesterday", "next": {at}, "departed": {at}, "not_before": {at}, "kind": "http_429"}}')
    assert took_s() < 1
    PACE.cool("h", 6, "http_503")
    with pytest.raises(ItemError, match="http_503"):
        took_s()


DAMAGED = ["", "{", "[]", '"text"', "\x00" * 100, "\udcff\udcfe", "[" * 100_000, '{{"boot": "{boot}", "next": "soon"}}']
DAMAGED += ['{{"boot": "{boot}", "next": NaN, "departed": Infinity, "not_before": null}}']
DAMAGED += ['{{"boot": "{boot}", "next": {far}, "departed": {far}, "not_before": {far}}}', '{{"boot": "{boot}"}}{{}}']


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_state_counts_as_none(text: str) -> None:
    text = text.format(boot=boot(), far=time.monotonic() + 2 * LONGEST_S) if "boot" in text else text
    path_of("h.json").parent.mkdir(exist_ok=True)
    path_of("h.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert took_s() < 1
    PACE.cool("h", 6, "http_503")
    with pytest.raises(ItemError, match="http_503"):
        took_s()


def test_a_rest_whose_reason_was_lost_is_kept() -> None:
    write(f'{{"boot": "{boot()}", "not_before": {time.monotonic() + 100}}}')
    with pytest.raises(ItemError, match="http_429"):
        took_s()


@pytest.mark.parametrize("host", ["[::1]:8080", "a" * 300, "..", "EXAMPLE.org:81", "xn--exmple-cua.com"])
def test_any_host_has_a_file(host: str) -> None:
    assert took_s(host=host) < 1
    assert path_of(f"{host}.json").parent == path_of("h.json").parent
    assert path_of(f"{host}.json").is_file()
