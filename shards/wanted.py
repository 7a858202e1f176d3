"""What one can ask `shards.stream.stream` for, and what that means for the samples of a dataset."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from shards.captions import weights_of
from shards.catalog import Catalog
from shards.clips import Sampling, bucket_of
from shards.order import Ints, Shuffle, Tail
from shards.samples import Check

Unit: TypeAlias = dict[str, Any]
"""A sample or a batch."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of `stream`.

    What: `keep`, conditions as in `load`, looked up in the index: nothing is read of other samples. `captions`: a
    captioner, or weights for a mixture of several (default: the one of `txt`). `num_frames` at `fps` (frames a second
    of the clip's time; default: its own), from a random place, new in each epoch, or from its middle; shorter clips are
    left out. Of several `num_frames`, a clip gives the most it can. `decode=False`: `json`,
    `mp4` and `txt` are the bytes that stand in the shard.

    Batches: of `batch_size`, or single samples. With several `num_frames`, or `aspects` (width / height, each clip
    belongs to the nearest), a batch is of one length and aspect. `transform` changes a sample, in the worker; arrays of
    one shape are then stacked. `tail`: what becomes of samples that are no whole step for all ranks: repeat others,
    marked in `pad`; drop them; or let some ranks have fewer.

    Order: of `seed` and epoch alone, see `shards.order`; `shuffle=False` is that of the shards. `rank` of `world`:
    those of torch.distributed if it is initialised, else RANK and WORLD_SIZE, else the only one.

    Faults: a sample whose bytes are not those of the index, or that cannot be decoded, raises BadSampleError with shard
    and key; with `on_error="skip"` the last good one takes its place, marked in `pad` and counted in `skipped`. A store
    that does not answer is always an OSError. `check`: contents the first time a process reads them, always, or never.
    `buffer_bytes` bounds what a process fetches ahead from the Hub or a web server.
    """

    split: str = "train"
    revision: str | None = None
    token: str | bool | None = None
    keep: Sequence[str] = ()
    captions: str | Mapping[str, float] | None = None
    decode: bool = True
    num_frames: int | Sequence[int] | None = None
    fps: float | None = None
    start: Literal["random", "center"] = "random"
    aspects: Sequence[float] = ()
    batch_size: int | None = None
    tail: Tail = "pad"
    shuffle: Shuffle | bool = True
    seed: int = 0
    rank: int | None = None
    world: int | None = None
    output: Literal["torch", "numpy"] = "torch"
    transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    on_error: Literal["raise", "skip"] = "raise"
    check: Check = "first"
    buffer_bytes: int = 1 << 28

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        return (self.num_frames,) if isinstance(self.num_frames, int) else tuple(self.num_frames or ())

    @cached_property
    def sampling(self) -> Sampling:
        return Sampling(self.lengths, self.fps or 0.0, self.start)

    def check_values(self) -> None:
        """ValueError for what cannot be."""
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                raise ValueError(f"{name} must be one of {get_args(hint)}, got {getattr(self, name)!r}")
        if any(n < 1 for n in (*self.lengths, 1 if self.batch_size is None else self.batch_size)):
            raise ValueError("num_frames and batch_size must be positive")
        if self.fps is not None and not self.fps > 0:
            raise ValueError("fps must be positive")


@dataclass(frozen=True)
class Wanted:
    """`length`, `bucket` and `aspect` have an entry for each sample."""

    captions: Mapping[str, float]
    sampling: Sampling | None
    length: Ints
    bucket: Ints | None
    aspect: Ints
    aspects: tuple[float, ...]
    batch_size: int | None
    tail: Tail
    shuffle: Shuffle | None
    rank: int
    world: int
    tensors: bool
    transform: Callable[[Unit], Unit] | None
    on_error: Literal["raise", "skip"]

    @cached_property
    def chancy(self) -> bool:
        """Whether anything about a single sample is drawn by lot."""
        return len(self.captions) > 1 or (self.sampling is not None and self.sampling.start == "random")


def wanted_of(asked: Asked, catalog: Catalog, part: tuple[int, int]) -> Wanted:
    """For rank `part[0]` of `part[1]`; the catalog holds no clip that is too short."""
    length = asked.sampling.length(catalog)
    several = len(asked.lengths) > 1
    bucket, aspect = bucket_of(catalog, length if several else length * 0, asked.aspects)
    return Wanted(
        captions=weights_of(asked.captions, catalog.captioners),
        sampling=asked.sampling if asked.decode else None,
        length=length,
        bucket=bucket if asked.batch_size and (several or asked.aspects) else None,
        aspect=aspect,
        aspects=tuple(asked.aspects),
        batch_size=asked.batch_size,
        tail=asked.tail,
        shuffle=(Shuffle() if asked.shuffle else None) if isinstance(asked.shuffle, bool) else asked.shuffle,
        rank=part[0],
        world=part[1],
        tensors=asked.output == "torch",
        transform=asked.transform,
        on_error=asked.on_error,
    )


def digest_of(wanted: Wanted, catalog: Catalog, index_sha256: str) -> str:
    """The same where a count means the same samples."""
    told = [index_sha256, repr(wanted.shuffle), hashlib.sha256(catalog.row.tobytes()).hexdigest()]
    if wanted.bucket is not None:
        told += [hashlib.sha256(wanted.bucket.tobytes()).hexdigest(), str(wanted.batch_size)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
