"""Fetch and open_media, on real files and a real server."""

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.digests import content_id
from builder.errors import ItemError
from builder.meter import Meter, News
from builder.records import Failure, Fetched, Found, SourceVideo
from builder.stage import Context, Item
from builder.stages.fetch import Fetch, local_path, open_media
from loopback import Answer, Site, video

BYTES = video()
CUT = BYTES[: BYTES.index(b"moov")]
NAMES = ["-vf.mp4", "two\nlines.mp4", "a;b 'c' \"d\".MP4", "..x..mp4", "猫.mp4", "%2541.mp4", "%FF.mp4"]
KINDS = {
    **{"pipe": "not_a_file", "folder": "not_a_file", "gone": "missing", "none": "missing"},
    **{"empty": "empty_file", "text": "not_video", "list": "not_video", "cut": "truncated"},
}


def fetch(context: Context, found: Found, **limits: Any) -> Fetched | Failure:
    context.web, stage = replace(context.limits, **limits), Fetch()
    with stage.opened(context):
        [answer] = stage.batch([Item(found, found.digest())])
    return answer if isinstance(answer, Failure) else answer[0]


def fetched(context: Context, found: Found) -> Fetched:
    row = fetch(context, found)
    assert isinstance(row, Fetched), row
    return row


def failed(context: Context, found: Found, **limits: Any) -> Failure:
    failure = fetch(context, found, **limits)
    assert isinstance(failure, Failure)
    assert not failure.filtered
    assert str(context.base) not in failure.message  # tables hold no absolute path
    return failure


def local(path: str) -> Found:
    return Found("00", "mine", root="mine", path=path, title="T", tags=("a",), license="CC0-1.0", license_url="l")


def remote(url: str) -> Found:
    return Found("00", "list", url=url, license="CC0-1.0", license_url="l", author="Z")


def media(context: Context) -> list[str]:
    return list(context.storage.walk("media"))


# -- local files


def test_a_local_file_is_described_where_it_is(context: Context, videos: Path) -> None:
    (videos / "a.mp4").write_bytes(BYTES)
    row = fetched(context, local("a.mp4"))
    sha256 = hashlib.sha256(BYTES).hexdigest()
    assert (row.sha256, row.video_id, row.size_bytes) == (sha256, content_id(sha256), len(BYTES))
    assert (row.root, row.path, row.mtime_ns) == ("mine", "a.mp4", (videos / "a.mp4").stat().st_mtime_ns)
    assert (row.codec, row.width, row.height, row.fps, row.has_audio) == ("mpeg4", 64, 48, 10.0, False)
    assert row.duration_s == pytest.approx(0.6)
    assert (row.title, row.tags, row.license, row.license_url, row.retrieved_at) == ("T", ("a",), "CC0-1.0", "l", "")
    assert media(context) == []
    assert open_media(row, context) == videos / "a.mp4"


def test_the_row_is_the_same_after_a_mere_touch(context: Context, videos: Path) -> None:
    (videos / "a.mp4").write_bytes(BYTES)
    before = fetched(context, local("a.mp4"))
    os.utime(videos / "a.mp4", ns=(1, 1))
    after = fetched(context, local("a.mp4"))
    assert after.mtime_ns == 1
    assert after.digest() == before.digest()
    assert open_media(before, context) == videos / "a.mp4"


@pytest.mark.parametrize("name", NAMES)
def test_names_of_every_kind(context: Context, name: str) -> None:
    local_path("mine", name, context).write_bytes(BYTES)
    row = fetched(context, local(name))
    assert open_media(row, context).read_bytes() == BYTES


