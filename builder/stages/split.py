"""Split: which shots become clips. A policy on frame numbers; nothing is decoded and nothing is written but rows."""

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field

from builder.errors import ConfigError, Filtered
from builder.frames import open_evidence
from builder.records import Clip, Record, Scanned, Shots, SourceVideo, short_hash
from builder.stage import Item, Stage, settings


@settings
class Split(Stage[Shots, Clip]):
    """One clip a shot, of at least `min_s` seconds; a shot longer than `max_s` is cut into equal clips of at most that.

    `trim_frames` are left out at both ends of a shot that borders on another, where a transition may reach in. Of a
    video listed with spans, clips lie within those: what is left of each shot in each span is taken for a shot.
    """

    name: ClassVar[str] = "split"
    reads: ClassVar[str] = "detect"
    writes: ClassVar[type[Clip]] = Clip
    grain: ClassVar[str] = "clip"
    version: ClassVar[int] = 2

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
        scan, shots = item.get(Scanned), item.row
        evidence = open_evidence(self.context.storage, scan.evidence)
        ends = [*(int(p) for p in evidence.pts), scan.end_pts]
        clip = partial(clip_of, scan, ends)
        wanted = wanted_frames(item.get(SourceVideo), scan, ends)
        clips = [clip(a, b) for a, b in self._spans(shots, scan, wanted)]
        kept = [c for c in clips if c.duration_s >= self.min_s - EPSILON_S and c.frames >= LEAST_FRAMES]
        if not kept:
            longest = max((c.duration_s for c in clips), default=0.0)
            where = " inside the listed spans" if item.get(SourceVideo).starts_s else ""
            text = f"longest shot of {scan.video_id}{where} is {longest:.2f} s; min_s is {self.min_s:g}"
            raise Filtered("too_short", text)
        return kept

    def _spans(self, shots: Shots, scan: Scanned, wanted: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for start, end in zip(shots.starts, shots.ends, strict=True):
            first = start + (self.trim_frames if start > 0 else 0)
            last = end - (self.trim_frames if end < scan.frames else 0)
            inside = [(max(first, a), min(last, b)) for a, b in wanted]
            for a, b in sorted({(a, b) for a, b in inside if b > a}):
                yield from self._shorten(a, b, scan.fps)

    def _shorten(self, first: int, last: int, fps: float) -> Iterator[tuple[int, int]]:
        most = max(1, int(self.max_s * fps + EPSILON_S))
        pieces = -(-(last - first) // most)
        edges = [first + (last - first) * i // pieces for i in range(pieces + 1)]
        yield from itertools.pairwise(edges)


LEAST_FRAMES = 2  # one is a picture: it has no motion
EPSILON_S = 1e-6  # timestamps are rounded to the time base; a clip of exactly min_s stays


def wanted_frames(video: SourceVideo, scan: Scanned, pts: Sequence[int]) -> list[tuple[int, int]]:
    """The listed spans, in frames first <= f < last: those that begin to be shown within the span."""
    if not video.starts_s:
        return [(0, scan.frames)]
    base = Fraction(scan.time_base)
    shown_s = [float((t - pts[0]) * base) for t in pts[: scan.frames]]
    spans = zip(video.starts_s, video.ends_s, strict=True)
    return [tuple(bisect_left(shown_s, t - EPSILON_S) for t in span) for span in spans]  # type: ignore[misc]


def clip_of(scan: Scanned, pts: Sequence[int], first: int, last: int) -> Clip:
    """The clip of frames first <= f < last. Its id names the video and the frames, so equal spans are equal clips."""
    numerator, denominator = (int(n) for n in scan.time_base.split("/"))
    start_s, end_s = ((pts[n] - pts[0]) * numerator / denominator for n in (first, last))
    return Clip(
        clip_id=f"{scan.video_id}-{first:07d}-{last:07d}",
        video_id=scan.video_id,
        start_frame=first,
        end_frame=last,
        start_pts=pts[first],
        end_pts=pts[last],
        start_s=start_s,
        end_s=end_s,
        fps=scan.fps,
        width=scan.width,
        height=scan.height,
    )
