"""What an attempt leaves behind for the next one: after kills, power cuts and damage, and when two want the same."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ItemError, RunError
from builder.web import download as module
from builder.web.client import Client
from builder.web.download import Wanted, download, exclusive
from builder.web.limits import Limits
from downloads import get, left
from loopback import Answer, Site

ROOT = Path(__file__).parents[2]
BODY = os.urandom(200_000)
ETAG = {"ETag": '"x"'}
CUT = Answer(BODY, cut=100_000, headers=ETAG, ranges=True)
WHOLE = Answer(BODY, headers=ETAG, ranges=True)
DOWNLOADER = """
import sys
from pathlib import Path
from builder.web.client import Client
from builder.web.download import Wanted, download, exclusive
from builder.web.limits import Limits

url, part = sys.argv[1], Path(sys.argv[2])
with Client(Limits(allow_private_hosts=True, robots=False)) as client, exclusive(part) as file:
    download(client, url, file, part, Wanted())
"""


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "parts" / "a.part"


@pytest.fixture
def once(limits: Limits) -> Iterator[Client]:
    """Gives up at once, and comes back as another process would."""
    with Client(replace(limits, attempts=1, robots=False)) as client:
        yield client


def given_up(client: Client, url: str, part: Path) -> None:
    with pytest.raises(ItemError) as caught:
        get(client, url, part)
    assert caught.value.retryable
    assert left(part.parent) == ["a.note", "a.part"]


def ranges(site: Site) -> list[str]:
    return [headers.get("Range", "") for _, _, headers in site.requests]


def killed(site: Site, url: str, part: Path) -> None:
    """Download in a process that is killed when half has come."""
    site.at("/a", Answer(BODY[:100_000], announced=len(BODY), headers=ETAG, stuck=True))
    with subprocess.Popen([sys.executable, "-c", DOWNLOADER, url, part], cwd=ROOT) as process:
        while not part.exists() or part.stat().st_size < 100_000:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert left(part.parent) == ["a.note", "a.part"]


def test_another_client_goes_on_where_one_gave_up(site: Site, once: Client, part: Path) -> None:
    url = site.at("/a", CUT, WHOLE)
    given_up(once, url, part)
    with Client(once.limits) as other:
        assert get(other, url, part)[0] == BODY
    assert ranges(site) == ["", "bytes=100000-"]
    assert left(part.parent) == []


def test_another_client_goes_on_after_a_kill(site: Site, once: Client, part: Path) -> None:
    url = f"{site.url}/a"
    killed(site, url, part)
    site.at("/a", WHOLE)
    assert get(once, url, part)[0] == BODY
    assert ranges(site) == ["", "bytes=100000-"]


def test_a_file_that_was_complete_when_the_kill_came_is_not_asked_for(site: Site, once: Client, part: Path) -> None:
    url = site.at("/a", WHOLE)
    with exclusive(part) as file:
        download(once, url, file, part, Wanted())  # and then the process ends, before it is moved away
    assert left(part.parent) == ["a.note", "a.part"]
    told: list[bool] = []
    assert get(once, url, part, Wanted(check=lambda path, whole: told.append(whole)))[0] == BODY
    assert (site.asked("/a"), told) == (1, [True])


def test_a_power_cut_leaves_only_what_was_synced(
    site: Site, once: Client, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A length may be on the disk, and the bytes not: another start of the machine has to ask for them again."""
    url = f"{site.url}/a"
    killed(site, url, part)
    monkeypatch.setattr(module, "boot", lambda: "another")
    part.write_bytes(bytes(100_000))
    site.at("/a", CUT, WHOLE)
    given_up(once, url, part)
    monkeypatch.setattr(module, "boot", lambda: "a third")
    with part.open("ab") as file:
        file.write(bytes(50_000))
    assert get(once, url, part)[0] == BODY
    assert ranges(site) == ["", "", "bytes=100000-"]


def test_where_nobody_knows_of_restarts_only_what_was_synced_counts(
    site: Site, once: Client, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "boot", lambda: "")
    url = f"{site.url}/a"
    given_up(once, site.at("/a", CUT, WHOLE), part)
    note = json.loads(part.with_suffix(".note").read_text())
    assert note["synced"] == 100_000
    part.with_suffix(".note").write_text(json.dumps(note | {"synced": 50_000}))
    assert get(once, url, part)[0] == BODY
    assert ranges(site) == ["", "bytes=50000-"]


