"""Which of the clips that show the same is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Generic, TypeVar

import numpy as np

K = TypeVar("K", int, str)  # what names a clip


@dataclass(frozen=True)
class Shown(Generic[K]):
    """A better clip, and the moments of this one that it shows: first <= m < last."""

    by: K
    first: int
    last: int


@dataclass(frozen=True)
class Choice(Generic[K]):
    """The clip that is kept in the place of another, and what share of the other those kept in its place show."""

    kept: K
    covered: float


def choose(
    better: Mapping[K, Sequence[Shown[K]]],
    lengths: Mapping[K, int],
    least: float,
    fit: Callable[[K], bool] = lambda clip: True,
) -> dict[K, Choice[K]]:
    """For each clip that is left out, which one is kept: going from the best clip to the worst, one is left out if
    clips already kept show at least `least` of it. One that is not `fit` to be kept for other reasons stands for none.

    So two clips that are kept are never twins to that extent, and what is left out is a twin of what is kept for it,
    not of a twin of that: no chain joins what does not look alike. `better` has the better twins of every clip with
    some, the best first; `lengths` are in moments.
    """
    chosen: dict[K, Choice[K]] = {}
    for clip in TopologicalSorter({clip: [s.by for s in others] for clip, others in better.items()}).static_order():
        kept = [s for s in better.get(clip, ()) if s.by not in chosen and fit(s.by)]
        shown = np.zeros(lengths[clip], bool) if kept else np.zeros(1, bool)
        for span in kept:
            shown[span.first : span.last] = True
        if shown.mean() >= least:
            most = max(kept, key=lambda span: span.last - span.first)  # the first, and so the best, of several
            chosen[clip] = Choice(most.by, float(shown.mean()))
    return chosen
