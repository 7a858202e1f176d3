"""What `shards.stream.stream` was asked for; the words are explained there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from shards.clips import Sampling
from shards.order import Ints, Shuffle, Tail

Unit: TypeAlias = dict[str, Any]
"""A sample or a batch."""


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
