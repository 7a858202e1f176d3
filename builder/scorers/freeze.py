"""Freeze: how long the picture stands still, and whether stills are shown one after another."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from builder.frames import Frames, runs
from builder.media.evidence import THUMB_BYTES
from builder.records import Score
from builder.stage import settings
from builder.stages.score import Scorer

Span = tuple[int, int]  # frames first <= f < end

# Levels of a thumbnail. What encoders make of a still (measured: H.264, MPEG-4 and VP9 at 300 to 600 kbit/s) against
# the least that moves in real clips, and the noise of a camera on an empty road (which changes 0.3 a frame):
FAINT, QUIET = 0.5, 6.0  # mean change from frame to frame, and the most that a pixel changes
LEAST_STEPS = 3  # of those in a row
SILENT = 0.2  # mean change, in the median over frames
DRIFT = 8.0  # the most that a pixel changes within DRIFT_S, in the median: slow motion adds up, coding does not
DRIFT_S = 0.5
ANEW, ANEW_MOST = 2.5, 24.0  # mean and most change by which a key frame shows the same still anew


@dataclass(frozen=True, slots=True)
class FreezeScore(Score):
    """From the thumbnails of all frames; as FFmpeg's freezedetect, but blind to coding and not to small things.

    Attributes:
        share: share of the time in which the picture stands still, 0 never ... 1 always.
        longest_s: the longest that it does, in seconds; 0 if never.
        slideshow: `share` if it stands still on two or more different pictures, else 0.
    """

    share: float
    longest_s: float
    slideshow: float


@settings
class Freeze(Scorer[FreezeScore]):
    """Stills of at least `least_s`. Stills that are zoomed or panned over move. About 3 ms a clip."""

    plugin: ClassVar[str] = "freeze"
    writes: ClassVar[type[FreezeScore]] = FreezeScore

    least_s: Annotated[float, Field(gt=0)] = 0.5

    def score(self, frames: Frames) -> FreezeScore:
        clip, evidence, thumbs = frames.clip, frames.evidence, frames.thumbs()
        pts = np.append(evidence.pts[clip.start_frame : clip.end_frame], clip.end_pts)
        times_s = (pts - pts[0]) * (clip.duration_s / (pts[-1] - pts[0]))
        changes = evidence.diff[clip.start_frame + 1 : clip.end_frame]
        lag = max(1, round(DRIFT_S * clip.fps))
        still = [span for span in quiet(thumbs, changes) if stands(thumbs, changes, span, lag)]
        within = {frame for span in still for frame in range(*span)}
        alone = [n for n in np.flatnonzero(np.diff(times_s) >= self.least_s).tolist() if n not in within]
        found = joined(sorted([*still, *((n, n + 1) for n in alone)]), thumbs)
        lasting = [(a, b) for a, b in found if times_s[b] - times_s[a] >= self.least_s]
        lengths_s = [float(times_s[b] - times_s[a]) for a, b in lasting]
        share = min(1.0, sum(lengths_s) / clip.duration_s)
        differ = any(not alike(thumbs[a[0]], thumbs[b[0]]) for a, b in pairwise(lasting))
        return FreezeScore(clip.clip_id, share, max(lengths_s, default=0.0), share if differ else 0.0)


def quiet(thumbs: NDArray[Any], changes: NDArray[Any]) -> Iterator[Span]:
    """Longest spans within which no pixel changes much from frame to frame."""
    steps = changes <= FAINT
    for i in np.flatnonzero(steps).tolist():
        steps[i] = cv2.norm(thumbs[i], thumbs[i + 1], cv2.NORM_INF) <= QUIET
    yield from ((first, end + 1) for first, end in runs(steps) if end - first >= LEAST_STEPS)


def stands(thumbs: NDArray[Any], changes: NDArray[Any], span: Span, lag: int) -> bool:
    """Whether what is left within a quiet span is coding: neither noise of a camera nor slow motion."""
    first, end = span
    apart = min(lag, end - first - 1)
    pairs = range(first, end - apart, max(1, apart // 4))
    drift = [cv2.norm(thumbs[i], thumbs[i + apart], cv2.NORM_INF) for i in pairs]
    return float(np.median(changes[first : end - 1])) <= SILENT and float(np.median(drift)) <= DRIFT


def joined(spans: list[Span], thumbs: NDArray[Any]) -> list[Span]:
    """Spans one after the other that show the same are one."""
    found: list[Span] = []
    for first, end in spans:
        if found and found[-1][1] == first and alike(thumbs[first - 1], thumbs[first]):
            found[-1] = (found[-1][0], end)
        else:
            found.append((first, end))
    return found


def alike(one: NDArray[Any], other: NDArray[Any]) -> bool:
    mean = cv2.norm(one, other, cv2.NORM_L1) / THUMB_BYTES
    return mean <= ANEW and cv2.norm(one, other, cv2.NORM_INF) <= ANEW_MOST
