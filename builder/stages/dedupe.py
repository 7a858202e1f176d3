"""Dedupe: find clips that show the same, and say which is the best. Sees the whole table; leaves none out: that is for
`pick`, which knows what conditions say of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from builder.digests import short_hash
from builder.licenses import license_of
from builder.records import Failure, Record, Scanned, SourceVideo
from builder.stage import Item, Resources, Stage, execution, settings
from builder.stages.hash import Hashes

if TYPE_CHECKING:
    from builder.duplicates.match import Clips

Rank = tuple[bool, float, float, tuple[int, bool, bool, bool], str]


@dataclass(frozen=True, slots=True)
class Twin(Record):
    """What shows the same as this clip: `group` is the best of those that do (often itself), conditions aside.

    `similarity` is the share of equal bits in the hashes of the two, 0.5 chance ... 1 same; `correlation` tells how
    alike they change, 0 not ... 1 same; `covered` how much of this clip those that are best in their groups show,
    0 ... 1. `better` are all better clips that show something of it, the best first: of its `moments` those with
    firsts[i] <= m < lasts[i].
    """

    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    group: str
    similarity: float = 1.0
    correlation: float = 1.0
    covered: float = 1.0
    better: tuple[str, ...] = ()
    firsts: tuple[int, ...] = ()
    lasts: tuple[int, ...] = ()
    moments: int = 0


@settings
class Dedupe(Stage[Hashes, Twin]):
    """Clips show the same if their hashes do, to `radius` of 64 bits, and they change alike, with a correlation of
    `similarity`. The best is kept: of a file that is whole; then most pixels, bytes a second of its video, the licence
    that allows most. A clip counts as shown if better ones show `covered` of it. `on = false`: none is looked for."""

    name: ClassVar[str] = "dedupe"
    reads: ClassVar[str] = "hash"
    writes: ClassVar[type[Twin]] = Twin
    grain: ClassVar[str] = "clip"
    version: ClassVar[int] = 3
    whole: ClassVar[bool] = True
    needs: ClassVar[Resources] = Resources(memory_bytes=4 << 30)

    on: bool = execution(default=True)  # decides whether there is a table, not what is in it
    radius: Annotated[int, Field(ge=0, le=8)] = 6
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.7
    covered: Annotated[float, Field(gt=0, le=1)] = 0.5

    @property
    def joins(self) -> tuple[str, ...]:
        return ("scan", "merge")

    def digest(self, row: Record) -> str:
        """Short, as it is asked for three times a clip: what `rank` looks at."""
        if isinstance(row, Scanned):
            return short_hash([row.width, row.height, row.duration_s, row.complete])
        if isinstance(row, SourceVideo):
            return short_hash([row.size_bytes, row.license, row.license_url])
        return row.digest()

    def batch(self, items: Sequence[Item[Hashes]]) -> list[Sequence[Twin] | Failure]:
        from builder.duplicates.choose import Shown, choose
        from builder.duplicates.match import twins
        from builder.duplicates.search import BITS

        ranked = sorted(items, key=rank)
        clips = columns([item.row for item in ranked])
        found = twins(clips, self.radius, self.similarity)
        better: dict[int, list[Shown[int]]] = {}
        for (a, b), overlap in sorted(found.items()):
            better.setdefault(b, []).append(Shown(a, *overlap.span))
        lengths = {n: len(clips.of(n)) for n in {*better, *(a for a, _ in found)}}
        chosen = choose(better, lengths, self.covered)
        rows = {item.id: Twin(item.id, item.id) for item in items}
        for n, others in better.items():
            name = ranked[n].id
            names, firsts, lasts = zip(*((ranked[s.by].id, s.first, s.last) for s in others), strict=True)
            rows[name] = replace(rows[name], better=names, firsts=firsts, lasts=lasts, moments=lengths[n])
        for n, choice in chosen.items():
            name, alike = ranked[n].id, found[choice.kept, n]
            group, similarity = ranked[choice.kept].id, 1 - alike.bits / BITS
            row = replace(rows[name], group=group, similarity=similarity, covered=choice.covered)
            rows[name] = replace(row, correlation=alike.correlation)
        return [[rows[item.id]] for item in items]


def rank(item: Item[Any]) -> Rank:
    """The best first: of a file that is whole, as what is left of a broken one ends early and has its bytes for less;
    pixels of picture, without bars; bytes a second of the source; then what the licence allows."""
    scan, video, row = item.get(Scanned), item.get(SourceVideo), item.row
    terms = license_of(video.license, video.license_url)
    barred = terms.commercial != "yes", terms.share_alike != "no", terms.attribution != "no"
    pixels = scan.width * scan.height * round(row.picture, 1)  # bars are measured to about 1 %
    return (
        not scan.complete,
        -pixels,
        -video.size_bytes / scan.duration_s,
        (len(terms.barriers()), *barred),
        row.clip_id,
    )


def columns(rows: Sequence[Hashes]) -> "Clips":
    import numpy as np

    from builder.duplicates.describe import MOMENT
    from builder.duplicates.match import Clips

    lengths = np.array([len(row.moments) // MOMENT.itemsize for row in rows], np.int64)
    numbers = {video: n for n, video in enumerate(dict.fromkeys(row.video_id for row in rows))}
    return Clips(
        moments=np.frombuffer(b"".join(row.moments for row in rows), MOMENT),
        bounds=np.concatenate([[0], np.cumsum(lengths)]),
        videos=np.array([numbers[row.video_id] for row in rows], np.int64),
        firsts=np.array([row.first for row in rows], np.int64),
    )
