"""Which of the clips that show the same is kept."""

from dataclasses import dataclass

import numpy as np

from builder.duplicates.match import Clips, Overlap, Twins


@dataclass(frozen=True)
class Choice:
    """The clip that is kept in the place of another, how they lie over each other, and what share of the other all
    that are kept in its place show."""

    kept: int
    overlap: Overlap
    covered: float


def choose(clips: Clips, found: Twins, least: float) -> dict[int, Choice]:
    """For each clip that is left out, which one is kept: going from the best clip to the worst, one is left out if
    clips already kept show at least `least` of it.

    So two clips that are kept are never twins to that extent, and what is left out is a twin of what is kept for it,
    not of a twin of that: no chain joins what does not look alike.
    """
    better: dict[int, list[tuple[int, Overlap]]] = {}
    for (a, b), overlap in found.items():
        better.setdefault(b, []).append((a, overlap))
    chosen: dict[int, Choice] = {}
    for clip, others in sorted(better.items()):
        kept = {a: overlap for a, overlap in others if a not in chosen}
        shown = np.zeros(clips.bounds[clip + 1] - clips.bounds[clip], bool)
        for overlap in kept.values():
            start = max(0, -overlap.offset)
            shown[start : start + overlap.shared] = True
        if kept and shown.mean() >= least:
            most = max(kept, key=lambda a: (kept[a].shared, -a))
            chosen[clip] = Choice(most, kept[most], float(shown.mean()))
    return chosen
