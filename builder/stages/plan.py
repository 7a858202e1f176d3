"""Plan: which clip goes into which shard. Sees the whole table; one part of the plan is one shard."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any, ClassVar

from pydantic import Field

from builder import releases
from builder.buckets import GroupBy, bucket_of
from builder.digests import short_hash
from builder.errors import RunError
from builder.layout import bucket
from builder.licenses import license_of
from builder.records import Clip, Failure, Planned, Record, Scanned, SourceVideo, Verdict
from builder.samples import Corrected, covers
from builder.sides import TRAIN, SplitBy, author_of, by_duplicates, position, side
from builder.stage import Item, Stage, execution, settings
from builder.stages.dedupe import Twin
from builder.table import Table

Group = tuple[str, str, bool, str]  # source, split, barred, bucket: one shard is of one


@settings
class Plan(Stage[Verdict, Planned]):
    """Shards of about `shard_bytes`, each of one source and split; with `shards`, so many of the training split, with
    numbers of samples that differ by one at most (within a source). `group_by` keeps clips of other aspects,
    resolutions or lengths in other shards. Clips that must not be redistributed share no shard with others.

    What was published stands as it is (see `builder.releases`). Of the rest, shards are ranges of clip ids: a clip
    taken out or changed touches its own shard only, as long as the number of shards stays; that follows the total size,
    estimated from the share each clip has of its source file.

    `validation` is a share of 0..1 of the contents, chosen by their hashes: of groups of near-duplicates (`split_by`),
    of authors, or of videos.
    """

    name: ClassVar[str] = "plan"
    reads: ClassVar[str] = "select"
    writes: ClassVar[type[Planned]] = Planned
    grain: ClassVar[str] = "shard"
    version: ClassVar[int] = 2
    whole: ClassVar[bool] = True
    decides: ClassVar[tuple[str, ...]] = ("shard",)

    shard_bytes: Annotated[int, Field(gt=0)] = 1_000_000_000
    shards: Annotated[int, Field(ge=0)] = 0
    group_by: tuple[GroupBy, ...] = ()
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    split_by: SplitBy = "duplicates"
    # set by the pipeline: what was published, how shards are cut, the tables whose rows become part of a sample
    closed: tuple[str, ...] = ()
    made: str = ""
    corrected: Corrected = field(default_factory=dict)  # captions that people put right
    twins: str = execution(default="")
    scores: tuple[str, ...] = execution(default=())
    captions: tuple[str, ...] = execution(default=())

    @property
    def joins(self) -> tuple[str, ...]:
        twins = (self.twins,) if self.twins and self._compares else ()
        return ("split", "scan", "merge", *twins, *self.scores, *self.captions)

    @property
    def _compares(self) -> bool:
        return self.validation > 0 and self.split_by == "duplicates"

    @property
    def sides(self) -> str:
        """The digest of the settings that decide sides: once they change, what was published decides none."""
        return short_hash([self.validation, self.split_by])

    def digest(self, row: Record) -> str:
        return "" if isinstance(row, Twin) else row.digest()

    def batch(self, items: Sequence[Item[Verdict]]) -> list[Sequence[Planned] | Failure]:
        wanted = self._wanted(items)
        stand = releases.standing(self.context.storage, self.made, wanted) if self.closed else {}
        planned = {clip: dataclasses.replace(wanted[clip], shard=e.path, bucket=e.bucket) for clip, e in stand.items()}
        left: dict[Group, list[Item[Verdict]]] = defaultdict(list)
        for item in items:
            if item.id not in stand:
                plan = wanted[item.id]
                group = (item.get(SourceVideo).source, plan.split, not plan.redistributable, plan.bucket)
                left[group].append(item)
        for clip, shard in self._named(left).items():
            planned[clip] = dataclasses.replace(wanted[clip], shard=shard)
        numbers = {shard: n for n, shard in enumerate(sorted({p.shard for p in planned.values()}, key=in_release))}
        return [[dataclasses.replace(planned[i.id], shard_number=numbers[planned[i.id].shard])] for i in items]

    def _wanted(self, items: Sequence[Item[Verdict]]) -> dict[str, Planned]:
        """Each clip with all that decides its shard, but not in one yet."""
        sides = self._sides(items)
        found = {}
        for item in items:
            video = item.get(SourceVideo)
            allowed = not license_of(video.license, video.license_url).barriers()
            shape = bucket_of(item.get(Clip), self.group_by)
            found[item.id] = Planned(
                item.id, "", 0, covers(item, self.corrected), sides.get(item.id, TRAIN), allowed, shape
            )
        return found

    def _sides(self, items: Sequence[Item[Verdict]]) -> dict[str, str]:
        """Clip -> side. For a share of 0 nothing is looked at."""
        if not self.validation:
            return {}
        videos = {item.id: item.get(SourceVideo) for item in items}
        if self.split_by != "duplicates":
            names = {c: author_of(v) if self.split_by == "author" else v.video_id for c, v in videos.items()}
            return {clip: side(position(name), self.validation) for clip, name in names.items()}
        storage = self.context.storage
        groups = Table(storage, self.twins, Twin).columns("clip_id", "group") if self.twins else ()
        latest = releases.releases(storage)[-1:] if self.closed else []
        published = releases.sides_of(storage) if latest and latest[0].sides == self.sides else {}
        contents = {clip: video.video_id for clip, video in videos.items()}
        return by_duplicates(((c, g) for c, g in groups), contents, published, self.validation)

    def _named(self, groups: Mapping[Group, Sequence[Item[Verdict]]]) -> dict[str, str]:
        """Clip -> shard of the open release; those of a source and split that may be published are numbered first."""
        release = releases.open_name(len(self.closed))
        counts = self._counts(groups)
        serial: dict[tuple[str, str], int] = defaultdict(int)
        named: dict[str, str] = {}
        for group, items in sorted(groups.items()):
            source, split, *_ = group
            pieces = self._pieces(items, counts.get(group))
            for number, clips in enumerate(pieces, serial[source, split]):
                shard = f"data/{source}/{release}/{source}-{split}-{number:06d}.tar"
                named |= dict.fromkeys(clips, shard)
            serial[source, split] += len(pieces)
        return named

    def _counts(self, groups: Mapping[Group, Sequence[Item[Verdict]]]) -> dict[Group, int]:
        """How many of `shards` each training group gets: one, and of the others a share by its samples.

        Raises:
            RunError: there are fewer clips than shards, or more groups.
        """
        sizes = {group: len(items) for group, items in groups.items() if group[1] == TRAIN}
        if not self.shards or not sizes:
            return {}
        if not len(sizes) <= self.shards <= sum(sizes.values()):
            raise RunError(
                f"[plan] shards = {self.shards}: {sum(sizes.values())} clips of {len(sizes)} kinds (source, licence "
                f"that bars publishing, group_by) make {len(sizes)} to {sum(sizes.values())} shards"
            )
        counts = dict.fromkeys(sizes, 1)
        for _ in range(self.shards - len(sizes)):
            growing = [group for group in sizes if counts[group] < sizes[group]]
            fullest = max(growing, key=lambda group: (sizes[group] / counts[group], group))
            counts[fullest] += 1
        return counts

    def _pieces(self, items: Sequence[Item[Verdict]], count: int | None) -> list[list[str]]:
        """The clips of a group by shard, none empty."""
        ids = sorted(item.id for item in items)
        if count is not None:
            return [ids[n * len(ids) // count : (n + 1) * len(ids) // count] for n in range(count)]
        shards = math.ceil(sum(map(estimated_bytes, items)) / self.shard_bytes) or 1
        pieces: dict[int, list[str]] = defaultdict(list)
        for clip in ids:
            pieces[bucket(clip, shards)].append(clip)
        return [pieces[number] for number in sorted(pieces)]

    def parts(self, rows: Sequence[Planned]) -> Mapping[str, int]:
        return {"shard": 1 + max((row.shard_number for row in rows), default=0)}

    def place(self, row: Planned, parts: int) -> int:
        return row.shard_number


def in_release(shard: str) -> tuple[str, str]:
    """The order of shards' numbers: a release that is added renumbers none of those before."""
    return shard.split("/")[2], shard


def estimated_bytes(item: Item[Any]) -> float:
    """The clip's share of its source file, by frames."""
    return item.get(SourceVideo).size_bytes * item.get(Clip).frames / item.get(Scanned).frames
