"""What a worker tells of a unit while it is at it: everything, once, and not too often."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from builder import meter
from builder.meter import Meter, News


def test_nothing_is_lost_between_threads() -> None:
    heard: list[News] = []
    watched = Meter(heard.append)

    def work(n: int) -> None:
        watched.bytes(n)
        watched.file("kept" if n % 3 else "http_404")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(3000)))
    watched.flush()
    assert sum(news.size_bytes for news in heard) == sum(range(3000))
    assert sum((news.outcomes for news in heard), Counter()) == {"kept": 2000, "http_404": 1000}


def test_it_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[News] = []
    watched = Meter(heard.append)
    for _ in range(100):
        watched.bytes(1)
    assert heard == []
    monkeypatch.setattr(meter, "TELL_S", -1.0)
    watched.bytes(1)
    watched.bytes(1)
    assert [news.size_bytes for news in heard] == [101, 1]


def test_a_wait_is_told_at_once() -> None:
    heard: list[News] = []
    watched = Meter(heard.append)
    watched.bytes(5)
    watched.wait("the disk is full")
    assert heard == [News(5, Counter(), "the disk is full")]
    watched.flush()
    assert heard[-1] == News()


def test_without_a_listener_nothing_is_kept() -> None:
    silent = Meter()
    silent.bytes(5)
    silent.file("kept")
    silent.wait("why")
    silent.flush()
    assert silent.news == News()
