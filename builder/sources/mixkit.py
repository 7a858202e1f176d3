"""Mixkit: stock videos under two licences of its own, listed from its web pages, for there is no API.

Structured data (JSON-LD) is read first, then the player, then the card for social networks; what none of them holds
is looked for by names of CSS classes. The shapes are those of 2023 to 2026.
"""

import itertools
import json
import logging
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from urllib.parse import urljoin, urlsplit

from pydantic import AfterValidator, Field
from selectolax.lexbor import LexborHTMLParser

from builder.errors import ItemError
from builder.records import Found
from builder.renditions import Rendition, choose, parse
from builder.stage import Context, settings
from builder.stages.find import Estimate, Source

if TYPE_CHECKING:
    from builder.web.client import Client, Page

LOG = logging.getLogger(__name__)
KEEP_S = 86_400.0  # pages, so that a listing that was interrupted goes on without asking twice
FIRST = 5  # item pages: when all of them fail, it is the site that has changed
GONE = ("layout_changed", "http_404", "http_410")  # what is wrong with one item; else the listing as a whole fails
ITEM = re.compile(r"/free-stock-video/(?P<slug>[^/?#]*-(?P<id>\d+))/?(?=[?#]|$)")
PAGE, QUALITY = re.compile(r"[?&]page=(\d+)"), re.compile(r"[?&]type=(\d+)p\b")
FILE = re.compile(r"\.(mp4|webm|mov)$", re.I)
LICENSES = {  # id, address; stricter first
    "restricted": ("LicenseRef-mixkit-restricted", "https://mixkit.co/license/#videoRestricted"),
    "free": ("LicenseRef-mixkit-free", "https://mixkit.co/license/#videoFree"),
}


def item_slug(text: str) -> str:
    """`snow-123` of itself or of the address of its page."""
    if found := ITEM.search(text if "/" in text else f"/free-stock-video/{text}"):
        return found["slug"]
    raise ValueError(f"{text!r} is no Mixkit video; write the address of its page, or its end, as snow-on-a-roof-123")


def offered(policy: str) -> str:
    if policy != "page" and parse(policy)[0] not in ("largest", "smallest", "max_short_side"):
        raise ValueError("Mixkit tells the short side only: page, largest, smallest or max_short_side=PIXELS")
    return policy


