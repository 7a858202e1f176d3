"""Plan: which clip goes into which shard. Sees the whole table; one part of the plan is one shard."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from builder.layout import bucket
from builder.records import Clip, Failure, Planned, Scanned, SourceVideo, Verdict
from builder.stage import Item, Stage, execution, settings

RELEASE = "r0001"
SPLIT = "train"


@settings
class Plan(Stage[Verdict, Planned]):
    """Shards of about `shard_bytes`, each of one source.

    A source's shards are ranges of clip ids. Taking a clip out or changing it touches its own shard only, as long as
    the number of shards stays; that follows the total size, estimated from the share each clip has of its source file.
    """

    name: ClassVar[str] = "plan"
    reads: ClassVar[str] = "select"
    writes: ClassVar[type[Planned]] = Planned
    grain: ClassVar[str] = "shard"
    whole: ClassVar[bool] = True
    decides: ClassVar[tuple[str, ...]] = ("shard",)

    shard_bytes: Annotated[int, Field(gt=0)] = 1_000_000_000
    # set by the pipeline: the tables whose rows become part of a sample
    scores: tuple[str, ...] = execution(default=())
    captions: tuple[str, ...] = execution(default=())

    @property
    def joins(self) -> tuple[str, ...]:
        return ("split", "scan", "merge", *self.scores, *self.captions)

    def batch(self, items: Sequence[Item[Verdict]]) -> list[Sequence[Planned] | Failure]:
        by_source: dict[str, list[Item[Verdict]]] = defaultdict(list)
        for item in items:
            by_source[item.get(SourceVideo).source].append(item)
        planned: dict[str, Planned] = {}
        for source, members in sorted(by_source.items()):
            first = 1 + max((p.shard_number for p in planned.values()), default=-1)
            planned |= {p.clip_id: p for p in self._source(source, members, first)}
        return [[planned[item.id]] for item in items]

    def _source(self, source: str, items: Sequence[Item[Verdict]], first: int) -> list[Planned]:
        shards = math.ceil(sum(map(estimated_bytes, items)) / self.shard_bytes) or 1
        of = {item.id: bucket(item.id, shards) for item in items}
        serial = {number: n for n, number in enumerate(sorted(set(of.values())))}  # no empty shards
        return [
            Planned(
                clip_id=item.id,
                shard=f"data/{source}/{RELEASE}/{source}-{SPLIT}-{serial[of[item.id]]:06d}.tar",
                shard_number=first + serial[of[item.id]],
                covers=item.digest,
            )
            for item in items
        ]

    def parts(self, rows: Sequence[Planned]) -> Mapping[str, int]:
        return {"shard": 1 + max((row.shard_number for row in rows), default=0)}

    def place(self, row: Planned, parts: int) -> int:
        return row.shard_number


def estimated_bytes(item: Item[Any]) -> float:
    """The clip's share of its source file, by frames."""
    return item.get(SourceVideo).size_bytes * item.get(Clip).frames / item.get(Scanned).frames
