"""Pixabay as it answers, its limits, and what it might answer one day."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from builder.errors import ConfigError, ItemError
from builder.records import Found
from builder.sources.pixabay import Pixabay
from builder.stage import Context
from builder.stages.find import site_of
from loopback import Answer
from stock_sites import KEYS, StockSites, visiting

API = "/api/videos/"
CDN = "https://cdn.pixabay.com/video/2019/10/09/27669-365224683"
HIT: dict[str, Any] = {  # of an answer, shortened
    "id": 27669,
    "pageURL": "https://pixabay.com/videos/id-27669/",
    "type": "animation",
    "tags": "particles, plexus,  live wallpaper",
    "videos": {
        "large": {"url": f"{CDN}_large.mp4", "width": 3840, "height": 2160, "size": 12954851},
        "medium": {"url": f"{CDN}_medium.mp4", "width": 2560, "height": 1440, "size": 6984827},
        "small": {"url": "", "width": 0, "height": 0, "size": 0},
        "tiny": {"url": f"{CDN}_tiny.mp4", "width": 1280, "height": 720, "size": 2911535},
    },
    "user_id": 13298494,
    "user": "motionstock",
}


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    with visiting(tmp_path, monkeypatch) as context:
        yield context


@pytest.fixture
def sites() -> Iterator[StockSites]:
    with StockSites(videos=7) as sites:
        yield sites


def answering(sites: StockSites, *hits: dict[str, Any], total: int | None = None) -> None:
    listed = {"total": total or len(hits), "totalHits": len(hits), "hits": hits}
    sites.answers[API] = Answer(json.dumps(listed).encode())


def failure(source: Pixabay, context: Context) -> ItemError:
    with pytest.raises(ItemError) as caught:
        list(source.find(context))
    assert KEYS["pixabay"] not in str(caught.value)
    return caught.value


def test_a_video(sites: StockSites, context: Context) -> None:
    answering(sites, HIT)
    assert list(Pixabay(query="network", api=sites.url).find(context)) == [
        Found(
            "",
            "",
            url=f"{CDN}_large.mp4",
            size_bytes=12954851,
            site="pixabay",
            site_id="27669",
            page_url="https://pixabay.com/videos/id-27669/",
            author="motionstock",
            author_url="https://pixabay.com/users/motionstock-13298494/",
            tags=("particles", "plexus", "live wallpaper"),
            license="LicenseRef-pixabay-content",
            license_url="https://pixabay.com/service/license-summary/",
        )
    ]
    [hd] = Pixabay(query="network", api=sites.url, rendition="max_height=1080").find(context)
    assert hd.url == f"{CDN}_tiny.mp4"


def test_all_settings_are_asked_for_and_answers_kept_for_a_day(sites: StockSites, context: Context) -> None:
    source = Pixabay(
        **{"query": "sea", "category": "nature", "video_type": "film", "order": "latest", "lang": "de"},
        **{"editors_choice": True, "safesearch": True, "min_width": 640, "min_height": 360, "per_page": 3},
        api=sites.url,
    )
    found = list(source.find(context))
    assert [row.url for row in found] == [sites.media_url("pixabay", n, "large") for n in range(7)]
    asked = "q=sea&category=nature&video_type=film&order=latest&editors_choice=true&safesearch=true&min_width=640"
    asked += "&min_height=360&lang=de&per_page=3"
    assert sites.asked(API) == [f"{API}?{asked}&page={n}&key={KEYS['pixabay']}" for n in (1, 2, 3)]
    assert list(source.find(context)) == found
    assert len(sites.asked(API)) == 3


def test_no_more_than_500_of_a_query_and_not_silently(context: Context, caplog: pytest.LogCaptureFixture) -> None:
    with StockSites(videos=520) as sites:
        source = Pixabay(query="sea", api=sites.url)
        assert len({row.site_id for row in source.find(context)}) == 500
        assert len(sites.asked(API)) == 3
        said = "Pixabay has 520 videos for query 'sea' and lists 500"
        assert caplog.text.count(said) == 1
        estimate = source.estimate(context)
        assert (estimate.videos, estimate.requests) == (500, 3)
        assert any(said in note for note in estimate.notes)
        assert not any(said in note for note in Pixabay(query="sea", api=sites.url, limit=9).estimate(context).notes)


def test_the_key_is_needed_and_never_told(
    sites: StockSites, context: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = Pixabay(query="sea", api=sites.url)
    with caplog.at_level(logging.DEBUG):
        monkeypatch.setenv("PIXABAY_API_KEY", "another-secret")
        error = failure(source, context)
        assert (error.kind, error.retryable) == ("http_400", False)
        assert "PIXABAY_API_KEY" in error.message and "Invalid or missing API key" in error.message
        monkeypatch.delenv("PIXABAY_API_KEY")
        assert failure(source, context).kind == "no_key"
        assert "another-secret" not in str(error) + caplog.text


def test_more_than_published_needs_permission_and_the_ban_is_told(sites: StockSites, context: Context) -> None:
    ban = "does not allow systematic mass downloads"
    assert Pixabay(requests_per_minute=10).requests_per_minute == 10
    with pytest.raises(ConfigError, match=rf"requests_per_minute = 101 is more than .*{ban}.*permission"):
        Pixabay(requests_per_minute=101)
    allowed = Pixabay(requests_per_minute=101, permission="Pixabay, 2026-05-01", api=sites.url)
    notes = " ".join(allowed.estimate(context).notes)
    assert ban in notes and "Pixabay, 2026-05-01" in notes
    assert "forbids systematic mass" in (Pixabay.__doc__ or "")


@pytest.mark.parametrize(
    "values", [{"category": "cats"}, {"query": "x" * 101}, {"order": "best"}, {"per_page": 201}, {"rendition": "hd"}]
)
def test_settings_that_the_api_does_not_take(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        Pixabay(**values)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda hit: hit.pop("videos"), r"\$.hits\[1\].videos"),
        (lambda hit: hit.update(videos=[]), r"\$.hits\[1\].videos"),
        (lambda hit: hit.update(videos={"huge": {}}), r"\$.hits\[1\].videos"),
        (lambda hit: hit["videos"]["tiny"].pop("url"), r"\$.hits\[1\].videos.tiny.url"),
        (lambda hit: hit.update(tags=["a"]), r"\$.hits\[1\].tags"),
        (lambda hit: hit.pop("pageURL"), r"\$.hits\[1\].pageURL"),
    ],
)
def test_a_field_that_changed_is_named(
    sites: StockSites, context: Context, change: Callable[[dict[str, Any]], Any], place: str
) -> None:
    changed = json.loads(json.dumps(HIT)) | {"id": 2}
    change(changed)
    answering(sites, HIT, changed)
    error = failure(Pixabay(query="sea", api=sites.url), context)
    assert error.kind == "layout_changed"
    with pytest.raises(ItemError, match=rf"{sites.url}{API}\?\.\.\. has .* at {place} where"):
        raise error


@pytest.mark.parametrize("body", [b'{"total": 3, "totalHits": 3, "hits": []}', b'{"totalHits": 0}', b"[ERROR 200]"])
def test_another_kind_of_answer(sites: StockSites, context: Context, body: bytes) -> None:
    sites.answers[API] = Answer(body)
    assert failure(Pixabay(query="sea", api=sites.url), context).kind == "layout_changed"


def test_a_video_without_a_file_is_listed_by_name(sites: StockSites, context: Context) -> None:
    answering(
        sites, HIT | {"videos": {"large": HIT["videos"]["small"]}, "pageURL": "https://pixabay.com/videos/a-b-27669/"}
    )
    [row] = Pixabay(query="sea", api=sites.url).find(context)
    assert (row.url, row.path, row.title) == ("", "pixabay 27669", "A b")


def test_nothing_found_is_an_answer(sites: StockSites, context: Context) -> None:
    answering(sites)
    assert not list(Pixabay(query="qqqq", api=sites.url).find(context))


@pytest.mark.parametrize(
    "url",
    [
        "https://pixabay.com/videos/id-27669/",
        "https://pixabay.com/de/videos/plexus-2-network-27669/?x=1",
        f"{CDN}_large.mp4",
        "https://cdn.pixabay.com/video/2024/06/06/27669_tiny.mp4",
    ],
)
def test_addresses(url: str) -> None:
    assert site_of(url) == ("pixabay", "27669")


@pytest.mark.parametrize(
    "url", ["https://pixabay.com/photos/a-27669/", "https://pixabay.com/videos/search/1/", f"{CDN}_large.jpg"]
)
def test_other_addresses(url: str) -> None:
    assert site_of(url) == ("", "")
