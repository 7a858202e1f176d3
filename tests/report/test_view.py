"""`osd-build view`: who may ask, what may be read, and decisions that outlive a kill and reach the verdicts."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from browser import browser, opened, violations
from builder.decisions import Decisions
from builder.execute import open_run
from builder.records import SourceVideo
from builder.report.dry_run import everything
from builder.storage import Storage
from builder.table import Table
from command_line import STOPPED, osd_build
from injections import INJECTIONS
from judged_run import write
from pictured_run import Pictured, Texts, pictured


@dataclass(frozen=True)
class Served:
    process: subprocess.Popen[str]
    url: str

    def ask(self, path: str = "", body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body. Names of headers are written with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(path if path.startswith("http") else self.url + path, body, named)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def decide(self, clip: str, said: str, captions: Any = None) -> tuple[int, Any]:
        body = json.dumps({"clip_id": clip, "decision": said, "captions": captions or {}}).encode()
        status, _, answer = self.ask("decide", body, Content_Type="application/json")
        return status, json.loads(answer)


@contextmanager
def served(run: Path) -> Iterator[Served]:
    command = [sys.executable, "-P", "-c", "from builder.cli import main; main()", "view", str(run)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), process.communicate()[1]
            process.stdout.readline()
            yield Served(process, url)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Pictured:
    return pictured(tmp_path_factory.mktemp("viewed"), [Texts(f"title {n}") for n in range(4)], clips_each=3)


@pytest.fixture(scope="module")
def here(made: Pictured) -> Iterator[Served]:
    with served(made.run) as found:
        yield found


def test_only_who_knows_the_token_and_our_name_is_answered(here: Served) -> None:
    parts = urlsplit(here.url)
    assert here.ask()[0] == 200
    assert parts.hostname == "127.0.0.1"
    assert len(parts.path) > 30
    root = f"http://{parts.netloc}"
    for path in ("", "/", "/x/", f"{parts.path[:-2]}/", f"{parts.path[:-1]}x/", "/overrides.csv", f"/x{parts.path}"):
        assert here.ask(root + path)[0] == 404
    assert here.ask(Host=f"evil.example:{parts.port}")[0] == 404
    assert here.ask(Host="127.0.0.1")[0] == 404
    assert here.ask(Origin="http://evil.example")[0] == 404
    assert here.ask(Origin=root)[0] == 200


def test_what_every_answer_forbids(here: Served) -> None:
    for path in ("", "overrides.csv", "nothing", "videos/nothing", "pictures/nothing.jpg"):
        _, headers, _ = here.ask(path)
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = here.ask()[1]["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "file:" not in policy
    assert "connect-src 'self'" in policy


OUTSIDE = (
    *("videos/../build.toml", "videos/..%2fbuild.toml", "videos/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "videos//etc/passwd"),
    *("pictures/../build.toml", "pictures/..%2f..%2fbuild.toml.jpg", "build.toml", "merge/part-00000.parquet"),
    *("../build.toml", "%2e%2e/build.toml", "videos/a%00b", "videos/", "pictures/.jpg", "media/"),
)


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_path_is_followed(here: Served, path: str) -> None:
    assert here.ask(path)[0] == 404


ELSEWHERE = (
    *(
        ("mine", "../secret.mp4"),
        ("mine", "..%2fsecret.mp4"),
        ("mine", "{}/secret.mp4"),
        ("mine", "%2f..{}/secret.mp4"),
    ),
    *(
        ("", "../secret.mp4"),
        ("", "{}/secret.mp4"),
        ("", "build.toml"),
        ("", "media/link.mp4"),
        ("nobody", "secret.mp4"),
    ),
)


def test_a_row_that_names_a_file_elsewhere_is_not_served(tmp_path: Path) -> None:
    """Were a table made by someone else. Size and time of each file are as its row says."""
    odd = pictured(tmp_path, [Texts(f"title {n}") for n in range(len(ELSEWHERE))])
    secret = tmp_path / "secret.mp4"
    secret.write_bytes((odd.run / "build.toml").read_bytes())
    (odd.run / "media" / "link.mp4").symlink_to(secret)
    table: Table[SourceVideo] = Table(Storage(odd.run), "merge", SourceVideo)
    facts = {"size_bytes": secret.stat().st_size, "mtime_ns": secret.stat().st_mtime_ns}
    places = [{"root": root, "path": path.format(tmp_path)} for root, path in ELSEWHERE]
    rows = [replace(row, **place, **facts) for row, place in zip(table.rows(), places, strict=True)]
    write(odd.run, "merge", rows)
    with served(odd.run) as found:
        for row in rows:
            status, _, body = found.ask(f"videos/{row.video_id}")
            assert (status, b"[[source]]" in body) == (404, False), row.path


def test_videos_come_in_ranges_and_as_nothing_but_videos(here: Served, made: Pictured) -> None:
    path = f"videos/{made.clips[0].video_id}"
    whole = (made.run.parent / "videos" / "a b.mp4").read_bytes()
    status, headers, body = here.ask(path)
    assert (status, body, headers["Content-Type"]) == (200, whole, "video/mp4")
    status, headers, body = here.ask(path, Range="bytes=100-299")
    assert (status, body) == (206, whole[100:300])
    assert headers["Content-Range"] == f"bytes 100-299/{len(whole)}"
    assert here.ask(path, Range="bytes=999999999-")[0] == 416


def test_pictures(here: Served, made: Pictured) -> None:
    status, headers, body = here.ask(f"pictures/{made.clips[0].clip_id}.jpg")
    assert (status, headers["Content-Type"], body[:2]) == (200, "image/jpeg", b"\xff\xd8")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{}", b"null", b'{"clip_id": 1, "decision": "keep", "captions": {}}', b"\xff"),
        *(
            b'{"clip_id": "x", "decision": "keep", "captions": {}}',
            b'{"clip_id": ["x"], "decision": "", "captions": {}}',
        ),
    ],
)
def test_a_request_that_makes_no_sense(here: Served, body: bytes) -> None:
    status, _, answer = here.ask("decide", body, Content_Type="application/json")
    assert status == 400
    assert json.loads(answer)["error"]


def test_a_decision_that_there_is_not(here: Served, made: Pictured) -> None:
    clip = made.clips[0].clip_id
    assert here.decide(clip, "perhaps")[0] == 400
    assert here.decide(clip, "keep", {"nobody": "text"})[0] == 400
    assert here.decide(clip, "keep", {"describe": 1})[0] == 400
    assert here.decide(clip, "", {"describe": "\ud800"})[0] == 400
    assert here.decide(clip, "keep", ["describe"])[0] == 400


def test_decisions_outlive_a_kill_and_travel_as_csv(tmp_path: Path) -> None:
    run = pictured(tmp_path, [Texts(f"title {n}") for n in range(len(INJECTIONS))])
    texts = dict(zip([row.clip_id for row in run.clips], INJECTIONS, strict=True))
    few = list(texts)[::10]
    with served(run.run) as found:
        for clip in few:
            assert found.decide(clip, "keep", {"describe": texts[clip]})[0] == 200
        found.decide(few[0], "")
        found.process.kill()
        found.process.wait()
    rows = Decisions(Storage(run.run)).rows
    assert {key: row.captions["describe"] for key, row in rows.items()} == {clip: texts[clip] for clip in few[1:]}
    with served(run.run) as found:
        table = found.ask("overrides.csv")[2]
        for clip in few:
            found.decide(clip, "drop")
        assert found.ask("import", table, Content_Type="text/csv")[0] == 200
        assert found.ask("import", b"clip_id\nx\n", Content_Type="text/csv")[0] == 400
    again = Decisions(Storage(run.run)).rows
    assert {key: (row.decision, row.captions) for key, row in again.items() if key != few[0]} == {
        key: (row.decision, row.captions) for key, row in rows.items()
    }
    assert again[few[0]].decision == "drop"


def test_two_at_once_would_lose_decisions(here: Served, made: Pictured) -> None:
    result = osd_build("view", made.run)
    assert result.returncode == STOPPED
    assert "another `osd-build view`" in result.stderr


def test_deciding_with_the_keyboard_reaches_the_verdicts(tmp_path: Path) -> None:
    run = pictured(tmp_path, [Texts(f"title {n}") for n in range(4)], clips_each=3)
    ids = sorted(row.clip_id for row in run.clips)
    with browser() as started, served(run.run) as found:
        with opened(started, found.url, viewport={"width": 1280, "height": 800}) as seen:
            page = seen.page
            page.locator(".card").first.focus()
            page.keyboard.press("Enter")
            page.keyboard.press("d")
            seen.until("document.querySelector('dialog header')?.textContent.includes('2 of 12')")
            page.keyboard.press("k")
            seen.until("document.querySelector('dialog header')?.textContent.includes('3 of 12')")
            page.keyboard.press("Escape")
            page.select_option("#verdict", "kept")
            page.locator(".card").first.click()
            page.keyboard.press("e")
            page.keyboard.press("Control+a")
            page.keyboard.type("A <b>better</b> caption.")
            page.keyboard.press("Control+Enter")
            seen.until("document.querySelector('dialog blockquote')?.textContent === 'A <b>better</b> caption.'")
            assert violations(page) == []
        with opened(started, found.url, viewport={"width": 1280, "height": 800}) as seen:
            seen.page.select_option("#verdict", "hand")
            rows = Decisions(Storage(run.run)).rows
            assert seen.count() == len(rows)
            seen.look_at_clips()
            hands = seen.page.locator(".tag.hand").all_text_contents()
            assert hands == [row.decision or "caption" for row in rows.values()]
    assert judged(run.run)[ids[0]] == ("dropped by hand",)
    assert judged(run.run)[ids[1]] == ()
    assert [row.captions["describe"] for row in rows.values() if row.captions] == ["A <b>better</b> caption."]


def judged(folder: Path) -> dict[str, tuple[str, ...]]:
    """What `osd-build filter` says now, with the scores that are there."""
    run = open_run(folder)
    job = next(job for job in run.jobs() if job.target.name == "judge")
    rows = job.stage.asked(everything({job.target.name: job for job in run.jobs()}, "judge")).to_pylist()  # type: ignore[attr-defined]
    return {row["clip_id"]: tuple(row["failed"]) for row in rows}
