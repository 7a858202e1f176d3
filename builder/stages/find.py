"""Find: ask every source what it lists, before anything is fetched. A source is one file in `builder/sources`."""

import dataclasses
import hashlib
import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Annotated, ClassVar

import pyarrow as pa
from pydantic import Field

from builder import registry
from builder.digests import content_id, short_hash
from builder.errors import ItemError
from builder.layout import found_parts
from builder.parquet import decode, encode, from_parquet
from builder.records import Failure, Found, Record
from builder.stage import Context, Item, Stage, settings
from builder.storage import Storage

LOG = logging.getLogger(__name__)
LISTINGS = "find.listings"
LISTING = Lock()


@dataclass(frozen=True, slots=True)
class SourceSpec(Record):
    """One `[[source]]` of build.toml: a digest of its settings, and of what it would list now.

    Of each source at most `limit` videos are wanted (0: all).
    """

    KEY: ClassVar[str] = "source"
    source: str
    kind: str
    settings: str
    state: str = ""
    limit: int = 0


@dataclass(frozen=True)
class Estimate:
    """What a source would list. `requests` are those to list it, `size_bytes` 0 is not known; `exact` when counted.

    `wait_s`: what the source's published limits make the listing last at least.
    """

    videos: int
    requests: int = 0
    size_bytes: int = 0
    exact: bool = True
    wait_s: float = 0.0
    notes: tuple[str, ...] = ()


@settings
class Source:
    """Base of sources. The settings here stand in for items whose own listing does not say.

    `limit`: at most that many videos, in the order of the listing; 0 is all of them.
    """

    plugin: ClassVar[str]
    site: ClassVar[str] = ""  # of a source that is a stock site: its name
    addresses: ClassVar[tuple[str, ...]] = ()  # expressions for whole URLs of the site; their group `id` is the video
    license: str = ""
    license_url: str = ""
    author: str = ""
    author_url: str = ""
    limit: Annotated[int, Field(ge=0)] = 0

    # -- required
    def find(self, context: Context) -> Iterator[Found]:
        """The videos there are, each with a `url`, or a `path` below `root`, and what is known about it.

        `found_id`, `key`, `source` and `root` are left empty: Find fills them in. An item that cannot be used is listed
        all the same, and then fails by name when it is fetched. Raises ItemError if the source as a whole cannot be
        read. The caller stops when it has enough: ask for further pages only when asked for further videos.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define find")

    # -- optional
    def state(self, base: Path) -> str:
        """Changes when what the source would list now has changed; cheap, and never fails.

        `base` is the folder of build.toml: relative paths in settings start there. "" is for a listing that is asked
        for once, and kept until `osd-build crawl --refresh`.
        """
        return ""

    def media_url(self, found: Found, context: Context) -> str:
        """Where to download a video from, asked for just before that. By default it is as listed; where the listed URL
        holds a secret, tables do not, and the listing is read again.

        Raises:
            ItemError: `gone`, when the listing has no such video any more.
        """
        from builder.web.address import MASK, masked

        if MASK not in found.url:
            return found.url
        with LISTING:
            if "_urls" not in vars(self):
                rows = ((row, one_form(row.url, "")[0]) for row in self.find(context))
                vars(self)["_urls"] = {key_of(row, "", url): url for row, url in rows if masked(url) != url}
        if found.key not in vars(self)["_urls"]:
            raise ItemError("gone", f"{found.url} is no longer listed, and only the listing holds all of the URL")
        return str(vars(self)["_urls"][found.key])

    def root(self, base: Path) -> Path | None:
        """The folder that holds the videos, of a source whose files are used where they are."""
        return None

    def sought(self) -> str:
        """What was looked for, for the message that there is none."""
        return f"a video of kind {self.plugin}"

    def estimate(self, context: Context) -> Estimate | None:
        """What `find` would list, guessed from little of it, for `--dry-run`; None to have all of it listed then."""
        return None


@settings
class Find(Stage[SourceSpec, Found]):
    """List the videos of all sources, those listed several times several times."""

    name: ClassVar[str] = "find"
    reads: ClassVar[str] = "sources"
    writes: ClassVar[type[Found]] = Found
    grain: ClassVar[str] = "found"
    version: ClassVar[int] = 2
    whole: ClassVar[bool] = True
    decides: ClassVar[tuple[str, ...]] = ("found",)

    def batch(self, items: Sequence[Item[SourceSpec]]) -> list[Sequence[Found] | Failure]:
        times: Counter[str] = Counter()
        return [self.answer(item.id, partial(self._numbered, item.row, times)) for item in items]

    def parts(self, rows: Sequence[Found]) -> Mapping[str, int]:
        return {"found": found_parts(len(rows))}

    def _numbered(self, spec: SourceSpec, times: Counter[str]) -> list[Found]:
        """The rows of one source, sorted by id: that of the key, or for the n-th row of a key one of its own."""
        rows = []
        for row in self._listed(spec):
            n = times[row.key]
            times[row.key] += 1
            rows.append(dataclasses.replace(row, found_id=id_of(f"{row.key}#{n}") if n else row.key))
        return sorted(rows, key=lambda row: row.found_id)

    def _listed(self, spec: SourceSpec) -> list[Found]:
        """What the source lists. A listing that is asked for once is kept, so that a kill or another source costs it
        nothing."""
        source: Source = self.context.sources[spec.source]
        if source.state(self.context.base):
            return self._asked(spec, source)
        storage, name = self.context.storage, listing_of(spec)
        if not is_listing(storage, name):
            try:
                storage.write(name, encode(Found, self._asked(spec, source), {}))
            except ItemError as error:
                if not (before := earlier(storage, spec)):
                    raise
                text = "source %r keeps its last listing, for a new one failed (ask again with --refresh): %s"
                LOG.warning(text, spec.source, error.message.partition("; `osd-build retry")[0])
                name = before
        return decode(Found, from_parquet(storage.read(name)), name)

    def _asked(self, spec: SourceSpec, source: Source) -> list[Found]:
        local = source.root(self.context.base) is not None
        most = min(filter(None, (source.limit, spec.limit)), default=None)
        found = itertools.islice(source.find(self.context), most)
        rows = [complete(row, source, spec.source, local, n) for n, row in enumerate(found)]
        if not rows:
            raise ItemError("empty_source", f"source {spec.source!r} lists nothing; it was to hold {source.sought()}")
        LOG.info("source %r: %d rows", spec.source, len(rows))
        return rows


def listing_of(spec: SourceSpec) -> str:
    """The file that keeps what a source listed which is asked once: of these settings, and when it was asked anew."""
    asked_for = short_hash([spec.kind, spec.settings, spec.limit])
    return f"{LISTINGS}/{spec.source}-{asked_for}-{short_hash(spec.state)}.parquet"


def is_listing(storage: Storage, name: str) -> bool:
    """Whether it is there and whole; another one is then asked for."""
    if not storage.exists(name):
        return False
    try:
        from_parquet(storage.read(name))
    except (pa.ArrowException, OSError):
        return False
    return True


def earlier(storage: Storage, spec: SourceSpec) -> str:
    """The newest listing with the same settings; empty if there is none."""
    stem = listing_of(spec).rpartition("-")[0]
    names = [name for name in storage.walk(LISTINGS) if name.rpartition("-")[0] == stem and is_listing(storage, name)]
    return max(names, key=lambda name: storage.path(name).stat().st_mtime_ns, default="")


def complete(found: Found, source: Source, name: str, local: bool, position: int) -> Found:
    """What a source lists as a row: its key from its address, and the source's own licence where it has none."""
    from builder.web.address import masked

    url, path = ("", found.path) if local else one_form(found.url, found.path or f"{name}, row {position + 1}")
    found = dataclasses.replace(found, path=path)
    _, site_id = site_and_id(found, url)
    return dataclasses.replace(
        found,
        key=id_of(f"folder:{name}/{path}") if local else key_of(found, name, url),
        source=name,
        root=name if local else "",
        url=masked(url),
        page_url=masked(found.page_url),
        site_id=found.site_id or site_id,
        license=found.license or source.license,
        license_url=masked(found.license_url or (source.license_url if not found.license else "")),
        author=found.author or source.author,
        author_url=masked(found.author_url or source.author_url),
        position=position,
    )


