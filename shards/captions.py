"""Whose caption a sample comes with."""

import itertools
from collections.abc import Mapping, Sequence


def weights_of(captions: str | Mapping[str, float] | None, captioners: Sequence[str]) -> dict[str, float]:
    """Captioner -> weight. ValueError for one that the dataset does not have."""
    asked = {captions or captioners[0]: 1.0} if not isinstance(captions, Mapping) else dict(captions)
    if unknown := sorted(asked.keys() - set(captioners)):
        raise ValueError(f"no captions of {', '.join(unknown)}; there are: {', '.join(captioners)}")
    if not asked or min(asked.values()) < 0 or not 0 < sum(asked.values()) < float("inf"):
        raise ValueError(f"captions need weights of which none is negative and one is not 0, got {captions!r}")
    return asked


def chosen(captions: Mapping[str, float], chance: int, captioners: Sequence[str]) -> tuple[str, str]:
    """A captioner by its weight, and the member with its text. The low half of `chance` decides."""
    if len(captions) == 1:
        (name,) = captions
        return name, "txt" if name == captioners[0] else f"{name}.txt"
    sums = list(itertools.accumulate(captions.values()))
    place = (chance & 0xFFFFFFFF) / 2**32 * sums[-1]
    name = next(name for name, total in zip(captions, sums, strict=True) if place < total)
    return name, "txt" if name == captioners[0] else f"{name}.txt"
