"""Pack: cut each planned clip out of its source and write the shard, one tar a part of the plan."""

import dataclasses
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from builder import releases
from builder.digests import short_hash
from builder.errors import ConfigError, ItemError, RunError
from builder.records import Clip, Failure, Packed, Planned, Record, Scanned, SourceVideo
from builder.samples import Corrected, is_sound, sample_of
from builder.stage import Item, Stage, execution, settings
from builder.stages.fetch import open_media, shown_path, telling_of
from builder.storage import memory_file

if TYPE_CHECKING:
    from builder.media.cut import CutFacts
    from builder.media.view import Box, View
    from shards.write import Member, Sample, ShardWritten

DATASET = releases.DATASET
PROFILES = Path(__file__).parents[1] / "presets" / "pack"
Even = Annotated[int, Field(ge=16, multiple_of=2)]
IN_MEMORY = 64 << 20  # bytes a clip has of its source, up to which it is cut in memory: a disk would write it twice


@settings
class Pack(Stage[Planned, Packed]):
    """With `video = "source"` a clip's packets are copied where that is exact in every decoder, and encoded (H.264,
    `crf`) where not; with `"h264"` all are encoded.

    A copy begins at a key frame and ends where no frame needs a later one, so it can lack the clip's first and last
    frames: where that would be more than `max_loss_s` seconds it is encoded, or, with `copy_only`, lost (a clip without
    a usable key frame is then a failure). Clips are encoded too where something else is asked for than they have: the
    `crop` that scorer `text` or `borders` proposes, a short side of at most `max_short_side` pixels, a `size` (of the
    middle of the picture), `fps` by resampling. `audio = "copy"` takes packets of the first sound along. `profile` sets
    what is not set here. A clip that takes longer than `wall_s` is a failure.
    """

    name: ClassVar[str] = "pack"
    reads: ClassVar[str] = "plan"
    writes: ClassVar[type[Packed]] = Packed
    grain: ClassVar[str] = "shard"
    atomic: ClassVar[bool] = True
    pinned: ClassVar[bool] = True  # `Planned.covers` is the digest of all that is joined here

    version: ClassVar[int] = 3

    video: Literal["source", "h264"] = "source"
    copy_only: bool = False
    max_loss_s: Annotated[float, Field(ge=0)] = 0.2
    crop: Literal["", "text", "borders"] = ""
    max_short_side: Annotated[int, Field(ge=0)] = 0
    size: tuple[Even, Even] | None = None
    fps: Annotated[float, Field(ge=0, le=240)] = 0.0
    audio: Literal["drop", "copy"] = "drop"
    crf: Annotated[int, Field(ge=0, le=51)] = 18
    preset: str = "veryfast"
    profile: str = execution(default="")  # of builder/presets/pack; it has become the settings above
    wall_s: float = execution(default=600.0)
    scores: tuple[str, ...] = execution(default=())
    captions: tuple[str, ...] = execution(default=())
    corrected: Corrected = field(default_factory=dict, metadata={"execution": True})  # `Planned.covers` counts them

    def __post_init__(self) -> None:
        asked = [name for name in ("crop", "max_short_side", "size", "fps") if getattr(self, name)]
        if self.copy_only and (self.video == "h264" or asked):
            raise ConfigError(f"copy_only never encodes, {', '.join(asked) or 'video = h264'} needs that; drop one")
        if self.size and self.max_short_side:
            raise ConfigError("size and max_short_side both say how large a clip is; drop one")
        if self.scores and self.crop and f"score.{self.crop}" not in self.scores:
            raise ConfigError(
                f"[pack] crop: the scorer {self.crop!r} is off; write [score.{self.crop}] into build.toml"
            )

    def check_crop(self) -> None:
        """Once it is known which scorers are on.

        Raises:
            ConfigError: the one that proposes the crop is off.
        """
        if self.crop and f"score.{self.crop}" not in self.scores:
            raise ConfigError(f"[pack] crop: scorer {self.crop!r} is off; write [score.{self.crop}] into build.toml")

    @property
    def joins(self) -> tuple[str, ...]:
        return ("split", "scan", "merge", *self.scores, *self.captions)

    @property
    def made(self) -> str:
        """The digest of what decides how a sample is made of its rows, for any version of this program."""
        from open_sora_dataset import METADATA

        return short_hash([self.chosen(), list(METADATA.items())])

    def files(self, row: Packed) -> Mapping[str, int]:
        return {f"{DATASET}/{row.shard}": row.shard_size_bytes}

    def batch(self, items: Sequence[Item[Planned]]) -> list[Sequence[Packed] | Failure]:
        from shards.write import write_shard

        if not items:
            return []
        storage, shard = self.context.storage, items[0].row.shard
        closed = releases.rows_of(storage, shard) if releases.is_closed(storage, shard) else {}
        if closed and storage.intact(f"{DATASET}/{shard}", next(iter(closed.values())).shard_size_bytes):
            return [[as_packed(closed[item.id])] for item in items]
        samples: dict[str, Sample] = {}
        failures: dict[str, Failure] = {}
        with storage.scratch(".tar") as tar:
            written = None
            with suppress(NothingLeft):
                written = write_shard(tar, self._samples(items, samples, failures))
            self._check_unchanged(shard, closed, written)
            if written is None:
                storage.remove(f"{DATASET}/{shard}")
                return [failures[item.id] for item in items]
            storage.adopt(tar, f"{DATASET}/{shard}")
        members: dict[str, list[Member]] = {}
        for member in written.members:
            members.setdefault(member.key, []).append(member)
        return [failures.get(i.id) or [packed(i.row, samples[i.id], written, members[i.id])] for i in items]

    def _check_unchanged(self, shard: str, closed: Mapping[str, Packed], written: "ShardWritten | None") -> None:
        """A published shard whose file is lost may be made anew if that gives the same bytes."""
        if any(written is None or row.shard_sha256 != written.sha256 for row in closed.values()):
            repo, commit = (releases.releases(self.context.storage)[-1].published or [("its repository", "main")])[-1]
            folder = self.context.storage.path(DATASET)
            raise RunError(
                f"{shard} was published and its file is gone; packed anew it has other bytes (another version of a "
                f"library?). Get it back: hf download {repo} {shard} --repo-type dataset --revision {commit} "
                f"--local-dir {folder}"
            )

    def _samples(
        self, items: Sequence[Item[Planned]], samples: "dict[str, Sample]", failures: dict[str, Failure]
    ) -> "Iterator[Sample]":
        """Cut clips one by one, so that a shard is never in memory; what fails is noted and left out."""
        for item in items:
            with self._room_for(item) as path:
                try:
                    facts = self._cut(item, path)
                except ItemError as error:
                    failures[item.id] = Failure(item.id, error.kind, error.message, error.retryable)
                    continue
                sample = sample_of(item, facts, path, self.corrected)
                samples[item.id] = dataclasses.replace(sample, video=b"")  # remembered without its bytes
                yield sample
        if not samples:
            raise NothingLeft

    @contextmanager
    def _room_for(self, item: Item[Planned]) -> Iterator[Path]:
        """Where to cut a clip to: memory that the decoder process can open too, or the disk for a large one."""
        share = item.get(SourceVideo).size_bytes * item.get(Clip).frames / item.get(Scanned).frames
        if share > IN_MEMORY:
            with self.context.storage.scratch(".mp4") as path:
                yield path
            return
        with memory_file() as (path, _):
            yield path

    def _cut(self, item: Item[Planned], target: Path) -> "CutFacts":
        from builder.media.cut import CutSettings, Mode, Span, cut

        clip = item.get(Clip)
        video = item.get(SourceVideo)
        source = open_media(video, self.context)
        scan = item.get(Scanned)
        size, view = (clip.width, clip.height), self._view(item)
        span = Span(clip.start_pts, clip.end_pts, clip.frames, clean=is_sound(scan), view=view, size=size)
        mode: Mode = "copy" if self.copy_only else "encode" if self.video == "h264" else "auto"
        how = CutSettings(mode, self.max_loss_s, self.crf, self.preset, fps=self.fps, sound=self.audio == "copy")
        with telling_of(source, shown_path(video)):
            return self.context.guard.call(cut, source, target, span, how, wall_s=self.wall_s, cpu_s=self.wall_s)

    def _view(self, item: Item[Planned]) -> "View | None":
        from builder.media.view import view_of

        clip, aspect = item.get(Clip), Fraction(item.get(Scanned).sar)
        crop = crop_of(item.joined.get(f"score.{self.crop}"))
        return view_of((clip.width, clip.height), aspect, crop, self.max_short_side, self.size)


