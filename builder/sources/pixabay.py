"""Pixabay: stock videos under the Pixabay Content License, listed through its API."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from builder.records import Found
from builder.renditions import Policy, Rendition, choose
from builder.stage import Context, execution, settings
from builder.stages.find import Estimate, Source
from builder.stock_api import Listing, Value, ask, entries, extrapolated, key_from, title_of, within_limit
from builder.web.access import Access, Window

LOG = logging.getLogger(__name__)
KEY, KEYS = "PIXABAY_API_KEY", "https://pixabay.com/api/docs/"
PER_MINUTE, MINUTE_S = 100, 60.0  # published at https://pixabay.com/api/docs/, as is the rest (2026)
PER_PAGE = 200
LICENSE, LICENSE_URL = "LicenseRef-pixabay-content", "https://pixabay.com/service/license-summary/"
BAN = "Pixabay's API is for requests that people make: it does not allow systematic mass downloads."
HINTS = {"http_400": f"is the key in {KEY} right? It is shown at {KEYS}. Else one of the settings is not accepted"}
SIZES = ("large", "medium", "small", "tiny")
CATEGORIES = (
    *("backgrounds", "fashion", "nature", "science", "education", "feelings", "health", "people", "religion", "places"),
    *(
        "animals",
        "industry",
        "computer",
        "food",
        "sports",
        "transportation",
        "travel",
        "buildings",
        "business",
        "music",
    ),
)


def known(category: str) -> str:
    if category and category not in CATEGORIES:
        raise ValueError(f"Pixabay has no category {category!r}; it has {', '.join(CATEGORIES)}")
    return category


@settings
class Pixabay(Source):
    """Videos that answer a `query`, of a `category`; without either, what is popular. At most 500 a source.

    More than 500 answers are out of reach of the API: make several sources of narrower queries, categories, another
    `order`. Of each video the file is taken that `rendition` says: see `builder/renditions.py`. The key is read from
    PIXABAY_API_KEY and from nowhere else. `api` is for mirrors and tests.

    Pixabay allows a key 100 requests in 60 s, wants answers kept for 24 hours (they are), and forbids systematic mass
    downloads: ask Pixabay before you collect more than a person would. `requests_per_minute` may be lower; for a higher
    one, agreed with Pixabay, `permission` says who allowed it, and when.
    """

    plugin: ClassVar[str] = "pixabay"
    site: ClassVar[str] = "pixabay"
    addresses: ClassVar[tuple[str, ...]] = (
        r"https?://(www\.)?pixabay\.com/([a-z]{2}/)?videos/([^/?]*-)?(?P<id>\d+)/?(\?.*)?",
        r"https?://cdn\.pixabay\.com/video/\d{4}/\d\d/\d\d/(?P<id>\d+)(-\d+)?_[a-z]+\.mp4(\?.*)?",
    )

    query: Annotated[str, Field(max_length=100)] = ""
    category: Annotated[str, AfterValidator(known)] = ""
    video_type: Literal["all", "film", "animation"] = "all"
    order: Literal["popular", "latest"] = "popular"
    editors_choice: bool = False
    safesearch: bool = False
    min_width: Annotated[int, Field(ge=0)] = 0
    min_height: Annotated[int, Field(ge=0)] = 0
    lang: Annotated[str, Field(pattern="^[a-z]{2}$")] = "en"
    rendition: Policy = "largest"
    per_page: Annotated[int, Field(ge=3, le=PER_PAGE)] = execution(default=PER_PAGE)
    requests_per_minute: Annotated[int, Field(ge=1)] = execution(default=PER_MINUTE)
    permission: str = execution(default="")
    api: str = "https://pixabay.com"

    def __post_init__(self) -> None:
        within_limit("requests_per_minute", self.requests_per_minute, PER_MINUTE, self.permission, BAN)

    def find(self, context: Context) -> Iterator[Found]:
        for hit in entries(partial(self._page, context, self._access())):
            yield self._found(hit)

    def estimate(self, context: Context) -> Estimate:
        access = self._access()
        first = self._page(context, access, 1)
        estimate = extrapolated([self._found(hit) for hit in first.entries], first.total, self.limit, access.windows)
        notes = [BAN, *filter(None, [self._out_of_reach(first.total, first.announced)])]
        if self.permission:
            notes.append(f"Pixabay is asked faster than published: {self.permission}")
        return replace(estimate, notes=tuple(notes))

    def sought(self) -> str:
        return f"videos for query {self.query!r}, category {self.category or 'any'!r} at {self.api}"

    def _access(self) -> Access:
        windows = (Window(self.requests_per_minute, MINUTE_S),)
        return Access("pixabay", key_from(KEY, KEYS), query="key", windows=windows)

    def _params(self) -> dict[str, str]:
        """Without those that are the API's own default."""
        given = {
            "q": self.query,
            "category": self.category,
            "video_type": self.video_type if self.video_type != "all" else "",
            "order": self.order if self.order != "popular" else "",
            "editors_choice": "true" if self.editors_choice else "",
            "safesearch": "true" if self.safesearch else "",
            "min_width": str(self.min_width or ""),
            "min_height": str(self.min_height or ""),
            "lang": self.lang if self.lang != "en" else "",
        }
        return {name: value for name, value in given.items() if value}

    def _page(self, context: Context, access: Access, number: int) -> Listing:
        params = self._params() | {"per_page": str(self.per_page), "page": str(number)}
        answer = ask(context.client, f"{self.api.rstrip('/')}/api/videos/", params, access, HINTS)
        listing = Listing(answer["hits"].list(), answer["totalHits"].whole(), answer.url, answer["total"].whole())
        if number == 1 and (note := self._out_of_reach(listing.total, listing.announced)):
            LOG.warning("%s", note)
        return listing

    def _out_of_reach(self, reachable: int, total: int) -> str:
        if total <= reachable or 0 < self.limit <= reachable:
            return ""
        asked = f"query {self.query!r}" + (f" in {self.category}" if self.category else "")
        return f"Pixabay has {total:,} videos for {asked} and lists {reachable:,}: narrow it, in several sources"

    def _found(self, hit: Value) -> Found:
        site_id, page_url, user = str(hit["id"].whole()), hit["pageURL"].text(), hit["user"].text()
        sizes = hit["videos"]
        offered = [size for size in SIZES if sizes.get(size).data is not None]
        if not offered:
            raise sizes.unexpected(f"one of {', '.join(SIZES)}")
        file = choose(self.rendition, [rendition(sizes[size]) for size in offered])
        return Found(
            "",
            "",
            url=file.url if file else "",
            path="" if file else f"pixabay {site_id}",
            size_bytes=file.size_bytes if file else 0,
            site=self.site,
            site_id=site_id,
            page_url=page_url,
            author=user,
            author_url=f"https://pixabay.com/users/{user}-{hit['user_id'].whole()}/" if user else "",
            title=title_of(page_url),
            tags=tuple(tag.strip() for tag in hit["tags"].text().split(",") if tag.strip()),
            license=LICENSE,
            license_url=LICENSE_URL,
        )


def rendition(entry: Value) -> Rendition:
    """A size in which there is no file has an empty URL."""
    return Rendition(
        url=entry["url"].text(),
        width=round(entry["width"].number()),
        height=round(entry["height"].number()),
        size_bytes=round(entry.get("size").number()),
    )
