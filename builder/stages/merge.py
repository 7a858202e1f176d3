"""Merge: videos with the same bytes become one, whatever they were called and wherever they were found."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

from builder.errors import Filtered
from builder.layout import clip_parts, video_parts
from builder.records import Failure, Fetched, SourceVideo
from builder.stage import Item, Stage, settings
from builder.stages.admit import listing, standing


@settings
class Merge(Stage[Fetched, SourceVideo]):
    """Of equal videos the one that `admit` would choose stands for all, then the one with the smallest `found_id`, so
    that the order of arrival does not matter."""

    name: ClassVar[str] = "merge"
    reads: ClassVar[str] = "fetch"
    writes: ClassVar[type[SourceVideo]] = SourceVideo
    grain: ClassVar[str] = "video"
    version: ClassVar[int] = 2
    whole: ClassVar[bool] = True
    decides: ClassVar[tuple[str, ...]] = ("video", "clip")

    taken_down: tuple[str, ...] = ()  # the takedown list of [licenses], read by the pipeline

    def batch(self, items: Sequence[Item[Fetched]]) -> list[Sequence[SourceVideo] | Failure]:
        same: dict[str, list[Fetched]] = {}
        for row in sorted((item.row for item in items), key=lambda row: (standing(row), row.found_id)):
            same.setdefault(row.video_id, []).append(row)
        banned = frozenset(self.taken_down)
        return [self.answer(item.id, partial(merged, item.row, same[item.row.video_id], banned)) for item in items]

    def parts(self, rows: Sequence[SourceVideo]) -> Mapping[str, int]:
        return {"video": video_parts(len(rows)), "clip": clip_parts([row.duration_s for row in rows])}


def merged(row: Fetched, same: Sequence[Fetched], banned: frozenset[str]) -> list[SourceVideo]:
    """`same` are all rows with these bytes, the best first.

    Raises:
        Filtered: `taken_down`, or `duplicate` unless the row is the first of them.
    """
    if f"sha256:{row.sha256}" in banned:
        raise Filtered("taken_down", f"the takedown list names its sha256: {row.sha256}")
    if row.found_id != same[0].found_id:
        text = f"has the same bytes as {same[0].found_id}, which stands for both as video {row.video_id}"
        raise Filtered("duplicate", text)
    values = {f.name: getattr(row, f.name) for f in dataclasses.fields(SourceVideo)}
    spans = sorted({span for one in same for span in zip(one.starts_s, one.ends_s, strict=True)})
    if not all(one.starts_s for one in same):
        spans = []  # one listing asks for all of it
    values["starts_s"], values["ends_s"] = tuple(s for s, _ in spans), tuple(e for _, e in spans)
    others = [text for one in same[1:] for text in (listing(one), *one.also)]
    return [SourceVideo(**values | {"also": (*row.also, *others)})]
