"""Cut a clip again of which only the numbers and times of its frames are known, not their timestamps in the file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from builder.errors import ItemError
from builder.media.cut import CutFacts, CutSettings, PacketIndex, Span, cut, indexed

NEAR_S = 1e-4


@dataclass(frozen=True)
class Frames:
    """Frames start <= f < end of a video, shown at start_s <= t < end_s after its first one."""

    start: int
    end: int
    start_s: float
    end_s: float


def cut_again(source: Path, target: Path, frames: Frames, settings: CutSettings) -> CutFacts | None:
    """As `cut`; None where packets do not tell which frames those are, and all must be decoded to know.

    Raises the ItemErrors of `cut`.
    """
    packets = indexed(source)
    span = _span(packets, frames)
    if span is None:
        return None
    try:
        return cut(source, target, span, settings, packets)
    except ItemError as error:
        if error.kind == "cut_mismatch":  # more packets than frames
            return None
        raise


def _span(packets: PacketIndex, frames: Frames) -> Span | None:
    """A packet is a frame where none is hidden, leads its key frame, or lacks a timestamp."""
    shown = np.sort(packets.pts)
    if len(packets.barriers) or len(shown) < frames.end or frames.start >= frames.end:
        return None
    base = packets.time_base
    lasts = round((frames.end_s - frames.start_s) / base)
    start = int(shown[frames.start])
    end = int(shown[frames.end]) if frames.end < len(shown) else start + lasts
    times_s = [float((pts - int(shown[0])) * base) for pts in (start, end)]
    if abs(times_s[0] - frames.start_s) > NEAR_S or abs(times_s[1] - frames.end_s) > NEAR_S:
        return None
    return Span(start, end, frames.end - frames.start)
