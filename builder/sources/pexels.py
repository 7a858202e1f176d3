"""Pexels: stock videos under the Pexels License, listed through its API."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field

from builder.errors import ConfigError, ItemError
from builder.records import Found
from builder.renditions import Policy, Rendition, choose
from builder.stage import Context, execution, settings
from builder.stages.find import Estimate, Source
from builder.stock_api import Listing, Value, ask, entries, extrapolated, key_from, title_of, within_limit
from builder.web.access import Access, Window

KEY, KEYS = "PEXELS_API_KEY", "https://www.pexels.com/api/"
PER_HOUR, PER_MONTH = 200, 20_000  # published at https://www.pexels.com/api/documentation/, as are the paths (2026)
HOUR_S, MONTH_S = 3600.0, 31 * 86_400.0
PER_PAGE = 80
LICENSE, LICENSE_URL = "LicenseRef-pexels", "https://www.pexels.com/license/"
RULE = "Pexels raises it on request, and ends the access of who works around it."
REFUSED = f"is the key in {KEY} right? It is shown at {KEYS}"
HINTS = {"http_401": REFUSED, "http_403": REFUSED, "http_404": "is there such a collection, and is `api` right?"}


@settings
class Pexels(Source):
    """Videos that answer a `query`, those of a `collection` (its id), or what is `popular`: one of the three.

    `orientation`, `size` (at least 4K, Full HD or HD) and `locale` (`de-DE`) narrow a query. Of each video the file is
    taken that `rendition` says: see `builder/renditions.py`. The key is read from PEXELS_API_KEY and from nowhere else.

    Pexels allows a key 200 requests an hour and 20,000 a month (80 videos each). `requests_per_hour` and
    `requests_per_month` may be lower; for higher ones, agreed with Pexels, `permission` says who allowed it, and when.
    Pexels asks to be linked to and its authors to be credited: each row holds both. `api` is for mirrors and tests.
    """

    plugin: ClassVar[str] = "pexels"
    site: ClassVar[str] = "pexels"
    addresses: ClassVar[tuple[str, ...]] = (
        r"https?://(www\.)?pexels\.com/([a-z]{2}-[a-z]{2}/)?video/([^/?]*-)?(?P<id>\d+)/?(\?.*)?",
        r"https?://(www\.)?pexels\.com/download/video/(?P<id>\d+)/?(\?.*)?",
        r"https?://videos\.pexels\.com/video-files/(?P<id>\d+)/[^/?]+\.mp4(\?.*)?",
    )

    query: str = ""
    collection: str = ""
    popular: bool = False
    orientation: Literal["", "landscape", "portrait", "square"] = ""
    size: Literal["", "large", "medium", "small"] = ""
    locale: Annotated[str, Field(pattern=r"^([a-z]{2}-[A-Z]{2})?$")] = ""
    rendition: Policy = "largest"
    per_page: Annotated[int, Field(ge=1, le=PER_PAGE)] = execution(default=PER_PAGE)
    requests_per_hour: Annotated[int, Field(ge=1)] = execution(default=PER_HOUR)
    requests_per_month: Annotated[int, Field(ge=1)] = execution(default=PER_MONTH)
    permission: str = execution(default="")
    api: str = "https://api.pexels.com"

    def __post_init__(self) -> None:
        if bool(self.query) + bool(self.collection) + self.popular > 1:
            raise ConfigError("query, collection and popular exclude each other; add a [[source]] for each")
        if not self.query and (self.orientation or self.size or self.locale):
            raise ConfigError("orientation, size and locale narrow a query; there is none")
        within_limit("requests_per_hour", self.requests_per_hour, PER_HOUR, self.permission, RULE)
        within_limit("requests_per_month", self.requests_per_month, PER_MONTH, self.permission, RULE)

    def find(self, context: Context) -> Iterator[Found]:
        for video in entries(partial(self._page, context, self._access())):
            if self._is_video(video):
                yield self._found(video)

    def estimate(self, context: Context) -> Estimate:
        access = self._access()
        first = self._page(context, access, 1)
        rows = [self._found(video) for video in first.entries if self._is_video(video)]
        estimate = extrapolated(rows, first.total, self.limit, access.windows)
        notes = [f"Pexels is asked faster than published: {self.permission}"] if self.permission else []
        return replace(estimate, notes=tuple(notes))

    def sought(self) -> str:
        return f"videos of {self._listing()[0]} at {self.api}"

    def _access(self) -> Access:
        hour, month = Window(self.requests_per_hour, HOUR_S), Window(self.requests_per_month, MONTH_S)
        return Access("pexels", key_from(KEY, KEYS), header="Authorization", windows=(hour, month))

    def _listing(self) -> tuple[str, dict[str, str], str]:
        """The path below `api`, the parameters, and the field of the answer that holds the videos."""
        if self.query:
            given = {"query": self.query, "orientation": self.orientation, "size": self.size, "locale": self.locale}
            return "v1/videos/search", {name: value for name, value in given.items() if value}, "videos"
        if self.collection:
            return f"v1/collections/{quote(self.collection, safe='')}", {"type": "videos"}, "media"
        if self.popular:
            return "v1/videos/popular", {}, "videos"
        raise ItemError("nothing_asked", "a source of kind pexels needs a query, a collection, or popular = true")

    def _page(self, context: Context, access: Access, number: int) -> Listing:
        path, params, name = self._listing()
        url = f"{self.api.rstrip('/')}/{path}"
        params |= {"per_page": str(self.per_page), "page": str(number)}
        answer = ask(context.client, url, params, access, HINTS)
        return Listing(answer[name].list(), answer["total_results"].whole(), answer.url)

    def _is_video(self, entry: Value) -> bool:
        """In collections there are photos, too."""
        return entry.get("type").text() in ("", "Video")

    def _found(self, video: Value) -> Found:
        site_id, page_url, user = str(video["id"].whole()), video["url"].text(), video["user"]
        file = choose(self.rendition, [rendition(entry) for entry in video["video_files"].list()])
        return Found(
            "",
            "",
            url=file.url if file else "",
            path="" if file else f"pexels {site_id}",
            size_bytes=file.size_bytes if file else 0,
            site=self.site,
            site_id=site_id,
            page_url=page_url,
            author=user.get("name").text(),
            author_url=user.get("url").text(),
            title=title_of(page_url),
            tags=tuple(tag.text() for tag in tags(video) if tag.text()),
            license=LICENSE,
            license_url=LICENSE_URL,
        )


def rendition(entry: Value) -> Rendition:
    """Playlists (HLS) are no files: their URL is left out. Size and frame rate are missing in older answers."""
    kind = entry.get("file_type").text()
    return Rendition(
        url="" if kind and not kind.startswith("video/") else entry["link"].text(),
        width=round(entry["width"].number()),
        height=round(entry["height"].number()),
        fps=entry.get("fps").number(),
        size_bytes=round(entry.get("size").number()),
    )


def tags(video: Value) -> list[Value]:
    """Empty in every answer seen so far (2026)."""
    given = video.get("tags")
    return given.list() if given.data else []
