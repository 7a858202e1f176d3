"""Mixkit's pages as they are, as they were, and as they might become."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from builder.errors import ItemError
from builder.records import Found
from builder.sources.mixkit import Mixkit
from builder.stage import Context
from builder.stages.find import site_of
from loopback import Answer
from stock_sites import StockSites, visiting

NATURE, ITEM = "/free-stock-video/nature/", "/free-stock-video/rain-on-a-roof-7/"
FILE = "https://assets.mixkit.co/videos/7/7-720.mp4"
VIDEO: dict[str, Any] = {"@type": "VideoObject", "contentUrl": FILE}
OTHER = VIDEO | {
    "@id": "https://mixkit.co/free-stock-video/snow-8/#video",
    "contentUrl": "https://assets.mixkit.co/8.mp4",
}
FREE, RESTRICTED = "https://mixkit.co/license/#videoFree", "https://mixkit.co/license/#videoRestricted"


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    with visiting(tmp_path, monkeypatch) as context:
        yield context


@pytest.fixture
def sites() -> Iterator[StockSites]:
    with StockSites(videos=30, restricted=frozenset([1]), broken=frozenset([2])) as sites:
        yield sites


def ld(*data: object) -> str:
    return "".join(f'<script type="application/ld+json">{json.dumps(part)}</script>' for part in data)


def of_page(sites: StockSites, context: Context, html: str, **values: Any) -> Found:
    sites.answers[ITEM] = Answer(html.encode(), headers={"Content-Type": "text/html"})
    [row] = Mixkit(items=("rain-on-a-roof-7",), address=sites.url, **values).find(context)
    return row


def failure(source: Mixkit, context: Context) -> ItemError:
    with pytest.raises(ItemError) as caught:
        list(source.find(context))
    return caught.value


def test_a_category(sites: StockSites, context: Context) -> None:
    source = Mixkit(categories=("nature", "sky"), address=f"{sites.url}/")
    found = list(source.find(context))
    assert [row.site_id for row in found] == [str(3_000_001 + n) for n in range(30)]
    assert found[0] == Found(
        "",
        "",
        url=sites.media_url("mixkit", 0, "medium"),
        site="mixkit",
        site_id="3000001",
        page_url=f"{sites.url}{sites.item_path(0)}",
        author="cleo",
        author_url=f"{sites.url}/@cleo/",
        title="Video 0: sea-and-sky",
        tags=("sea", "blue sky"),
        license="LicenseRef-mixkit-free",
        license_url=FREE,
    )
    assert (found[1].license, found[1].license_url) == ("LicenseRef-mixkit-restricted", RESTRICTED)
    assert found[2].url == ""
    assert found[2].path.startswith("mixkit snow-and-sky-3000003: layout changed at ")
    assert sites.asked(NATURE) == [NATURE, f"{NATURE}?page=2"]
    before = len(sites.requests)
    assert list(source.find(context)) == found
    assert len(sites.requests) == before


def test_pages_are_asked_for_when_needed(sites: StockSites, context: Context) -> None:
    assert len(list(itertools.islice(Mixkit(categories=("nature",), address=sites.url).find(context), 2))) == 2
    assert sites.asked("/free-stock-video/") == [NATURE, sites.item_path(0), sites.item_path(1)]


def test_larger_files_are_those_that_the_page_offers(sites: StockSites, context: Context) -> None:
    items = (sites.item_path(0).strip("/").rpartition("/")[2], f"https://mixkit.co{sites.item_path(1)}?x=1")
    for rendition, size in (("largest", "large"), ("max_short_side=50", "medium")):
        found = list(Mixkit(items=items, address=sites.url, rendition=rendition).find(context))
        assert [row.url for row in found] == [sites.media_url("mixkit", n, size) for n in (0, 1)]
    assert of_page(sites, context, ld(VIDEO), rendition="largest").url == FILE


@pytest.mark.parametrize(
    "html",
    [
        ld(VIDEO),
        ld([OTHER, {"@graph": [{"@type": "WebPage"}, VIDEO | {"@type": ["Thing", "VideoObject"]}]}]),
        ld({"@graph": [OTHER, VIDEO | {"@id": f"https://mixkit.co{ITEM}#video"}]}),
        ld({"@type": "WebPage", "mainEntity": {"video": [VIDEO]}}),
        '<script type="application/ld+json">{broken</script>' + ld({"@type": "WebPage"}, VIDEO),
        f'<video src="{FILE}"></video><video src="/videos/8/8-360.mp4"></video>' + ld(OTHER),
        f'<video poster="x.jpg"><source type="video/mp4" src="{FILE}"></video>',
        f'<video data-src="{FILE}"></video>',
        f'<div data-video-url="{FILE}" data-src="/poster.jpg"></div>',
        f'<meta property="og:image" content="x.jpg"><meta property="og:video" content="{FILE}">',
        f'<meta property="og:video" content="a.mp4">{ld(VIDEO)}<video src="7.mp4"></video>',
    ],
)
def test_the_file_is_found_in_structured_data_then_in_the_player_then_in_the_card(
    sites: StockSites, context: Context, html: str
) -> None:
    row = of_page(sites, context, html)
    assert (row.url, row.title, row.license) == (FILE, "rain on a roof", "unknown")


@pytest.mark.parametrize(
    "html",
    [
        "",
        "<p>Just a moment...",
        ld(OTHER),
        ld(OTHER, VIDEO | {"contentUrl": None}),
        ld({"@type": "ImageObject", "contentUrl": FILE}),
        '<video src="/8.mp4"></video><video src="/9.mp4"></video>',
        '<img data-src="/7.jpg"><meta property="og:video" content="">',
    ],
)
def test_a_page_without_a_file_of_its_own_fails_by_name(sites: StockSites, context: Context, html: str) -> None:
    row = of_page(sites, context, html)
    said = f"mixkit rain-on-a-roof-7: layout changed at {sites.url}{ITEM}: no JSON-LD, <video> or og:video"
    assert (row.url, row.site_id) == ("", "7") and row.path.startswith(said)


@pytest.mark.parametrize(
    ("notice", "html", "license"),
    [
        ("", f'<a href="{RESTRICTED}" data-license="videoRestricted">L</a>', "LicenseRef-mixkit-restricted"),
        ("Mixkit Restricted License", "", "LicenseRef-mixkit-restricted"),
        ("Free", f'<a href="{RESTRICTED}">L</a><a href="{FREE}">L</a>', "LicenseRef-mixkit-restricted"),
        (
            "",
            f'<a data-license="videoFree">L</a><footer><a href="{RESTRICTED}">L</a></footer>',
            "LicenseRef-mixkit-free",
        ),
        ("Free", '<a href="/license/">Licenses</a>', "LicenseRef-mixkit-free"),
        ("", '<a href="/license/">Licenses</a>', "unknown"),
    ],
)
def test_the_licence_is_what_the_page_links_to(
    sites: StockSites, context: Context, notice: str, html: str, license: str
) -> None:
    """The address in JSON-LD is that of the free one on all pages."""
    row = of_page(sites, context, ld(VIDEO | {"license": FREE, "copyrightNotice": notice}) + html)
    assert (row.license, bool(row.license_url)) == (license, license != "unknown")


def test_a_licence_of_the_settings_stands_in(sites: StockSites, context: Context) -> None:
    assert of_page(sites, context, ld(VIDEO), license="LicenseRef-mine").license == "LicenseRef-mine"


@pytest.mark.parametrize(
    ("data", "html", "author"),
    [
        ({"author": {"name": "Zoë  Z", "url": "https://z.example/"}}, "", ("Zoë Z", "https://z.example/")),
        ({"creator": [{"name": "Ann"}]}, '<a href="/@bo/">Bo</a>', ("Ann", "")),
        ({"author": "Ann"}, "", ("Ann", "")),
        ({}, '<a href="https://mixkit.co/@ruben/">Ruben V</a>', ("Ruben V", "https://mixkit.co/@ruben/")),
        ({"author": 7}, "<a href='mailto:a@b'>x</a>", ("", "")),
    ],
)
def test_authors(sites: StockSites, context: Context, data: dict[str, Any], html: str, author: tuple[str, str]) -> None:
    row = of_page(sites, context, ld(VIDEO | data) + html)
    assert (row.author, row.author_url) == author


def test_titles_and_tags(sites: StockSites, context: Context) -> None:
    told = VIDEO | {"name": "Rain &  roof", "keywords": ["rain", "rain", 7, " wet roof "]}
    row = of_page(sites, context, ld(told))
    assert (row.title, row.tags) == ("Rain & roof", ("rain", "wet roof"))


def test_tags_by_their_class(sites: StockSites, context: Context) -> None:
    row = of_page(sites, context, ld(VIDEO) + '<h1> On  it </h1><a class="meta-links__link">Rain</a>')
    assert (row.title, row.tags) == ("On it", ("Rain",))


def test_when_the_first_five_pages_fail_the_site_has_changed(context: Context) -> None:
    with StockSites(videos=9, broken=frozenset(range(9))) as sites:
        error = failure(Mixkit(categories=("nature",), address=sites.url), context)
        assert error.kind == "layout_changed" and "first 5 item pages" in error.message
        assert len(sites.asked("/free-stock-video/")) == 6
    with StockSites(videos=9, broken=frozenset(range(4))) as sites:
        rows = list(Mixkit(categories=("nature",), address=sites.url).find(context))
        assert [bool(row.url) for row in rows] == [False] * 4 + [True] * 5


def test_an_item_that_is_gone_fails_by_name_and_a_site_that_is_down_as_a_whole(
    sites: StockSites, context: Context
) -> None:
    source = Mixkit(items=("gone-1", "sea-and-sky-3000001"), address=sites.url)
    gone, there = source.find(context)
    assert gone.path.startswith("mixkit gone-1: ") and "404" in gone.path and there.url
    sites.answers["/free-stock-video/down-2/"] = Answer(b"", 503)
    error = failure(Mixkit(items=("down-2",), address=sites.url), context)
    assert (error.kind, error.retryable) == ("http_503", True)


def test_a_category_that_is_none(sites: StockSites, context: Context) -> None:
    sites.answers[NATURE] = Answer(b'<a href="/free-stock-video/sky/">Sky</a><a href="/free-stock-music/x-1/">x</a>')
    error = failure(Mixkit(categories=("nature",), address=sites.url), context)
    assert error.kind == "layout_changed" and f"layout changed at {sites.url}{NATURE}" in error.message
    assert failure(Mixkit(address=sites.url), context).kind == "nothing_asked"


def card(n: int) -> bytes:
    return f'<a href="/free-stock-video/sea-and-sky-{3_000_001 + n}/">x</a>'.encode()


@pytest.mark.parametrize("past_the_end", [Answer(b"", 404), Answer(b"<p>nothing"), Answer(card(0) + card(7))])
def test_the_last_page_of_a_category_without_page_numbers(
    sites: StockSites, context: Context, past_the_end: Answer
) -> None:
    sites.answers |= {NATURE: Answer(card(0)), f"{NATURE}?page=2": Answer(card(7)), f"{NATURE}?page=3": past_the_end}
    rows = list(Mixkit(categories=("nature",), address=sites.url).find(context))
    assert [row.site_id for row in rows] == ["3000001", "3000008"]
    assert sites.asked(NATURE)[-1] == f"{NATURE}?page=3"


def test_an_empty_page_in_the_middle_is_no_end(sites: StockSites, context: Context) -> None:
    sites.answers[NATURE] = Answer(card(0) + b'<a href="?page=2">2</a><a href="?page=3">3</a>')
    sites.answers[f"{NATURE}?page=2"] = Answer(b"<p>nothing")
    error = failure(Mixkit(categories=("nature",), address=sites.url), context)
    assert error.kind == "layout_changed" and "page=2" in error.message


def test_an_estimate_costs_one_request(sites: StockSites, context: Context) -> None:
    estimate = Mixkit(categories=("nature", "sky"), items=("a-1",), address=sites.url).estimate(context)
    assert (estimate.videos, estimate.exact) == (24 * 2 * 2 + 1, False)
    assert "'nature'" in estimate.notes[0]
    assert sites.asked("/free-stock-video/") == [NATURE]
    items = Mixkit(items=("a-1", "b-2"), rendition="largest").estimate(context)
    assert (items.videos, items.requests, items.exact) == (2, 4, True)


@pytest.mark.parametrize(
    "values",
    [
        {"items": ("nature",)},
        {"items": ("https://mixkit.co/free-stock-video/",)},
        {"categories": ("../x",)},
        {"categories": ("a?page=2",)},
        {"rendition": "max_height=1080"},
        {"rendition": "best"},
    ],
)
def test_settings_that_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Mixkit(**values)


@pytest.mark.parametrize(
    "url",
    [
        "https://mixkit.co/free-stock-video/route-66-at-night-4020/",
        "https://assets.mixkit.co/videos/4020/4020-720.mp4",
        "https://assets.mixkit.co/active_storage/video_items/4020/1725385175/4020-video-720.mp4",
        "https://assets.mixkit.co/videos/preview/mixkit-route-66-at-night-4020-large.mp4",
        "https://assets.mixkit.co/videos/preview/mixkit-route-66-at-night-4020.mp4",
    ],
)
def test_addresses(url: str) -> None:
    assert site_of(url) == ("mixkit", "4020")


@pytest.mark.parametrize(
    "url", ["https://mixkit.co/free-stock-video/sky/", "https://assets.mixkit.co/videos/4020/4020-thumb-720-0.jpg"]
)
def test_other_addresses(url: str) -> None:
    assert site_of(url) == ("", "")
