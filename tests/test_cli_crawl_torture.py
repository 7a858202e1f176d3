"""A crawl that is interrupted ends as one that was not, and asks for no byte twice but those that were on their way."""

import hashlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from command_line import OSD_BUILD, TABLES, crawl, left_out, lost, osd_build, rows, stock, write_crawl
from stock_sites import CHUNK, KEYS, Handler, StockSites

IN_FLIGHT = 20 * CHUNK  # sent and not on the disk yet when a process is killed; much on a busy machine
STOPPED_SAYS = "osd-build: stopped; everything finished is kept, run the same again to go on\n"
SLOW: dict[str, Any] = {"videos": 4, "padding": 500_000, "pause_s": 0.02}  # 12 files; a crawl takes some seconds


@dataclass
class Counting(StockSites):
    """Sites that know what they have sent: the path, the first byte and the number of bytes of each answer."""

    sent: list[list[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.server.RequestHandlerClass = partial(CountingHandler, self)  # type: ignore[assignment]

    def total(self, path: str) -> int:
        _, _, site, number, name = path.split("/")
        return len(self.media_bytes(site, int(number) % 100_000 - 1, name.removesuffix(".mp4")))


class CountingHandler(Handler):
    sites: Counting

    def send(self, body: bytes, pause_s: float) -> None:
        if not self.path.startswith("/media/"):
            return super().send(body, pause_s)
        answer = [self.path, self.sites.total(self.path) - len(body), 0]
        self.sites.sent.append(answer)
        for first in range(0, len(body), CHUNK):
            super().send(body[first : first + CHUNK], pause_s)
            if self.close_connection:
                return
            answer[2] += len(body[first : first + CHUNK])


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    for site, key in KEYS.items():
        monkeypatch.setenv(f"{site.upper()}_API_KEY", key)
    with Counting(**SLOW) as sites:
        yield sites


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], None]:
    """Forget what crawls share, so that the next one starts as the first did."""
    return lambda: monkeypatch.setenv("OSD_CACHE", str(tmp_path_factory.mktemp("cache")))


def begin(run: Path, **how: Any) -> subprocess.Popen[str]:
    """A crawl in a process group of its own."""
    command = [OSD_BUILD, "crawl", run, "--allow-private-hosts"]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True, **how)


def kill(run: Path, after_s: float, since: Callable[[], bool] = lambda: True) -> None:
    """So long after something has happened."""
    process = begin(run)
    wait_for(lambda: since() or process.poll() is not None)
    time.sleep(after_s)
    with suppress(ProcessLookupError):  # it was through already
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for(there: Callable[[], bool], most_s: float = 30.0, every_s: float = 0.02) -> None:
    deadline = time.monotonic() + most_s
    while not there():
        assert time.monotonic() < deadline
        time.sleep(every_s)


def outcome(run: Path) -> dict[str, Any]:
    """All of a crawl that is not a fact of one crawl (as when something was fetched)."""
    found: dict[str, Any] = {table: sorted((row.id, row.digest()) for row in rows(run, table)) for table in TABLES}
    found |= {f"{table} left out": left_out(run, table) for table in TABLES}
    files = (path for path in (run / "media").rglob("*") if path.is_file())
    return found | {"media": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}}


@dataclass
class Stop:
    """How many answers had begun when a crawl was stopped, and the bytes there were of files that were under way."""

    answers: int
    parts: dict[str, int]

    @classmethod
    def now(cls, run: Path, sites: Counting) -> "Stop":
        time.sleep(0.1)  # for an answer to a request of the very last moment
        return cls(len(sites.sent), {p.stem: p.stat().st_size for p in (run / "fetch.parts").rglob("*.part")})


def check_no_byte_twice(run: Path, sites: Counting, stops: Sequence[Stop]) -> None:
    """Each answer goes on where the one before it ended, and each page of a listing was asked for once."""
    path_of = {row.id: urlsplit(row.url).path for row in rows(run, "admit")}
    for stop in stops:
        then = {path: first for path, first, _ in reversed(sites.sent[stop.answers :])}
        there = {path_of[key]: size_bytes for key, size_bytes in stop.parts.items()}
        assert there == {path: then.get(path, size_bytes) for path, size_bytes in there.items()}
    reached: dict[str, int] = {}
    for path, first, count in sites.sent:
        assert first >= reached.get(path, 0) - IN_FLIGHT, (path, sites.sent)
        reached[path] = first + count
    assert all(reached[path] == sites.total(path) for path in reached)
    pages = [r.path for r in sites.requests if not r.path.startswith(("/media/", "/robots.txt"))]
    assert sum(count - 1 for count in Counter(pages).values()) <= len(stops)


