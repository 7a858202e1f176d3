"""Find: ask every source what it lists, before anything is fetched. A source is one file in `builder/sources`."""

import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from builder.errors import Filtered, ItemError
from builder.layout import video_parts
from builder.records import Failure, Found, SourceSpec, content_id
from builder.stage import Item, Stage, settings

LOG = logging.getLogger(__name__)


@settings
class Source:
    """Base of sources. The settings here stand in for items whose own listing does not say."""

    plugin: ClassVar[str]
    license: str = ""
    license_url: str = ""
    author: str = ""
    author_url: str = ""

    # -- required
    def state(self, base: Path) -> str:
        """Changes when what the source would list now has changed; cheap, and never fails.

        `base` is the folder of build.toml: relative paths in settings start there.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define state")

    def find(self, base: Path) -> Iterator[Found]:
        """The videos there are, each with a `url`, or a `path` below `root`, and what is known about it.

        `found_id`, `source` and `root` are left empty: Find fills them in. An item that cannot be used is listed all
        the same, and then fails by name when it is fetched. Raises ItemError if the source as a whole cannot be read.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define find")

    # -- optional
    def root(self, base: Path) -> Path | None:
        """The folder that holds the videos, of a source whose files are used where they are."""
        return None

    def sought(self) -> str:
        """What was looked for, for the message that there is none."""
        return f"a video of kind {self.plugin}"


@settings
class Find(Stage[SourceSpec, Found]):
    """List the videos of all sources."""

    name: ClassVar[str] = "find"
    reads: ClassVar[str] = "sources"
    writes: ClassVar[type[Found]] = Found
    grain: ClassVar[str] = "found"
    whole: ClassVar[bool] = True
    decides: ClassVar[tuple[str, ...]] = ("found",)

    def batch(self, items: Sequence[Item[SourceSpec]]) -> list[Sequence[Found] | Failure]:
        taken: set[str] = set()
        return [self.answer(item.id, partial(self._list, item.row, taken)) for item in items]

    def parts(self, rows: Sequence[Found]) -> Mapping[str, int]:
        return {"found": video_parts(len(rows))}

    def _list(self, spec: SourceSpec, taken: set[str]) -> list[Found]:
        """The rows of one source, sorted by id, without those whose id is `taken`; of equal ones the first."""
        source: Source = self.context.sources[spec.source]
        base, name = self.context.base, spec.source
        local = source.root(base) is not None
        rows = [complete(found, source, name, local) for found in source.find(base)]
        if not rows:
            raise ItemError("empty_source", f"source {name!r} lists nothing; it was to hold {source.sought()}")
        fresh = {row.id: row for row in reversed(rows) if row.id not in taken}
        taken.update(fresh)
        if not fresh:
            raise Filtered("duplicate", f"all {len(rows)} videos of source {name!r} are listed by others before it")
        LOG.info("source %r: %d rows, %d of them listed before", name, len(rows), len(rows) - len(fresh))
        return [fresh[key] for key in sorted(fresh)]


def complete(found: Found, source: Source, name: str, local: bool) -> Found:
    """What a source lists as a row: its id from its address, and the source's own licence where it has none."""
    url = "" if local else one_form(found.url)
    address = f"folder:{name}/{found.path}" if local else url or f"row:{name}/{found.path}"
    return dataclasses.replace(
        found,
        found_id=content_id(hashlib.sha256(address.encode()).hexdigest()),
        source=name,
        root=name if local else "",
        url=url,
        license=found.license or source.license,
        license_url=found.license_url or source.license_url,
        author=found.author or source.author,
        author_url=found.author_url or source.author_url,
    )


def one_form(url: str) -> str:
    """The normalised URL; one that is none stays as it is, for `fetch` to refuse."""
    from builder.web.address import normalised

    try:
        return normalised(url)
    except ItemError:
        return url