def test_the_beginning_of_something_else_is_not_added_to(site: Site, once: Client, part: Path) -> None:
    given_up(once, site.at("/a", CUT), part)
    assert get(once, site.at("/b", Answer(BODY[::-1], headers=ETAG, ranges=True)), part)[0] == BODY[::-1]
    assert ranges(site) == ["", ""]


NOTES: list[Callable[[dict[str, Any]], Any]] = [
    lambda note: None,
    lambda note: [],
    lambda note: {},
    lambda note: {name: note[name] for name in note if name != "boot"},
    lambda note: note | {"validators": None},
    lambda note: note | {"validators": {}},
    lambda note: note | {"validators": {"ETag": 5}},
    lambda note: note | {"validators": {"ETag": 'W/"x"'}},
    lambda note: note | {"validators": {"ETag": '"of the one before"'}},
    lambda note: note | {"total_bytes": "many"},
    lambda note: note | {"total_bytes": 1},
    lambda note: note | {"synced": None},
    lambda note: note | {"url": "another"},
]


@pytest.mark.parametrize("change", NOTES, ids=range(len(NOTES)))
def test_a_note_that_is_wrong_costs_a_request_at_most(
    site: Site, limits: Limits, once: Client, part: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    url = site.at("/a", CUT, WHOLE)
    given_up(once, url, part)
    note = part.with_suffix(".note")
    note.write_text(json.dumps(change(json.loads(note.read_text()))))
    with Client(limits) as client:
        assert get(client, url, part)[0] == BODY


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"\x00" * 100, b"[" * 100_000])
def test_a_note_that_is_damaged(site: Site, once: Client, part: Path, content: bytes) -> None:
    url = site.at("/a", CUT, WHOLE)
    given_up(once, url, part)
    part.with_suffix(".note").write_bytes(content)
    assert get(once, url, part)[0] == BODY
    part.with_suffix(".note").unlink(missing_ok=True)


def test_a_part_without_its_note_is_begun_anew(site: Site, once: Client, part: Path) -> None:
    url = site.at("/a", CUT, WHOLE)
    given_up(once, url, part)
    part.with_suffix(".note").unlink()
    assert get(once, url, part)[0] == BODY
    assert ranges(site) == ["", ""]


@pytest.mark.parametrize("answer", [Answer(b"", 404), Answer(b"<html>" * 99), replace(CUT, headers={})])
def test_nothing_is_left_of_what_cannot_be_gone_on_with(site: Site, once: Client, part: Path, answer: Answer) -> None:
    with pytest.raises(ItemError):
        get(once, site.at("/a", answer), part)
    assert left(part.parent) == []


# -- two at a time
def test_threads_take_turns(site: Site, limits: Limits, part: Path, tmp_path: Path) -> None:
    """Each finds what the one before left: nothing if it was used up, a beginning if not."""
    site.at("/a", *[CUT, WHOLE] * 4)
    (tmp_path / "done").mkdir()
    inside, lock = [0], threading.Lock()

    def run(n: int) -> None:
        with exclusive(part) as file:
            with lock:
                inside[0] += 1
                assert inside[0] == 1
            download(client, f"{site.url}/a", file, part, Wanted())
            part.replace(tmp_path / "done" / str(n))
            with lock:
                inside[0] -= 1

    with Client(limits) as client, ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert [(tmp_path / "done" / str(n)).read_bytes() for n in range(4)] == [BODY] * 4
    assert left(part.parent) == []


def test_a_process_waits_for_another_and_goes_on_when_that_is_killed(site: Site, once: Client, part: Path) -> None:
    url = site.at("/a", Answer(BODY[:100_000], announced=len(BODY), headers=ETAG, stuck=True), WHOLE)
    with (
        subprocess.Popen([sys.executable, "-c", DOWNLOADER, url, part], cwd=ROOT) as process,
        ThreadPoolExecutor() as pool,
    ):
        while not part.exists() or part.stat().st_size < 100_000:
            time.sleep(0.01)
        waiting = pool.submit(get, once, url, part)
        time.sleep(0.2)
        assert not waiting.done() and site.asked("/a") == 1
        os.kill(process.pid, signal.SIGKILL)
        assert waiting.result()[0] == BODY
    assert ranges(site) == ["", "bytes=100000-"]


def test_what_the_next_one_began_is_not_taken_away(part: Path) -> None:
    with exclusive(part) as file:
        file.write(b"first")
        part.replace(part.with_name("moved"))
        with exclusive(part) as other:
            other.write(b"second")
    assert part.read_bytes() == b"second"


def test_a_full_disk_stops_the_run(site: Site, once: Client, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.Part, "add", full)
    with pytest.raises(RunError, match="free some space"):
        get(once, site.at("/a", WHOLE), part)
