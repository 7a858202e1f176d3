"""Buckets of clips that a batch can hold together: by aspect, resolution and length, as they are in their source."""

import math
from collections.abc import Sequence
from typing import Literal

from builder.records import Clip

GroupBy = Literal["aspect", "resolution", "length"]
ASPECTS = ((21, 9), (16, 9), (4, 3), (1, 1), (3, 4), (9, 16), (9, 21))
SHORT_SIDES = (360, 480, 720, 1080, 1440, 2160)


def bucket_of(clip: Clip, by: Sequence[GroupBy]) -> str:
    """`16x9_720p_4s`: the nearest aspect, the largest usual short side it reaches, the power of two of its seconds."""
    return "_".join(NAMES[name](clip) for name in by)


def _aspect(clip: Clip) -> str:
    shape = math.log(clip.width / clip.height)
    wide, high = min(ASPECTS, key=lambda pair: abs(math.log(pair[0] / pair[1]) - shape))
    return f"{wide}x{high}"


def _resolution(clip: Clip) -> str:
    short = min(clip.width, clip.height)
    return f"{max((side for side in SHORT_SIDES if side <= short), default=0)}p"


def _length(clip: Clip) -> str:
    return f"{2 ** max(0, math.floor(math.log2(clip.duration_s)))}s" if clip.duration_s >= 1 else "0s"


NAMES = {"aspect": _aspect, "resolution": _resolution, "length": _length}