@settings
class Mixkit(Source):
    """Videos of `categories` (`nature`, `discover/red-car`: as in addresses of the site), and `items`: pages or slugs.

    `rendition = "page"` takes the file that the page itself plays, in general 720p. `largest`, `smallest` and
    `max_short_side=1080` choose among the downloads that the page offers, at one more request a video.

    Many videos are under the Restricted License: for personal use only, not for what is published. Each row holds what
    its page links to, so `license` can be a condition. `address` is for mirrors and tests.
    """

    plugin: ClassVar[str] = "mixkit"
    site: ClassVar[str] = "mixkit"
    addresses: ClassVar[tuple[str, ...]] = (
        r"https?://(www\.)?mixkit\.co/free-stock-video/[^/?]*-(?P<id>\d+)/?(\?.*)?",
        r"https?://assets\.mixkit\.co/videos/(?P<id>\d+)/[^/?]+\.mp4(\?.*)?",
        r"https?://assets\.mixkit\.co/active_storage/video_items/(?P<id>\d+)/[^?]+\.mp4(\?.*)?",
        r"https?://(assets|cdn)\.mixkit\.co/videos/preview/mixkit-[^/?]*-(?P<id>\d+)(-[a-z]+)?\.(mp4|webm)(\?.*)?",
    )

    categories: tuple[Annotated[str, Field(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)*$")], ...] = ()
    items: tuple[Annotated[str, AfterValidator(item_slug)], ...] = ()
    rendition: Annotated[str, AfterValidator(offered)] = "page"
    address: str = "https://mixkit.co"

    def find(self, context: Context) -> Iterator[Found]:
        failed: list[Found] | None = []  # until one succeeds
        for slug in self._slugs(context.client):
            row = self._row(context.client, slug)
            if failed is None:
                yield row
                continue
            failed.append(row)
            if row.url:
                yield from failed
                failed = None
            elif len(failed) == FIRST:
                text = f"the first {FIRST} item pages of {self.address} cannot be used, as {failed[0].path}"
                raise ItemError("layout_changed", text)
        yield from failed or []

    def estimate(self, context: Context) -> Estimate:
        each = 1 if self.rendition == "page" else 2
        if not self.categories:
            videos = min(len(self.items), self.limit or len(self.items))
            return Estimate(videos, requests=each * videos)
        slugs, last = self._category_page(context.client, self.categories[0], 1)
        videos = len(self.items) + len(slugs) * max(1, last) * len(self.categories)
        videos = min(videos, self.limit) if self.limit else videos
        note = f"guessed from the first page of {self.categories[0]!r}: {len(slugs)} videos, {last or 1} pages"
        return Estimate(videos, math.ceil(videos / len(slugs)) + each * videos, exact=False, notes=(note,))

    def sought(self) -> str:
        return f"videos of {', '.join(self.categories + self.items)} at {self.address}"

    def _slugs(self, client: "Client") -> Iterator[str]:
        if not self.categories and not self.items:
            raise ItemError("nothing_asked", 'a source of kind mixkit needs categories = ["nature"] or items = [...]')
        seen: set[str] = set()
        for slug in itertools.chain(self.items, *(self._category(client, name) for name in self.categories)):
            if slug not in seen:
                seen.add(slug)
                yield slug

    def _category(self, client: "Client", name: str) -> Iterator[str]:
        """Slugs from all pages. Past the last one there is a 404, nothing, or the last one again."""
        seen: set[str] = set()
        announced = 0
        for number in itertools.count(1):
            try:
                slugs, last = self._category_page(client, name, number)
            except ItemError as error:
                if number == 1 or error.kind not in GONE or number <= announced:
                    raise
                return
            announced = max(announced, last)
            yield from slugs
            if seen.issuperset(slugs) or number == announced:
                return
            seen.update(slugs)

    def _category_page(self, client: "Client", name: str, number: int) -> tuple[list[str], int]:
        """The slugs of one page, and the highest number of a page that it links to (0: none)."""
        url = f"{self._root()}/free-stock-video/{name}/"
        page = client.get(url, keep_s=KEEP_S, params={"page": str(number)} if number > 1 else {})
        tree = LexborHTMLParser(page.text)
        links = [node.attributes.get("href") or "" for node in tree.css("a[href]")]
        cards = [node.attributes.get("href") or "" for node in tree.css('[class*="item-grid"] a[href]')]
        found = list(map(ITEM.search, map(urljoin, itertools.repeat(url), cards or links)))
        if not (slugs := list(dict.fromkeys(match["slug"] for match in found if match))):
            text = f"layout changed at {page.url}: it links to no video; is {name!r} a category? Else report this"
            raise ItemError("layout_changed", text)
        return slugs, max((int(match[1]) for match in map(PAGE.search, links) if match), default=0)

    def _row(self, client: "Client", slug: str) -> Found:
        try:
            return self._found(client, slug)
        except ItemError as error:
            if error.kind not in GONE:
                raise
            return Found(
                "", "", path=f"mixkit {slug}: {error.message}", site=self.site, site_id=slug.rpartition("-")[2]
            )

    def _found(self, client: "Client", slug: str) -> Found:
        page_url = f"{self._root()}/free-stock-video/{slug}/"
        page = client.get(page_url, keep_s=KEEP_S)
        tree = LexborHTMLParser(page.text)
        told = structured(tree, slug)
        author, author_url = author_of(tree, told)
        license, license_url = license_of(tree, told)
        return Found(
            "",
            "",
            url=self._download(client, tree, page) or media_of(tree, told, page, slug),
            site=self.site,
            site_id=slug.rpartition("-")[2],
            page_url=page_url,
            author=author,
            author_url=author_url and urljoin(page_url, author_url),
            title=words(told.get("name")) or text_of(tree, "h1") or slug.rpartition("-")[0].replace("-", " "),
            tags=tags_of(tree, told),
            license=license or self.license or "unknown",
            license_url=license_url,
        )

    def _root(self) -> str:
        return self.address.rstrip("/")

    def _download(self, client: "Client", tree: LexborHTMLParser, page: "Page") -> str:
        """The file of the download that `rendition` chooses; "" if that is the page's own or there is none."""
        if self.rendition == "page":
            return ""
        files = []
        for node in tree.css('[value*="/free-stock-video/download/"], a[href*="/free-stock-video/download/"]'):
            url = urljoin(page.url, node.attributes.get("value") or node.attributes.get("href") or "")
            if (side := QUALITY.search(url)) and urlsplit(url)[:2] == urlsplit(page.url)[:2]:
                files.append(Rendition(url, int(side[1]), int(side[1])))
        if (file := choose(self.rendition, files)) is None:
            LOG.warning("%s offers no download to choose from: the file that it plays is taken", page.url)
            return ""
        answer = client.get(file.url, keep_s=KEEP_S)
        for modal in LexborHTMLParser(answer.text).css("[data-download--modal-url-value]"):
            if place := modal.attributes.get("data-download--modal-url-value"):
                return urljoin(answer.url, place)
        text = f'layout changed at {answer.url}: it names no file; report this, or set rendition = "page"'
        raise ItemError("layout_changed", text)


def structured(tree: LexborHTMLParser, slug: str) -> dict[str, Any]:
    """The VideoObject of this video: a page describes others, too. {} if there is none."""
    found = list(video_objects(tree))
    named = [{m["slug"] for m in map(ITEM.search, (words(v.get("@id")), words(v.get("url")))) if m} for v in found]
    own = [video for video, slugs in zip(found, named, strict=True) if slug in slugs]
    nameless = [video for video, slugs in zip(found, named, strict=True) if not slugs]
    return own[0] if own else nameless[0] if len(nameless) == 1 else {}


def video_objects(tree: LexborHTMLParser) -> Iterator[dict[str, Any]]:
    """All of them, however deep in lists and graphs, in order."""
    for script in tree.css('script[type="application/ld+json"]'):
        try:
            rest = [json.loads(script.text())]
        except (ValueError, RecursionError):
            continue
        while rest:
            part = rest.pop()
            if isinstance(part, dict):
                kind = part.get("@type")
                if "VideoObject" in (kind if isinstance(kind, list) else [kind]):
                    yield part
                part = list(part.values())
            rest += reversed(part) if isinstance(part, list) else []


def media_of(tree: LexborHTMLParser, told: dict[str, Any], page: "Page", slug: str) -> str:
    """The address of the file that a page names.

    Raises:
        ItemError: `layout_changed`, it names none, or several of which none is known to be its own.
    """
    if url := words(told.get("contentUrl")):
        return urljoin(page.url, url)
    players = [
        urljoin(page.url, value)
        for node in tree.css("video, video source, [data-src], [data-video-src], [data-video-url]")
        for name, value in node.attributes.items()
        if value and (FILE.search(urlsplit(value).path) or (name == "src" and node.tag in ("video", "source")))
    ]
    own = [url for url in players if slug.rpartition("-")[2] in re.findall(r"\d+", url)]
    if url := (own[0] if own else players[0] if len(set(players)) == 1 else ""):
        return url
    for name in ("og:video:secure_url", "og:video:url", "og:video"):
        node = tree.css_first(f'meta[property="{name}"]')
        if node is not None and (url := words(node.attributes.get("content"))):
            return urljoin(page.url, url)
    text = f"layout changed at {page.url}: no JSON-LD, <video> or og:video names the file of this video"
    raise ItemError("layout_changed", f"{text}; update osd-build, or report this")


def license_of(tree: LexborHTMLParser, told: dict[str, Any]) -> tuple[str, str]:
    """What the page links to: its JSON-LD has been seen to name the free licence on restricted pages, too (2026)."""
    said = [node.attributes.get("data-license") for node in tree.css("[data-license]")]
    said = said or [node.attributes.get("href") for node in tree.css('a[href*="/license/"]')]
    notice = f"video{words(told.get('copyrightNotice'))}"  # "Free" or "Mixkit Restricted License"
    text = " ".join(filter(None, [*said, notice])).lower()
    found = "restricted" if "restricted" in text else "free" if "videofree" in text else ""
    return LICENSES.get(found, ("", ""))


def author_of(tree: LexborHTMLParser, told: dict[str, Any]) -> tuple[str, str]:
    """Name and page; the name is the one in the page's address where the link says nothing better."""
    for given in (told.get("author"), told.get("creator")):
        first = given[0] if isinstance(given, list) and given else given
        if isinstance(first, dict) and words(first.get("name")):
            return words(first.get("name")), words(first.get("url"))
        if words(first):
            return words(first), ""
    for node in tree.css("a[href]"):
        href = node.attributes.get("href") or ""
        if handle := re.search(r"/@([^/?#]+)/?$", href):
            name = words(node.text())
            return (handle[1] if not name or "profile" in name.lower() else name), href
    return "", ""


def tags_of(tree: LexborHTMLParser, told: dict[str, Any]) -> tuple[str, ...]:
    given = told.get("keywords")
    listed = given if isinstance(given, list) else words(given).split(",")
    tags = [words(tag) for tag in listed] if given else [words(n.text()) for n in tree.css(".meta-links__link")]
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def text_of(tree: LexborHTMLParser, selector: str) -> str:
    node = tree.css_first(selector)
    return words(node.text()) if node is not None else ""


def words(value: object) -> str:
    """Text without spaces that mean nothing; "" if it is no text."""
    return " ".join(value.encode("utf-8", "replace").decode().split()) if isinstance(value, str) else ""