def test_killed_three_times_a_crawl_ends_as_one_that_was_left_alone(
    tmp_path: Path, sites: Counting, away: Callable[[], None]
) -> None:
    whole, run = (write_crawl(tmp_path / name, *stock(sites.url)) for name in ("whole", "killed"))
    began_s = time.monotonic()
    assert crawl(whole).returncode == 0
    took_s = time.monotonic() - began_s
    sites.sent.clear()
    sites.requests.clear()
    away()
    seed = random.randrange(1 << 32)
    chooser = random.Random(seed)
    kill(run, chooser.uniform(0.1, 0.6) * took_s)
    stops = [Stop.now(run, sites)]
    for _ in range(2):
        kill(run, chooser.uniform(0.2, 0.6), lambda: len(sites.sent) > stops[-1].answers)
        stops.append(Stop.now(run, sites))
    assert crawl(run).returncode == 0, seed
    assert outcome(run) == outcome(whole), seed
    check_no_byte_twice(run, sites, stops)


def test_ctrl_c_says_how_to_go_on_and_what_is_fetched_stays(tmp_path: Path, sites: Counting) -> None:
    run = write_crawl(tmp_path / "run", stock(sites.url)[0])
    process = begin(run)
    wait_for(lambda: any((run / "fetch.notes").rglob("*.json")))
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "stopped; everything finished is kept, run the same again to go on" in said
    assert "Traceback" not in said
    stop = Stop.now(run, sites)
    assert crawl(run).returncode == 0
    check_no_byte_twice(run, sites, [stop])
    assert len(rows(run, "merge")) == SLOW["videos"]


@pytest.mark.torture
def test_killed_as_a_file_is_finished_the_crawl_keeps_it(tmp_path: Path, sites: Counting) -> None:
    run = write_crawl(tmp_path / "run", stock(sites.url)[0])
    process = begin(run)
    wait_for(lambda: any((run / "media").rglob("*.mp4")), every_s=0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert crawl(run).returncode == 0
    assert sum(first == 0 for _, first, _ in sites.sent) == SLOW["videos"]


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [*[1] * 20, *[6] * 3])
def test_killed_at_any_moment_a_crawl_ends_as_one_that_was_left_alone(
    tmp_path: Path, sites: Counting, away: Callable[[], None], kills: int
) -> None:
    whole, run = (write_crawl(tmp_path / name, *stock(sites.url)) for name in ("whole", "killed"))
    began_s = time.monotonic()
    assert crawl(whole).returncode == 0
    took_s = time.monotonic() - began_s
    sites.sent.clear()
    sites.requests.clear()
    away()
    seed = random.randrange(1 << 32)
    chooser = random.Random(seed)
    stops = []
    for _ in range(kills):
        kill(run, chooser.uniform(0, took_s))
        stops.append(Stop.now(run, sites))
    assert crawl(run).returncode == 0, seed
    assert outcome(run) == outcome(whole), seed
    check_no_byte_twice(run, sites, stops)


# -- the disk
def test_a_crawl_waits_for_room_and_goes_on_after_clean(tmp_path: Path, sites: Counting) -> None:
    """Beside 500 kB of a list of before, there is room for three of four videos; `clean` leaves these alone."""
    run = write_crawl(tmp_path / "run", stock(sites.url)[0], settings='[storage]\nbudget = "2.1 MB"')
    old = run / "media" / "videos" / "00" / "0000.mp4"
    old.parent.mkdir(parents=True)
    old.write_bytes(bytes(500_000))
    process = begin(run)
    wait_for(lambda: len(list((run / "fetch.notes").rglob("*.json"))) == 3)
    time.sleep(1.5)
    assert len(sites.sent) == 3 and process.poll() is None
    assert osd_build("clean", run).returncode == 0
    assert not old.exists()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "storage.budget of 2,100,000 bytes is used up: raise it, or run osd-build clean" in said
    assert len(rows(run, "merge")) == SLOW["videos"]
    assert not lost(run)


@pytest.mark.torture
def test_what_was_begun_within_the_budget_is_finished_within_it(tmp_path: Path, sites: Counting) -> None:
    run = write_crawl(tmp_path / "run", stock(sites.url)[0] | {"limit": 1}, settings='[storage]\nbudget = "510 kB"')
    kill(run, 0.3, lambda: len(sites.sent) > 0)
    process = begin(run)
    try:
        wait_for(lambda: process.poll() is not None)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
