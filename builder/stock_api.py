"""What sources behind a JSON API share: the key, published limits, and answers whose unexpected fields are named.

A site may change its API any day. Nothing here guesses: a field that is missing or of another type is `layout_changed`
with its place and the URL that answered, so that no listing ever comes out empty or short without a word.
"""

import itertools
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.errors import ConfigError, ItemError
from builder.records import Found
from builder.stages.find import Estimate

if TYPE_CHECKING:
    from builder.web.access import Access, Window
    from builder.web.client import Client

LOG = logging.getLogger(__name__)
MOST = 1 << 62
KEEP_S = 86_400.0  # Pixabay's rule for answers, and what Pexels advises
FRESH_S = 1e-6  # older than that is every answer kept: it is asked for anew, and kept


@dataclass(frozen=True)
class Value:
    """A part of a JSON answer that knows its place; `url` is for messages."""

    data: Any
    url: str
    path: str = "$"

    def __getitem__(self, name: str) -> "Value":
        """A field that must be there; it may be null."""
        if not isinstance(self.data, dict):
            raise self.unexpected("an object")
        if name not in self.data:
            raise Value(None, self.url, f"{self.path}.{name}").unexpected("a field")
        return Value(self.data[name], self.url, f"{self.path}.{name}")

    def get(self, name: str) -> "Value":
        """A field that may be missing: null then, as in an object that is null itself."""
        if self.data is None or (isinstance(self.data, dict) and name not in self.data):
            return Value(None, self.url, f"{self.path}.{name}")
        return self[name]

    def list(self) -> list["Value"]:
        if not isinstance(self.data, list):
            raise self.unexpected("a list")
        return [Value(data, self.url, f"{self.path}[{n}]") for n, data in enumerate(self.data)]

    def text(self) -> str:
        """Without spaces that mean nothing; null is ""."""
        if self.data is not None and not isinstance(self.data, str):
            raise self.unexpected("text")
        return " ".join((self.data or "").encode("utf-8", "replace").decode().split())

    def number(self) -> float:
        """Not negative, and no more than a table holds; null is 0."""
        value = 0 if self.data is None else self.data
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MOST:
            raise self.unexpected("a number")
        return float(value)

    def whole(self) -> int:
        """A whole number that is there and not negative: an id, a count."""
        if isinstance(self.data, bool) or not isinstance(self.data, int) or not 0 <= self.data < MOST:
            raise self.unexpected("a whole number")
        return self.data

    def unexpected(self, wanted: str) -> ItemError:
        there = "nothing" if self.data is None else json.dumps(self.data)[:60]
        text = f"{self.url} has {there} at {self.path} where {wanted} was expected: the API has changed, or"
        return ItemError("layout_changed", f"{text} `api` is another one; update osd-build, or report this")


@dataclass(frozen=True)
class Listing:
    """One page of a listing; all of its pages hold `total` videos, of `announced` that there are (0: the same)."""

    entries: Sequence[Value]
    total: int
    url: str
    announced: int = 0


def key_from(variable: str, page: str) -> str:
    """An API key from the environment, the only place where one is looked for."""
    if key := os.environ.get(variable, "").strip():
        return key
    raise ItemError("no_key", f"{variable} is not set; get a key at {page}, then: export {variable}=...")


def within_limit(setting: str, value: int, published: int, permission: str, rule: str) -> None:
    """Refuse a limit above the published one, unless somebody allowed it."""
    if value > published and not permission.strip():
        text = (
            f"{setting} = {value:,} is more than the published {published:,}. {rule} Lower it, or say who allowed more"
        )
        raise ConfigError(f'{text}, and when: permission = "..."')


def ask(client: "Client", url: str, params: Mapping[str, str], access: "Access", hints: Mapping[str, str]) -> Value:
    """The JSON that answers; `hints` says what to do about some kinds of failure."""
    from builder.web.address import shown

    for keep_s in (KEEP_S, FRESH_S):
        try:
            page = client.get(url, params=params, access=access, keep_s=keep_s)
        except ItemError as error:
            if hint := hints.get(error.kind):
                raise ItemError(error.kind, f"{error.message}: {hint}", error.retryable) from None
            raise
        try:
            return Value(json.loads(page.body), shown(page.url))
        except (ValueError, RecursionError):
            if not page.kept:
                break
    text = f"{shown(page.url)} did not answer with JSON but with {page.body[:40]!r}"
    raise ItemError("layout_changed", f"{text}; is `api` right? Else report this")


def entries(page: Callable[[int], Listing]) -> Iterator[Value]:
    """Everything in a listing, a page being asked for when it is needed; an id may come more than once.

    Pages are counted here: where an answer says that the next one is, nothing is ever fetched.
    """
    seen: set[int] = set()
    listed = 0
    for number in itertools.count(1):
        listing = page(number)
        ids = {entry["id"].whole() for entry in listing.entries}
        if not ids and not listed and listing.total:
            text = f"{listing.url} announces {listing.total:,} videos and lists none"
            raise ItemError("layout_changed", f"{text}; try again tomorrow, then report this")
        if ids and ids <= seen:
            text = f"{listing.url} lists on page {number} what it has listed before, {listed:,} of {listing.total:,}"
            raise ItemError(
                "layout_changed", f"{text}; set `limit = {len(seen)}` to keep what there is, and report this"
            )
        yield from listing.entries
        seen |= ids
        listed += len(listing.entries)
        if not ids or listed >= listing.total:
            break
    if listed < listing.total:
        LOG.warning("%s announces %d videos and lists %d", listing.url, listing.total, listed)


def extrapolated(rows: Sequence[Found], total: int, limit: int, windows: Sequence["Window"]) -> Estimate:
    """What a listing will come to, from its first page, whose `rows` are as many as a page holds."""
    videos = min(total, limit) if limit else total
    requests = max(1, math.ceil(videos / max(1, len(rows))))
    sizes = [row.size_bytes for row in rows]
    return Estimate(
        videos=videos,
        requests=requests,
        size_bytes=round(sum(sizes) / len(sizes) * videos) if sizes and all(sizes) else 0,
        exact=videos <= len(rows),
        wait_s=max(((requests - 1) // window.requests * window.seconds for window in windows), default=0.0),
    )


def title_of(page_url: str) -> str:
    """What a page's address says of the video: `https://…/video/snow-on-a-roof-123/` is "Snow on a roof"."""
    slug = page_url.partition("?")[0].rstrip("/").rpartition("/")[2].rpartition("-")[0]
    words = " ".join(slug.replace("-", " ").split())
    return "" if words == "id" else words[:1].upper() + words[1:]
