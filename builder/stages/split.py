"""Split: which shots become clips. A policy on frame numbers; nothing is decoded and nothing is written but rows."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from builder.digests import short_hash
from builder.errors import ConfigError, Filtered
from builder.frames import Timeline
from builder.records import Clip, Record, Scanned, Shots, SourceVideo
from builder.stage import Item, Stage, settings
from builder.stages.fetch import shown_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Span = tuple[int, int]  # frames first <= f < last
LEAST_FRAMES = 2  # one is a picture: it has no motion
EPSILON_S = 1e-6  # timestamps are rounded to the time base; a clip of exactly min_s stays


@settings
class Split(Stage[Shots, Clip]):
    """One clip a shot, of at least `min_s` seconds; a shot longer than `max_s` is cut into equal clips of at most that.

    Frames of a transition are in no shot. `trim_frames` more are left out wherever a shot borders on one, in case a
    detector is off by as much. Of a video listed with spans, clips lie within those: what is left of each shot in each
    span is taken for a shot. So it is on both sides of damaged frames, which are in no clip.
    """

    name: ClassVar[str] = "split"
    reads: ClassVar[str] = "detect"
    writes: ClassVar[type[Clip]] = Clip
    grain: ClassVar[str] = "clip"
    version: ClassVar[int] = 3

    min_s: Annotated[float, Field(ge=0)] = 1.0
    max_s: Annotated[float, Field(gt=0)] = 20.0
    trim_frames: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.min_s > self.max_s:
            raise ConfigError(f"min_s {self.min_s:g} is more than max_s {self.max_s:g}: no clip could be kept")

    @property
    def joins(self) -> tuple[str, ...]:
        return ("scan", "merge")

    def digest(self, row: Record) -> str:
        """Of the video only the spans count: a licence set right chooses no clip anew."""
        return short_hash([row.starts_s, row.ends_s]) if isinstance(row, SourceVideo) else row.digest()

    def each(self, item: Item[Shots]) -> Sequence[Clip]:
        scan, video = item.get(Scanned), item.get(SourceVideo)
        timeline = Timeline(scan, self.context.storage)
        try:
            return self.clips(item.row, scan, timeline, wanted(video, timeline.times_s))
        except Filtered as error:
            raise Filtered(error.kind, f"{shown_path(video)}: {error.message}") from None

    def clips(self, shots: Shots, scan: Scanned, timeline: Timeline, within: Sequence[Span]) -> list[Clip]:
        """The clips of one video.

        Raises:
            Filtered: none is long enough.
        """
        times_s, allowed = timeline.times_s, overlaps(within, timeline.intact)
        parts = list(self._parts(shots, allowed, scan.frames))
        spans = [(n, span) for n, part in parts for span in divided(part, self.min_s, self.max_s, times_s)]
        clips = [clip_of(scan, timeline, shot, span) for shot, span in spans]
        kept = [c for c in clips if c.duration_s >= self.min_s - EPSILON_S and c.frames >= LEAST_FRAMES]
        if not kept:
            longest = max((times_s[last] - times_s[first] for _, (first, last) in parts), default=0.0)
            where = " inside the listed spans" if list(within) != [(0, scan.frames)] else ""
            less = ", without its damaged frames," if scan.damaged_frames else ""
            text = f"the longest shot{where}{less} is {longest:.2f} s; min_s is {self.min_s:g}"
            raise Filtered("too_short", text)
        return kept

    def _parts(self, shots: Shots, allowed: Sequence[Span], end: int) -> Iterator[tuple[int, Span]]:
        """What may be used of each shot, with its number."""
        for number, shot in enumerate(trimmed(shots, self.trim_frames, end)):
            yield from ((number, part) for part in overlaps([shot], allowed))


def trimmed(shots: Shots, frames: int, end: int) -> Iterator[Span]:
    """The shots of a video of `end` frames, without `frames` at each edge that may border on a transition.

    That is no edge of the video, and none where one shot goes on as the next and the detector saw no transition.
    """
    following = [*zip(shots.starts[1:], shots.kinds[1:], strict=True), (end, "")]
    for first, last, kind, after in zip(shots.starts, shots.ends, shots.kinds, following, strict=True):
        yield first + (frames if first > 0 and kind else 0), last - (frames if (last, "") != after else 0)


def overlaps(some: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """What spans of the one kind have in common with spans of the other, sorted, each once."""
    common = {(max(a, c), min(b, d)) for a, b in some for c, d in others}
    return sorted((first, last) for first, last in common if first < last)


def divided(span: Span, min_s: float, max_s: float, times_s: "NDArray[np.float64]") -> Iterator[Span]:
    """Pieces of equal length, of at most `max_s`. Where those were shorter than `min_s`, or frames are shown for too
    unequal times, pieces as long as may be, and a rest."""
    first, last = span
    start_s, length_s = times_s[first], times_s[last] - times_s[first]
    least = max(1, math.ceil(length_s / max_s - EPSILON_S))
    for pieces in (least, least + 1):  # one more when rounding to whole frames made a piece too long
        if pieces > 1 and length_s / pieces < min_s - EPSILON_S:
            break
        inner_s = [start_s + length_s * n / pieces + EPSILON_S for n in range(1, pieces)]
        edges = [first, *(int(n) - 1 for n in times_s.searchsorted(inner_s, "right")), last]
        if all(a < b and times_s[b] - times_s[a] <= max_s + EPSILON_S for a, b in pairwise(edges)):
            yield from pairwise(edges)
            return
    while first < last:
        fits = int(times_s.searchsorted(times_s[first] + max_s + EPSILON_S, "right")) - 1
        yield first, (first := min(max(fits, first + 1), last))


def wanted(video: SourceVideo, times_s: "NDArray[np.float64]") -> list[Span]:
    """The listed spans: the frames that begin to be shown within them."""
    if not video.starts_s:
        return [(0, len(times_s) - 1)]
    edges_s = zip(video.starts_s, video.ends_s, strict=True)
    first_not_before = [times_s[:-1].searchsorted([t - EPSILON_S for t in pair]) for pair in edges_s]
    return [(int(first), int(last)) for first, last in first_not_before]


def clip_of(scan: Scanned, timeline: Timeline, shot: int, span: Span) -> Clip:
    """The clip of a span. Its id names the video and the frames, so equal spans are equal clips."""
    first, last = span
    return Clip(
        clip_id=f"{scan.video_id}-{first:07d}-{last:07d}",
        video_id=scan.video_id,
        start_frame=first,
        end_frame=last,
        start_pts=int(timeline.pts[first]),
        end_pts=int(timeline.pts[last]),
        start_s=float(timeline.times_s[first]),
        end_s=float(timeline.times_s[last]),
        fps=scan.fps,
        width=scan.width,
        height=scan.height,
        shot=shot,
    )
