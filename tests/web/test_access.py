"""Limits per key: over processes, restarts and clocks that are wrong; and where the key may be."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import ItemError
from builder.web import access
from builder.web.access import Access, Window, past, until_free
from builder.web.state import shared_folder

ROOT = Path(__file__).parents[2]
HOUR, MONTH = Window(3, 3600.0), Window(5, 30 * 86_400.0)
KEY = "c4n4ry"


class Clock:
    """What the module takes for the time. To sleep moves it."""

    def __init__(self) -> None:
        self.now, self.slept_s = 1_700_000_000.0, 0.0

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(access, "time", clock)
    return clock


def state_file() -> Path:
    [path] = (shared_folder() / "keys").iterdir()
    return path


def quota(key: Access) -> ItemError:
    with pytest.raises(ItemError) as caught:
        key.spend()
    assert (caught.value.kind, caught.value.retryable) == ("quota", True)
    return caught.value


def test_an_hourly_limit_is_waited_for(clock: Clock) -> None:
    key = Access("Site", KEY, windows=(HOUR,))
    for _ in range(3):
        key.spend()
        clock.now += 600
    assert clock.slept_s == 0
    key.spend()
    assert clock.slept_s == pytest.approx(1800, abs=0.1)
    key.spend()
    assert clock.slept_s == pytest.approx(2400, abs=0.1)


def test_a_monthly_limit_is_not(clock: Clock) -> None:
    key = Access("Site", KEY, windows=(HOUR, MONTH))
    for _ in range(5):
        key.spend()
        clock.now += 3600
    error = quota(key)
    assert clock.slept_s == 0
    assert "5 requests in 2,592,000 s" in error.message
    assert "in 715.0 h" in error.message
    clock.now += 715 * 3600
    key.spend()
    clock.now -= 600
    quota(key)


def test_uses_are_counted_over_restarts_and_by_key(clock: Clock) -> None:
    for _ in range(5):
        Access("Site", KEY, windows=(MONTH,)).spend()
    quota(Access("Site", KEY, windows=(MONTH,)))
    Access("Site", "another", windows=(MONTH,)).spend()
    Access("Other", KEY, windows=(MONTH,)).spend()
    Access("Site", KEY).spend()  # no limit, none asked


def test_uses_are_counted_over_processes() -> None:
    code = "import sys; from builder.web.access import *\nfor n in range(20):\n"
    code += "    try: Access('Site', 'k', windows=(Window(30, 1e6),)).spend(); print(n)\n"
    code += "    except ItemError: pass"
    crawlers = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) for _ in range(3)]
    said = b"".join(process.communicate()[0] for process in crawlers)
    assert len(said.split()) == 30


@pytest.mark.parametrize("years", [-10, -0.01, 10])
def test_a_clock_that_was_wrong_for_a_while(clock: Clock, years: float) -> None:
    """Uses at a time that is still to come count from when that is noticed: a key is not lost for years."""
    right = clock.now
    clock.now += years * 365 * 86_400
    key = Access("Site", KEY, windows=(HOUR,))
    for _ in range(3):
        key.spend()
    clock.now = right
    key.spend()
    assert clock.slept_s <= 3600 + 5
    clock.now += 3600
    slept_s = clock.slept_s
    key.spend()
    assert clock.slept_s == slept_s


def test_a_clock_that_is_set_back_in_between_lets_nobody_ask_too_early(clock: Clock) -> None:
    key = Access("Site", KEY, windows=(HOUR,))
    key.spend()
    key.spend()
    key.spend()
    clock.now -= 3000
    began = clock.now
    key.spend()
    assert clock.now - began >= 3600


def test_a_frozen_clock_lets_nobody_ask_too_early(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(Exception):
        pass

    def stuck(seconds: float) -> None:
        raise Stuck

    key = Access("Site", KEY, windows=(HOUR,))
    for _ in range(3):
        key.spend()
    monkeypatch.setattr(clock, "sleep", stuck)
    with pytest.raises(Stuck):
        key.spend()


DAMAGED: list[Any] = [None, 1, "x", [], ["x"], {}, {"used": None}, {"used": 7}, {"used": ["x", None, [], {}, True]}]
DAMAGED += [{"used": [float("nan"), float("inf"), float("-inf"), 1e308, -5.0]}]


@pytest.mark.parametrize("content", [*map(json.dumps, DAMAGED), "", "{", "\x00\x00", "[" * 100_000], ids=range(14))
def test_a_damaged_state_stops_nothing(clock: Clock, content: str) -> None:
    key = Access("Site", KEY, windows=(HOUR,))
    key.spend()
    state_file().write_text(content)
    for _ in range(4):
        key.spend()
    assert clock.slept_s <= 3600 + 5
    state_file().write_bytes(b"\xff\xfe\x00")
    key.spend()


def test_the_key_is_in_no_file_and_no_text(clock: Clock) -> None:
    key = Access("Site", KEY, header="X-Key", windows=(MONTH,))
    for _ in range(5):
        key.spend()
    assert KEY not in f"{key!r} {key} {quota(key)!r}"
    for path in shared_folder().rglob("*"):
        assert KEY not in str(path)
        assert path.is_dir() or KEY.encode() not in path.read_bytes()
    assert state_file().stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["a k/y+= b", "a k%2Fy%2B%3D b", "k/y+=", "?key=k%2Fy%2B%3D&x"])
def test_a_key_is_taken_out_of_a_text(text: str) -> None:
    told = Access("Site", "k/y+=").redact(text)
    assert "***" in told
    assert "y" not in told.replace("key", "")


def test_without_a_key_nothing_is_taken_out() -> None:
    assert Access("Site", "").redact("text") == "text"


@pytest.mark.parametrize("key", ["k3y\n", "k3y\x00", "schlüssel", "k\u200by"])
def test_a_key_that_cannot_be_sent_is_told_of_at_once(key: str) -> None:
    with pytest.raises(ItemError, match="Site") as caught:
        Access("Site", key)
    assert key not in repr(caught.value)
    assert caught.value.kind == "bad_key"


@given(st.lists(st.floats(0, 200), max_size=30), st.integers(1, 8), st.floats(1, 50))
def test_in_no_window_are_more_than_allowed(gaps: list[float], requests: int, seconds: float) -> None:
    """Whenever requests are wished for, those that are made fit."""
    window, used, now = Window(requests, seconds), list[float](), 0.0
    for gap in gaps:
        now += gap
        while wait_s := until_free(used, window, now):
            now += wait_s
        used.append(now)
    assert all(b - a >= seconds - 1e-6 for a, b in zip(used, used[requests:], strict=False))


def test_only_times_count_as_times() -> None:
    assert past([1.0, 5.0, "x", None, float("nan"), True, 2], 3.0) == [1.0, 3.0]
    assert past("used", 3.0) == past(None, 3.0) == []


def test_to_count_is_cheap_for_a_whole_month() -> None:
    key = Access("Site", KEY, windows=(Window(200, 3600.0), Window(20_000, 30 * 86_400.0)))
    key.spend()
    now = time.time()
    state_file().write_text(json.dumps({"used": [now - 7200 - n * 100 for n in range(19_000)]}))
    began = time.process_time()
    key.spend()
    assert time.process_time() - began < 1
    assert len(json.loads(state_file().read_text())["used"]) == 19_001