def test_what_cannot_be_used_fails_by_name(context: Context, videos: Path) -> None:
    os.mkfifo(videos / "pipe.mp4")
    (videos / "folder.mp4").mkdir()
    (videos / "gone.mp4").symlink_to("nowhere.mp4")
    (videos / "empty.mp4").touch()
    (videos / "text.mp4").write_text("hello " * 100)
    (videos / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    (videos / "cut.mp4").write_bytes(CUT)
    failures = {name: failed(context, local(f"{name}.mp4")) for name in KINDS}
    assert {name: failure.kind for name, failure in failures.items()} == KINDS
    assert all(f"'{name}.mp4' of source 'mine'" in failure.message for name, failure in failures.items())


def test_a_source_that_left_build_toml(context: Context) -> None:
    assert failed(context, replace(local("a.mp4"), root="other")).kind == "no_such_source"


# -- from the web


def test_a_download_is_named_by_its_content(context: Context, site: Site) -> None:
    url = site.at("/My%20cat.MP4", Answer(BYTES, headers={"ETag": '"1"'}))
    row = fetched(context, remote(url))
    assert row.path == f"media/videos/{row.video_id[:2]}/{row.video_id}.mp4"
    assert (row.root, row.url, row.mtime_ns, row.etag, row.author) == ("", url, 0, '"1"', "Z")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row.retrieved_at)
    assert media(context) == [row.path]
    assert open_media(row, context).read_bytes() == BYTES
    assert context.storage.walk(".scratch") == []


def test_the_container_names_the_file_not_the_url(context: Context, site: Site) -> None:
    row = fetched(context, remote(site.at("/a.mp4?x=.exe", Answer(video(container="matroska")))))
    assert row.path.endswith(".mkv")


def test_bytes_that_are_there_are_not_written_again(context: Context, site: Site) -> None:
    path = context.storage.path(fetched(context, remote(site.at("/a.mp4", Answer(BYTES)))).path)
    os.utime(path, ns=(1, 1))
    other = fetched(context, replace(remote(site.at("/b.mp4", Answer(BYTES))), found_id="01"))
    assert context.storage.path(other.path) == path
    assert path.stat().st_mtime_ns == 1
    assert context.storage.walk("fetch.parts") == []


def test_nothing_is_fetched_twice(context: Context, site: Site) -> None:
    found = remote(site.at("/a.mp4", Answer(BYTES, headers={"ETag": '"1"'}), Answer(BYTES, headers={"ETag": '"2"'})))
    row = fetched(context, found)
    assert fetched(context, found) == row  # as after a kill: the answer is lost, the file is there
    assert fetched(context, replace(found, license="CC-BY-4.0")) == replace(row, license="CC-BY-4.0")
    assert site.asked("/a.mp4") == 1
    context.storage.path(row.path).write_bytes(b"short")  # a disk that lost its end
    assert fetched(context, found).etag == '"2"'
    assert open_media(row, context).read_bytes() == BYTES


def test_a_failed_download_leaves_nothing(context: Context, site: Site) -> None:
    answers = {
        "http_404": Answer(b"", 404),
        "web_page": Answer(b"<!doctype html>"),
        "not_video": Answer(b"no video " * 99),
        "too_large": Answer(bytes(300_000)),
        "truncated": Answer(CUT),
    }
    for kind, answer in answers.items():
        context.close()  # a client with other limits
        failure = failed(context, remote(site.at(f"/{kind}.mp4", answer)), max_size_bytes=200_000)
        assert failure.kind == kind
        assert f"/{kind}.mp4" in failure.message
    assert media(context) == list(context.storage.walk(".scratch")) == context.storage.walk("fetch.parts") == []


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "/etc/passwd", "http://me:word@127.0.0.1/a.mp4"])
def test_what_is_no_url_is_not_asked_for(context: Context, url: str) -> None:
    failure = failed(context, replace(remote(url), path="" if url else "list.csv row 3"))
    assert failure.kind == "bad_url"
    assert url or "list.csv row 3" in failure.message


def test_settings_recompute_nothing() -> None:
    assert Fetch(budget="2 TB").fingerprint() == Fetch().fingerprint()


def test_another_rendition_of_a_video_is_another_file(context: Context, site: Site) -> None:
    small, large = site.at("/360.mp4", Answer(BYTES)), site.at("/1080.mp4", Answer(video(5)))
    before = fetched(context, remote(small))
    after = fetched(context, remote(large))  # the same id: a stock site's video, whose policy was changed
    assert (before.found_id, before.sha256) != (after.found_id, after.sha256)
    assert open_media(after, context).read_bytes() == video(5)