def crop_of(score: Record | None) -> "Box | None":
    """The crop that a score proposes; None where there is none, as where a clip has no such score."""
    edges = [int(getattr(score, name)) for name in ("s_x", "e_x", "s_y", "e_y")] if score else []
    return (edges[0], edges[1], edges[2], edges[3]) if any(edges) else None


def with_profile(values: Mapping[str, Any]) -> dict[str, Any]:
    """The section [pack], what it does not say taken from its `profile`.

    Raises:
        ConfigError: there is no such profile.
    """
    name = values.get("profile", "")
    known = {path.stem: path for path in sorted(PROFILES.glob("*.toml"))}
    if name and name not in known:
        raise ConfigError(f"[pack] no profile is called {name!r}; there are: {', '.join(known)}")
    own = tomllib.loads(known[name].read_text(encoding="utf-8"))["settings"] if name else {}
    return {**own, **values}


class NothingLeft(Exception):
    """Every clip of a shard failed: there is no shard to write."""


def as_packed(row: releases.Closed) -> Packed:
    return Packed(**{f.name: getattr(row, f.name) for f in dataclasses.fields(Packed)})


def packed(plan: Planned, sample: "Sample", written: "ShardWritten", members: "Sequence[Member]") -> Packed:
    return Packed(
        clip_id=plan.clip_id,
        shard=plan.shard,
        shard_size_bytes=written.size_bytes,
        shard_sha256=written.sha256,
        members=json.dumps([dataclasses.asdict(member) for member in members]),
        metadata=json.dumps(sample.metadata),
        captions=json.dumps(sample.captions),
    )
