"""Admit: which of the videos listed may be fetched. One row a video, none with a licence that is not allowed, none that
somebody asked to leave out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from builder.errors import Filtered
from builder.licenses import check_allowed, license_of, licenses
from builder.records import Failure, Found, Listed
from builder.stage import Item, Stage, settings
from builder.takedown import Takedown

WHERE = ("site", "site_id", "page_url", "url")
WHOSE = ("title", "author", "author_url", "license", "license_url")


@settings
class Admit(Stage[Found, Found]):
    """`allow` lists licences, as SPDX ids (`CC-BY-*` too); empty allows all, "unknown" those of which nothing is known.

    `takedown` is a text file of what must not be in the dataset: a line each, `SITE:ID`, a URL of the video, its page
    or its author, `author: NAME`, or a sha256. It is honoured at crawl and whenever the dataset is built again.
    """

    name: ClassVar[str] = "admit"
    section: ClassVar[str] = "licenses"
    reads: ClassVar[str] = "find"
    writes: ClassVar[type[Found]] = Found
    grain: ClassVar[str] = "found"
    whole: ClassVar[bool] = True

    allow: tuple[str, ...] = ()
    takedown: str = ""
    taken_down: tuple[str, ...] = ()  # the lines of that file, read by the pipeline

    def __post_init__(self) -> None:
        check_allowed(self.allow)

    def batch(self, items: Sequence[Item[Found]]) -> list[Sequence[Found] | Failure]:
        same: dict[str, list[Found]] = {}
        for item in sorted(items, key=lambda item: (item.row.source, item.row.position)):
            same.setdefault(item.row.key, []).append(item.row)
        listed, allowed = Takedown(self.taken_down), frozenset(check_allowed(self.allow))
        ways = {key: self.ways(rows, listed, allowed) for key, rows in same.items()}
        return [self.answer(item.id, partial(admitted, item.row, ways[item.row.key])) for item in items]

    def ways(self, rows: Sequence[Found], listed: Takedown, allowed: frozenset[str]) -> Mapping[str, Filtered | Found]:
        """Of the listings of one video, by id: why it is left out, or the row that stands for all."""
        if entry := next(filter(None, map(listed.names, rows)), ""):
            return {row.id: Filtered("taken_down", f"the takedown list names it: {entry}") for row in rows}
        ids = {row.id: license_of(row.license, row.license_url).id for row in rows}
        refused: dict[str, Filtered | Found] = {
            row.id: Filtered("license", f"{ids[row.id]} is not among licenses.allow; {told(row)}")
            for row in rows
            if allowed and ids[row.id] not in allowed
        }
        good = [row for row in rows if row.id not in refused]
        if not good:
            return refused
        best = min(good, key=standing)
        duplicate = Filtered("duplicate", f"is the same video as {told(best)}")
        return refused | {row.id: duplicate for row in good} | {best.id: joined(best, good)}


def admitted(row: Found, ways: Mapping[str, Filtered | Found]) -> list[Found]:
    way = ways[row.id]
    if isinstance(way, Filtered):
        raise way
    return [way]


def standing(row: Listed) -> tuple[bool, bool, int, int]:
    """The best first: the site itself, then who knows a licence, of several the one that allows least, then who tells
    most. What somebody else says of a video must not make its licence a better one."""
    licence = license_of(row.license, row.license_url)
    untold = sum(not getattr(row, name) for name in WHOSE + WHERE)
    return not row.site, licence.id not in licenses(), -len(licence.barriers()), untold


def listing(row: Listed) -> str:
    """Where a video was listed, and whose it was said to be there, as JSON."""
    told = {name: getattr(row, name, "") for name in ("found_id", "source", "root", "path", *WHERE, *WHOSE)}
    return json.dumps({name: text for name, text in told.items() if text}, ensure_ascii=False)


def joined(best: Found, rows: Sequence[Found]) -> Found:
    """One row for all listings of a video; the spans of all, or all of it if one asks for that."""
    spans = sorted({span for row in rows for span in zip(row.starts_s, row.ends_s, strict=True)})
    if not all(row.starts_s for row in rows):
        spans = []
    starts, ends = tuple(start for start, _ in spans), tuple(end for _, end in spans)
    also = tuple(listing(row) for row in rows if row is not best)
    return replace(best, found_id=best.key, starts_s=starts, ends_s=ends, also=also)


def told(row: Found) -> str:
    """Which listing it is, for a person."""
    name = row.site_id or row.path or row.url
    return f"{name} of source {row.source!r}, row {row.position + 1}"
