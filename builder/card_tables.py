"""The card's tables, made from the index alone: what is in the dataset, under which terms, and by whom.

Bars are drawn with characters: a picture would be one more file that must be in step with the card, and is shown by the
Hub alone; a table is shown wherever Markdown is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from builder.licenses import License, license_of
from builder.report.stats import Group, Histogram, Stats, stats_of
from builder.report.tables import of_index

AUTHORS = 100  # named in the card; all are in the index
BAR = 20  # characters of the longest


@dataclass(frozen=True)
class Terms:
    """What one licence asks and allows, and the clips that stand under it."""

    source: str
    license: License
    named: str  # as the source states it
    url: str
    clips: int
    duration_s: float
    authors: int


@dataclass(frozen=True)
class Author:
    name: str
    url: str
    source: str
    license: str
    clips: int


@dataclass(frozen=True)
class CardTables:
    """`anonymous` clips have no named author; `more_authors` are not listed in `authors`."""

    stats: Stats
    terms: Sequence[Terms]
    authors: Sequence[Author]
    more_authors: int
    anonymous: int

    @classmethod
    def of(cls, index: Path, captioners: Sequence[str]) -> "CardTables":
        frame = pl.scan_parquet(index)
        authors = named_authors(frame)
        return cls(
            stats=stats_of(of_index(index, captioners), index.parent),
            terms=terms(frame),
            authors=authors[:AUTHORS],
            more_authors=max(0, len(authors) - AUTHORS),
            anonymous=frame.select((pl.col("author") == "").sum()).collect().item(),
        )

    @property
    def groups(self) -> Sequence[Group]:
        """Each source; and all of them together, where there are several."""
        return self.stats.sources if len(self.stats.sources) == 1 else (*self.stats.sources, self.stats.total)

    @property
    def resolutions(self) -> list[tuple[str, Histogram]]:
        return [(group.source, group.resolutions) for group in self.groups]

    @property
    def aspects(self) -> list[tuple[str, Histogram]]:
        return [(group.source, group.aspects) for group in self.groups]

    @property
    def credit_is_due(self) -> bool:
        return any(row.license.attribution == "yes" for row in self.terms)


def terms(index: pl.LazyFrame) -> list[Terms]:
    named = pl.col("author").filter(pl.col("author") != "")
    groups = index.group_by("source", "license", "license_url").agg(
        clips=pl.len(), duration_s=pl.col("duration_s").sum(), authors=named.n_unique()
    )
    return [
        Terms(source, license_of(name, url), name, url, clips, duration_s, authors)
        for source, name, url, clips, duration_s, authors in groups.sort("source", "license", "license_url")
        .select("source", "license", "license_url", "clips", "duration_s", "authors")
        .collect()
        .iter_rows()
    ]


def named_authors(index: pl.LazyFrame) -> list[Author]:
    """Those of most clips first."""
    key = ("author", "author_url", "source", "license")
    groups = index.filter(pl.col("author") != "").group_by(key).agg(clips=pl.len())
    order = groups.sort(pl.col("clips"), *key, descending=[True, *(False for _ in key)])
    return [Author(*row) for row in order.select(*key, "clips").collect().iter_rows()]


def as_bar(count: int, found: Histogram) -> str:
    """A bar as long as `count` is among those of its histogram."""
    return "█" * max(1, round(BAR * count / max(found.bars.values())))


def as_share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else ""
