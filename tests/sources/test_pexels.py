"""Pexels as it answers, and as it might one day."""

import itertools
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ConfigError, ItemError
from builder.records import Found
from builder.sources.pexels import Pexels
from builder.stage import Context
from builder.stages.find import site_of
from loopback import Answer
from stock_sites import KEYS, StockSites, visiting

SEARCH = "/v1/videos/search"
VIDEO: dict[str, Any] = {  # an answer of 2025, shortened
    "id": 30706354,
    "full_res": None,
    "tags": [],
    "url": "https://www.pexels.com/video/copenhagen-nyhavn-harbor-scenic-view-30706354/",
    "avg_color": None,
    "user": {"id": 2786187, "name": "Efrem  Efre", "url": "https://www.pexels.com/@efrem-efre-2786187"},
    "video_files": [
        {"id": 13137910, "quality": None, "file_type": "video/mp4", "width": 360, "height": 640, "fps": 25}
        | {"link": "https://videos.pexels.com/video-files/30706354/13137910_360_640_25fps.mp4", "size": 1380359},
        {"id": 13137913, "quality": None, "file_type": "video/mp4", "width": 1080, "height": 1920, "fps": 25}
        | {"link": "https://videos.pexels.com/video-files/30706354/13137913_1080_1920_25fps.mp4", "size": 7328096},
    ],
}


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    with visiting(tmp_path, monkeypatch) as context:
        yield context


@pytest.fixture
def sites() -> Iterator[StockSites]:
    with StockSites(videos=5) as sites:
        yield sites


def answering(sites: StockSites, *videos: dict[str, Any], total: int | None = None, path: str = SEARCH) -> None:
    listed = {"media" if "collections" in path else "videos": videos, "total_results": total or len(videos)}
    sites.answers[path] = Answer(json.dumps(listed).encode())


def failure(source: Pexels, context: Context) -> ItemError:
    with pytest.raises(ItemError) as caught:
        list(source.find(context))
    assert KEYS["pexels"] not in str(caught.value)
    return caught.value


def test_a_video_of_2025(sites: StockSites, context: Context) -> None:
    answering(sites, VIDEO)
    assert list(Pexels(query="harbor", api=sites.url).find(context)) == [
        Found(
            "",
            "",
            url="https://videos.pexels.com/video-files/30706354/13137913_1080_1920_25fps.mp4",
            size_bytes=7328096,
            site="pexels",
            site_id="30706354",
            page_url="https://www.pexels.com/video/copenhagen-nyhavn-harbor-scenic-view-30706354/",
            author="Efrem Efre",
            author_url="https://www.pexels.com/@efrem-efre-2786187",
            title="Copenhagen nyhavn harbor scenic view",
            license="LicenseRef-pexels",
            license_url="https://www.pexels.com/license/",
        )
    ]
    [small] = Pexels(query="harbor", api=sites.url, rendition="max_width=720").find(context)
    assert small.size_bytes == 1380359


def test_pages_are_asked_for_when_needed_and_once(sites: StockSites, context: Context) -> None:
    source = Pexels(query="sea & sky", api=f"{sites.url}/", per_page=2, orientation="landscape")
    assert len(list(itertools.islice(source.find(context), 2))) == 2
    assert len(sites.asked(SEARCH)) == 1
    found = list(source.find(context))
    assert [row.url for row in found] == [sites.media_url("pexels", n, "large") for n in range(5)]
    assert found[0].title == "Sea and sky"
    start = f"{SEARCH}?query=sea+%26+sky&orientation=landscape&per_page=2&page="
    assert [path.replace("%20", "+") for path in sites.asked(SEARCH)] == [f"{start}{page}" for page in (1, 2, 3)]
    assert {request.headers["Authorization"] for request in sites.requests} == {KEYS["pexels"]}


