"""Merge: videos with the same bytes become one, whatever they were called and wherever they were found."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

from builder.errors import Filtered
from builder.layout import clip_parts, video_parts
from builder.records import Failure, Fetched, SourceVideo
from builder.stage import Item, Stage, settings


@settings
class Merge(Stage[Fetched, SourceVideo]):
    """Of equal videos the one with the smallest `found_id` stays, so that the order of arrival does not matter."""

    name: ClassVar[str] = "merge"
    reads: ClassVar[str] = "fetch"
    writes: ClassVar[type[SourceVideo]] = SourceVideo
    grain: ClassVar[str] = "video"
    whole: ClassVar[bool] = True
    decides: ClassVar[tuple[str, ...]] = ("video", "clip")

    def batch(self, items: Sequence[Item[Fetched]]) -> list[Sequence[SourceVideo] | Failure]:
        same: dict[str, list[str]] = {}
        for found_id, video_id in sorted((item.id, item.row.video_id) for item in items):
            same.setdefault(video_id, []).append(found_id)
        return [self.answer(item.id, partial(merged, item.row, same[item.row.video_id])) for item in items]

    def parts(self, rows: Sequence[SourceVideo]) -> Mapping[str, int]:
        return {"video": video_parts(len(rows)), "clip": clip_parts([row.duration_s for row in rows])}


def merged(row: Fetched, same: Sequence[str]) -> list[SourceVideo]:
    """`same` names all rows with these bytes, sorted.

    Raises:
        Filtered: `duplicate`, unless the row is the first of them.
    """
    if row.found_id != same[0]:
        raise Filtered("duplicate", f"has the same bytes as {same[0]}, which stands for both as video {row.video_id}")
    values = {f.name: getattr(row, f.name) for f in dataclasses.fields(SourceVideo)}
    return [SourceVideo(**values | {"also": tuple(same[1:])})]