def test_a_listed_hash_is_checked(context: Context, site: Site) -> None:
    found = remote(site.at("/a.mp4", Answer(BYTES)))
    assert failed(context, replace(found, listed_sha256="0" * 64)).kind == "wrong_hash"
    assert fetched(context, replace(found, listed_sha256=hashlib.sha256(BYTES).hexdigest())).sha256


def test_a_local_file_is_hashed_once(context: Context, videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (videos / "a.mp4").write_bytes(BYTES)
    row = fetched(context, local("a.mp4"))
    monkeypatch.setattr("builder.stages.fetch.read_through", lambda path, name: pytest.fail(name))
    assert fetched(context, local("a.mp4")) == row


def test_the_budget_makes_downloads_wait(context: Context, site: Site) -> None:
    """The second one begins when the first one is gone."""
    stage, said = Fetch(budget=f"{len(BYTES) + 10} B"), list[News]()
    context.meter = Meter(said.append)
    first, second = (site.at(f"/{n}.mp4", Answer(video(n))) for n in (0, 1))
    with stage.opened(context), ThreadPoolExecutor() as pool:
        [row] = stage.each(Item(replace(remote(first), size_bytes=len(BYTES)), ""))
        waiting = pool.submit(stage.each, Item(replace(remote(second), found_id="01", size_bytes=len(BYTES)), ""))
        with pytest.raises(TimeoutError):
            waiting.result(timeout=1.5)
        assert site.asked("/1.mp4") == 0
        assert any("storage.budget" in news.waiting for news in said)
        context.storage.remove(row.path)
        assert waiting.result(timeout=30)[0].sha256 == hashlib.sha256(video(1)).hexdigest()


def test_a_unit_is_fetched_by_several_threads_and_a_bug_is_loud(context: Context, site: Site) -> None:
    urls = [site.at(f"/{n}.mp4", Answer(video(n), silent_s=0.3)) for n in range(8)]
    items = [Item(replace(remote(url), found_id=f"{n:02}"), "") for n, url in enumerate(urls)]
    stage = Fetch()
    with stage.opened(context):
        answers = stage.batch(items)
    assert [a.item_id if isinstance(a, Failure) else a[0].found_id for a in answers] == [f"{n:02}" for n in range(8)]
    times = sorted(site.times(f"/{n}.mp4")[0] for n in range(8))
    assert times[3] - times[0] < 0.3  # four at a time: what a host is asked by default
    stage = Fetch()
    vars(stage)["answer"] = lambda *args: 1 / 0
    with stage.opened(context), pytest.raises(ZeroDivisionError):
        stage.batch(items)


# -- for later stages


def refused(row: SourceVideo, context: Context) -> ItemError:
    with pytest.raises(ItemError) as caught:
        open_media(row, context)
    assert str(context.base) not in caught.value.message
    return caught.value


def test_a_file_that_changed_is_refused(context: Context, videos: Path) -> None:
    (videos / "a.mp4").write_bytes(BYTES)
    row = fetched(context, local("a.mp4"))
    (videos / "a.mp4").write_bytes(bytes(reversed(BYTES)))
    os.utime(videos / "a.mp4", ns=(5, 5))
    error = refused(row, context)
    assert error.kind == "changed"
    assert "'a.mp4' of source 'mine'" in error.message and "osd-build crawl" in error.message
    (videos / "a.mp4").write_bytes(BYTES + b"x")
    assert refused(row, context).kind == "changed"
    (videos / "a.mp4").unlink()
    assert refused(row, context).kind == "missing"
    assert refused(replace(row, root="other"), context).kind == "no_such_source"


def test_a_download_that_was_damaged_is_refused(context: Context, site: Site) -> None:
    row = fetched(context, remote(site.at("/a.mp4", Answer(BYTES))))
    context.storage.path(row.path).write_bytes(b"short")
    assert refused(row, context).kind == "changed"
    context.storage.remove(row.path)
    assert refused(row, context).kind == "missing"