def test_popular_and_collections(sites: StockSites, context: Context) -> None:
    assert len(list(Pexels(popular=True, api=sites.url).find(context))) == 5
    assert len(list(Pexels(collection="9mp14cx", api=sites.url).find(context))) == 5
    assert sites.asked() == [
        "/v1/videos/popular?per_page=80&page=1",
        "/v1/collections/9mp14cx?type=videos&per_page=80&page=1",
    ]
    photo = {"id": 1, "type": "Photo", "src": {}}
    answering(sites, photo, VIDEO | {"type": "Video"}, path="/v1/collections/mixed")
    assert [row.site_id for row in Pexels(collection="mixed", api=sites.url).find(context)] == ["30706354"]


def test_the_key_is_needed_and_never_told(
    sites: StockSites, context: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = Pexels(query="sea", api=sites.url)
    with caplog.at_level(logging.DEBUG):
        monkeypatch.setenv("PEXELS_API_KEY", "another-secret")
        error = failure(source, context)
        assert (error.kind, error.retryable) == ("http_401", False)
        assert "PEXELS_API_KEY" in error.message
        monkeypatch.setenv("PEXELS_API_KEY", " ")
        assert failure(source, context).kind == "no_key"
        assert "another-secret" not in str(error) + caplog.text
    with pytest.raises(ItemError, match="export PEXELS_API_KEY"):
        source.estimate(context)


def test_more_than_published_needs_permission() -> None:
    assert Pexels(requests_per_hour=10, requests_per_month=10).requests_per_hour == 10
    for setting in ("requests_per_hour", "requests_per_month"):
        with pytest.raises(ConfigError, match=rf"{setting} = 25,000 is more than .* permission"):
            Pexels(**{setting: 25_000})
        assert Pexels(**{setting: 25_000}, permission="Pexels support, 2026-05-01")
    windows = Pexels(query="sea", requests_per_hour=7)
    assert windows.requests_per_month == 20_000


def test_what_is_asked_is_one_thing(context: Context) -> None:
    assert failure(Pexels(), context).kind == "nothing_asked"
    with pytest.raises(ConfigError, match="exclude each other"):
        Pexels(query="sea", popular=True)
    with pytest.raises(ConfigError, match="narrow a query"):
        Pexels(popular=True, orientation="square")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda video: video.pop("video_files"), r"\$.videos\[1\].video_files"),
        (lambda video: video.update(video_files={}), r"\$.videos\[1\].video_files"),
        (lambda video: video["video_files"][0].pop("link"), r"\$.videos\[1\].video_files\[0\].link"),
        (lambda video: video["video_files"][0].update(width="360"), r"\$.videos\[1\].video_files\[0\].width"),
        (lambda video: video.update(id="x"), r"\$.videos\[1\].id"),
        (lambda video: video.pop("user"), r"\$.videos\[1\].user"),
        (lambda video: video.update(url=7), r"\$.videos\[1\].url"),
    ],
)
def test_a_field_that_changed_is_named(
    sites: StockSites, context: Context, change: Callable[[dict[str, Any]], Any], place: str
) -> None:
    changed = json.loads(json.dumps(VIDEO)) | {"id": 2}
    change(changed)
    answering(sites, VIDEO, changed)
    error = failure(Pexels(query="sea", api=sites.url), context)
    assert error.kind == "layout_changed"
    with pytest.raises(ItemError, match=rf"{sites.url}{SEARCH}\?\.\.\. has .* at {place} where"):
        raise error


@pytest.mark.parametrize("body", [b"<html>Just a moment...", b"", b"[" * 100_000, b"[]", b'{"videos": []}'])
def test_another_kind_of_answer(sites: StockSites, context: Context, body: bytes) -> None:
    sites.answers[SEARCH] = Answer(body)
    assert failure(Pexels(query="sea", api=sites.url), context).kind == "layout_changed"


def test_an_answer_that_was_no_json_is_not_kept(sites: StockSites, context: Context) -> None:
    source = Pexels(query="sea", api=sites.url)
    sites.answers[SEARCH] = Answer(b"<html>Just a moment...")
    assert failure(source, context).kind == "layout_changed"
    del sites.answers[SEARCH]
    assert len(list(source.find(context))) == 5
    assert len(list(source.find(context))) == 5
    assert len(sites.asked(SEARCH)) == 2


