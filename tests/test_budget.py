"""The downloads' share of the disk: what counts, who waits, and what it costs to know."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from builder import budget
from builder.budget import Share, as_bytes
from builder.errors import ConfigError, ItemError
from builder.meter import Meter, News
from builder.storage import Storage


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "POLL_S", 0.01)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


class Full(Exception):
    """Somebody would have to wait."""


class Run:
    """A run folder with files of some sizes, and what its user is told."""

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self.storage, self.said = Storage(folder), list[str]()
        self.share = Share(self.storage, budget_bytes, Meter(self.tell))

    def tell(self, news: News) -> None:
        self.said.append(news.waiting)
        raise Full

    def write(self, name: str, size_bytes: int) -> Path:
        path = self.storage.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size_bytes))
        return path

    def enters(self, size_bytes: int, part: Path | None = None) -> bool:
        """Whether there is room now."""
        try:
            with self.share.of(size_bytes, part):
                return True
        except Full:
            return False


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("", 0),
        ("  ", 0),
        ("0 B", 0),
        ("5B", 5),
        ("500 GB", 500 * 10**9),
        ("2 TB", 2 * 10**12),
        ("1.5 TiB", 3 * 2**39),
        ("2tib", 2**41),
        ("1 kB", 1000),
        ("3 PB", 3 * 10**15),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert as_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["2", "TB", "-1 GB", "1e3 GB", "2 XB", "1,5 GB", "1 GB 2", "٣ GB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match="500 GB"):
        as_bytes(text)


def test_without_a_budget_nothing_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, 0)
    monkeypatch.setattr(Storage, "walk", lambda *_: pytest.fail("looked"))
    assert run.enters(10**15)


def test_what_is_there_counts_and_what_has_begun(tmp_path: Path) -> None:
    run = Run(tmp_path, 1000)
    run.write("media/videos/ab/a.mp4", 400)
    run.write("fetch.parts/cd/b.part", 100)
    run.write("media/strips/ab/a.npz", 10_000)  # no download
    assert run.enters(500)
    with run.share.of(300):
        assert run.enters(200)
        assert not run.enters(201)
        assert "storage.budget of 1,000 bytes" in run.said[-1]


def test_what_is_finished_counts_before_it_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SELDOM", 1e9)
    run = Run(tmp_path, 1000)
    for n in range(3):
        with run.share.of(300):
            run.write(f"media/videos/{n}.mp4", 300)
    assert run.enters(100)
    assert not run.enters(101)


def test_who_waits_goes_on_when_there_is_room(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    run, told = Run(tmp_path, 1000), threading.Event()
    path = run.write("media/videos/a.mp4", 800)
    share = Share(run.storage, 1000, Meter(lambda news: told.set()))

    def enter() -> bool:
        with share.of(300):
            return path.exists()

    waiting = pool.submit(enter)
    assert told.wait(30)
    path.unlink()
    assert waiting.result() is False


def test_the_beginning_of_a_file_does_not_keep_the_file_out(tmp_path: Path) -> None:
    """A part of an earlier attempt is counted once, as a part of what it will be."""
    run = Run(tmp_path, 1000)
    part = run.write("fetch.parts/ab/a.part", 700)
    assert run.enters(1000, part)
    with run.share.of(800, part):
        assert run.enters(200)
        assert not run.enters(201)
    assert not run.enters(1000, tmp_path / "fetch.parts/ab/b.part")


def test_a_file_that_will_never_fit_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(ItemError, match="larger than storage") as caught, Run(tmp_path, 1000).share.of(1001):
        pass
    assert (caught.value.kind, caught.value.retryable) == ("too_large", True)


def test_a_size_that_nobody_knows(tmp_path: Path) -> None:
    run = Run(tmp_path, 1000)
    run.write("media/videos/a.mp4", 1000)
    assert run.enters(0)
    run.write("media/videos/b.mp4", 1)
    assert not Run(tmp_path, 1000).enters(0)


def test_threads_together_keep_to_it(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    share = Share(Storage(tmp_path), 1000, Meter())
    under_way, most, lock = 0, 0, threading.Lock()

    def download(n: int) -> None:
        nonlocal under_way, most
        with share.of(250):
            with lock:
                under_way += 1
                most = max(most, under_way)
            time.sleep(0.01)
            with lock:
                under_way -= 1

    list(pool.map(download, range(40)))
    assert most <= 4
    assert share.begun == []


def test_a_download_that_fails_gives_its_room_back(tmp_path: Path) -> None:
    run = Run(tmp_path, 1000)
    for _ in range(5):
        with pytest.raises(KeyError), run.share.of(900):
            raise KeyError
    assert run.enters(1000)


def test_the_disk_is_looked_at_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 100,000 videos that takes seconds."""
    run, looked, walk = Run(tmp_path, 10**9), list[str](), Storage.walk

    def slow(storage: Storage, folder: str) -> list[str]:
        looked.append(folder)
        time.sleep(0.02)
        return list(walk(storage, folder))

    monkeypatch.setattr(Storage, "walk", slow)
    monkeypatch.setattr(budget, "SELDOM", 1000.0)  # not 20: a busy machine would be slow enough for a second look
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(run.share.of(1000))
    assert looked == [budget.VIDEOS, budget.PARTS]


def test_a_file_that_goes_while_it_is_counted_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, 1000)
    monkeypatch.setattr(Storage, "walk", lambda *_: ["media/videos/gone.mp4"])
    assert run.enters(1000)