def site_and_id(found: Found, url: str) -> tuple[str, str]:
    return (found.site, found.site_id) if found.site else site_of(url)


def key_of(found: Found, name: str, url: str) -> str:
    """Of a video on the web: the site's own id where one is known, else the URL, else the place in the list."""
    from builder.web.address import unsigned

    site, site_id = site_and_id(found, url)
    if site and site_id:
        return id_of(f"{site}:{site_id}")
    return id_of(unsigned(url) or f"row:{name}/{found.path}")


def id_of(text: str) -> str:
    return content_id(hashlib.sha256(text.encode()).hexdigest())


def one_form(url: str, place: str) -> tuple[str, str]:
    """The normalised URL; of one that is none, its place and what is wrong with it, for `fetch` to refuse."""
    from builder.web.address import normalised

    try:
        return (normalised(url) if url else ""), ("" if url else place)
    except ItemError as error:
        return "", f"{place}: {error.message}"


@cache
def site_addresses() -> list[tuple[str, re.Pattern[str]]]:
    sources = registry.discover("sources", Source).values()
    return [(source.site, re.compile(pattern)) for source in sources for pattern in source.addresses]


def site_of(url: str) -> tuple[str, str]:
    """The stock site and the video's id there, if the URL is one of a site that has a source here."""
    for site, pattern in site_addresses():
        if match := pattern.fullmatch(url):
            return site, match["id"]
    return "", ""
