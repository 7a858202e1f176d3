"""Pack: cut each planned clip out of its source and write the shard, one tar a part of the plan."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from builder.errors import ItemError
from builder.records import Caption, Clip, Failure, Packed, Planned, Scanned, Score, SourceVideo
from builder.stage import Item, Stage, execution, settings
from builder.stages.fetch import open_media, shown_path, telling_of

if TYPE_CHECKING:
    from builder.media.cut import CutFacts
    from shards.write import Sample, ShardWritten

DATASET = "dataset"


@settings
class Pack(Stage[Planned, Packed]):
    """A clip's packets are copied where that is exact in every decoder, and encoded (H.264, `crf`) where not.

    A copy begins at a key frame and ends where no frame needs a later one, so it can lack the clip's first and last
    frames: `cut = "auto"` encodes where that would be more than `max_loss_s` seconds, `"copy"` never (a clip without a
    usable key frame is a failure), and `"encode"` encodes all. A clip that takes longer than `wall_s` is a failure.
    """

    name: ClassVar[str] = "pack"
    reads: ClassVar[str] = "plan"
    writes: ClassVar[type[Packed]] = Packed
    grain: ClassVar[str] = "shard"
    atomic: ClassVar[bool] = True
    pinned: ClassVar[bool] = True  # `Planned.covers` is the digest of all that is joined here

    version: ClassVar[int] = 2

    cut: Literal["auto", "copy", "encode"] = "auto"
    max_loss_s: Annotated[float, Field(ge=0)] = 0.2
    crf: Annotated[int, Field(ge=0, le=51)] = 18
    preset: str = "veryfast"
    wall_s: float = execution(default=600.0)
    scores: tuple[str, ...] = execution(default=())
    captions: tuple[str, ...] = execution(default=())

    @property
    def joins(self) -> tuple[str, ...]:
        return ("split", "scan", "merge", *self.scores, *self.captions)

    def files(self, row: Packed) -> Mapping[str, int]:
        return {f"{DATASET}/{row.shard}": row.shard_size_bytes}

    def batch(self, items: Sequence[Item[Planned]]) -> list[Sequence[Packed] | Failure]:
        from shards.write import write_shard

        if not items:
            return []
        shard = items[0].row.shard
        samples: dict[str, Sample] = {}
        failures: dict[str, Failure] = {}
        with self.context.storage.scratch(".tar") as tar:
            written = None
            with suppress(NothingLeft):
                written = write_shard(tar, self._samples(items, samples, failures))
                self.context.storage.adopt(tar, f"{DATASET}/{shard}")
        if written is None:
            self.context.storage.remove(f"{DATASET}/{shard}")
        return [failures.get(item.id) or [packed(item.row, samples[item.id], written)] for item in items]

    def _samples(
        self, items: Sequence[Item[Planned]], samples: "dict[str, Sample]", failures: dict[str, Failure]
    ) -> "Iterator[Sample]":
        """Cut clips one by one, so that a shard is never in memory; what fails is noted and left out."""
        for item in items:
            with self.context.storage.scratch(".mp4") as path:
                try:
                    facts = self._cut(item, path)
                except ItemError as error:
                    failures[item.id] = Failure(item.id, error.kind, error.message, error.retryable)
                    continue
                sample = sample_of(item, facts, path)
                samples[item.id] = dataclasses.replace(sample, video=b"")  # remembered without its bytes
                yield sample
        if not samples:
            raise NothingLeft

    def _cut(self, item: Item[Planned], target: Path) -> "CutFacts":
        from builder.media.cut import CutSettings, Span, cut

        clip = item.get(Clip)
        video = item.get(SourceVideo)
        source = open_media(video, self.context)
        scan = item.get(Scanned)
        sound = scan.decode_errors == scan.unseen_frames == 0
        span = Span(clip.start_pts, clip.end_pts, clip.frames, clean=sound)
        how = CutSettings(self.cut, self.max_loss_s, self.crf, self.preset)
        with telling_of(source, shown_path(video)):
            return self.context.guard.call(cut, source, target, span, how, wall_s=self.wall_s, cpu_s=self.wall_s)


class NothingLeft(Exception):
    """Every clip of a shard failed: there is no shard to write."""


def packed(plan: Planned, sample: "Sample", written: "ShardWritten | None") -> Packed:
    assert written is not None  # a clip that did not fail is in a shard
    members = [dataclasses.asdict(m) for m in written.members if m.key == plan.clip_id]
    return Packed(
        clip_id=plan.clip_id,
        shard=plan.shard,
        shard_size_bytes=written.size_bytes,
        shard_sha256=written.sha256,
        members=json.dumps(members),
        metadata=json.dumps(sample.metadata),
        captions=json.dumps(sample.captions),
    )


def sample_of(item: Item[Planned], facts: "CutFacts", path: Path) -> "Sample":
    """The sample: metadata as `open_sora_dataset.METADATA` lists them, and the captions, first the configured one."""
    from shards.write import Sample

    captions = item.all(Caption)
    first = next(iter(captions.values()))
    metadata = origin(item.get(SourceVideo)) | span(item.get(Clip), facts) | making(facts, first)
    if scores := score_values(item):
        metadata["scores"] = scores
    texts = {table.partition(".")[2]: caption.text for table, caption in captions.items()}
    metadata["captioner"] = next(iter(texts))
    return Sample(item.id, metadata, path, texts)


def origin(video: SourceVideo) -> dict[str, Any]:
    names = (
        "video_id",
        "source",
        "site_id",
        "page_url",
        "author",
        "author_url",
        "title",
        "license",
        "license_url",
    )
    return {name: getattr(video, name) for name in names} | {
        "media_url": video.url,
        "source_sha256": video.sha256,
    }


def span(clip: Clip, facts: "CutFacts") -> dict[str, Any]:
    """What of the source is in the clip as written; its id still names the span as planned."""
    return {
        "clip_id": clip.clip_id,
        "start_s": clip.start_s + facts.head_s,
        "end_s": clip.end_s - facts.tail_s,
        "start_frame": clip.start_frame + facts.head_frames,
        "end_frame": clip.end_frame - facts.tail_frames,
        "lost_s": facts.head_s + facts.tail_s,
    }


def making(facts: "CutFacts", caption: Caption) -> dict[str, Any]:
    cut = {name: getattr(facts, name) for name in ("duration_s", "fps", "frames", "width", "height")}
    return cut | {
        "cut": facts.method,
        "cut_settings": facts.settings,
        "caption_model": caption.model,
        "caption_revision": caption.revision,
        "caption_prompt": caption.prompt,
    }


def score_values(item: Item[Any]) -> dict[str, float]:
    """`<scorer>.<field>` of every score; a clip without one of them was not kept, or the run judges without it."""
    return {
        f"{table.partition('.')[2]}.{name}": value
        for table, row in item.all(Score).items()
        for name, value in row.values().items()
    }