def test_a_listing_without_end(sites: StockSites, context: Context) -> None:
    answering(sites, VIDEO, total=1000)
    source = Pexels(query="sea", api=sites.url)
    error = failure(source, context)
    assert (error.kind, len(sites.asked(SEARCH))) == ("layout_changed", 2)
    assert "limit = 1" in error.message
    assert len(list(itertools.islice(source.find(context), 1))) == 1


def test_a_listing_that_ends_early(sites: StockSites, context: Context, caplog: pytest.LogCaptureFixture) -> None:
    answering(sites, VIDEO, total=3)
    sites.answers[f"{SEARCH}?query=sea&per_page=80&page=2"] = Answer(b'{"videos": [], "total_results": 3}')
    assert len(list(Pexels(query="sea", api=sites.url).find(context))) == 1
    assert "announces 3 videos and lists 1" in caplog.text


def test_the_next_page_is_never_where_an_answer_says(sites: StockSites, context: Context) -> None:
    with StockSites(videos=1) as other:
        answer = {"videos": [VIDEO], "total_results": 1, "next_page": f"{other.url}/v1/v1/videos/search"}
        sites.answers[SEARCH] = Answer(json.dumps(answer).encode())
        assert len(list(Pexels(query="sea", api=sites.url).find(context))) == 1
        assert not other.requests


def test_a_video_without_a_usable_file_is_listed_by_name(sites: StockSites, context: Context) -> None:
    playlist = {"link": "https://videos.pexels.com/1.m3u8", "width": None, "height": None}
    playlist |= {"quality": "hls", "file_type": "application/vnd.apple.mpegurl"}
    empty = {"link": "", "width": 640, "height": 360}
    old = {"link": "https://player.vimeo.com/external/1.hd.mp4?s=1", "width": 640, "height": 360, "fps": None}
    nobody = VIDEO | {"id": 3, "user": None, "url": "https://www.pexels.com/video/3/", "tags": None}
    answering(
        sites,
        VIDEO | {"id": 1, "video_files": []},
        VIDEO | {"id": 2, "video_files": [playlist, empty]},
        nobody | {"video_files": [playlist, old]},
    )
    found = list(Pexels(query="sea", api=sites.url).find(context))
    assert [(row.url, row.path, row.site_id) for row in found[:2]] == [("", "pexels 1", "1"), ("", "pexels 2", "2")]
    assert (found[2].url, found[2].size_bytes, found[2].author, found[2].title) == (old["link"], 0, "", "")


def test_an_estimate_costs_one_request(sites: StockSites, context: Context) -> None:
    source = Pexels(query="sea", api=sites.url, per_page=2, requests_per_hour=2)
    estimate = source.estimate(context)
    assert (estimate.videos, estimate.requests, estimate.exact, estimate.wait_s) == (5, 3, False, 3600.0)
    assert estimate.size_bytes == round(sum(len(sites.media_bytes("pexels", n, "large")) for n in range(2)) / 2 * 5)
    assert len(sites.asked(SEARCH)) == 1
    assert Pexels(query="sea", api=sites.url, limit=2, per_page=2).estimate(context).requests == 1
    assert Pexels(query="cat", api=sites.url).estimate(context).exact


@pytest.mark.parametrize(
    "url",
    [
        "https://www.pexels.com/video/seal-4-on-the-beach-1526909/",
        "https://pexels.com/de-de/video/1526909",
        "https://www.pexels.com/download/video/1526909/?fps=25.0&h=720&w=1280",
        "https://videos.pexels.com/video-files/1526909/1526909-hd_1280_720_24fps.mp4",
        "https://videos.pexels.com/video-files/1526909/13137910_360_640_25fps.mp4",
    ],
)
def test_addresses(url: str) -> None:
    assert site_of(url) == ("pexels", "1526909")


@pytest.mark.parametrize("path", ["photo/x-1526909/", "videos/", "@ann-1526909", "video/x/", "search/videos/1/"])
def test_other_addresses(path: str) -> None:
    assert site_of(f"https://www.pexels.com/{path}") == ("", "")
