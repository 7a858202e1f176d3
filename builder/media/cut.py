"""Cut one clip: the source's own packets where they do, a new encoding where not. No sound, no metadata."""

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from builder.errors import ItemError
from builder.media.copy import copy
from builder.media.encode import Encoded, Recipe, encode
from builder.media.packets import CopyRange, PacketIndex, index, index_held
from builder.media.readable import Shown, shown
from builder.media.view import View, frames_of

__all__ = ["CutFacts", "CutSettings", "PacketIndex", "Span", "cut", "index"]

Mode = Literal["auto", "copy", "encode"]
LONGEST_GOP = 250
EPSILON_S = 1e-6
RATE_ROUNDED = 0.0006  # 23.976, 29.97, 59.94
JITTER_S = 0.001  # Matroska rounds timestamps to this


@dataclass(frozen=True)
class Span:
    """The frames with start_pts <= pts < end_pts, in the stream's time base, and how many `scan` saw there.

    `clean`: it decoded all of the video without an error. If it did not, a copy is decoded to be sure; if it did, and
    found `size` (upright), the first frame of a copy need not be. `view` is the part of the picture to show, if not all
    of it as it is.
    """

    start_pts: int
    end_pts: int
    frames: int
    clean: bool = False
    view: View | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class CutSettings:
    """How to cut. `copy` copies what it can, whatever is lost; `encode` encodes all; `auto` copies what loses little.

    A copy can lose what lies before the first key frame inside the span and behind the last frame that others do not
    need: `auto` accepts `max_loss_s` seconds together. `keyframe_s`: seconds between key frames of an encoded clip,
    for random access. `fps`: frames a second to resample to, 0 to leave them; a span that has just these is copied.
    With `sound`, packets of the source's sound go along.
    """

    mode: Mode = "auto"
    max_loss_s: float = 0.2
    crf: int = 18
    preset: str = "veryfast"
    keyframe_s: float = 1.0
    fps: float = 0.0
    sound: bool = False

    @property
    def rate(self) -> Fraction:
        """Of a film's 24000/1001, written as 23.976, that."""
        near = Fraction(round(self.fps * 1.001) * 1000, 1001)
        return near if self.fps and abs(near - self.fps) < RATE_ROUNDED else Fraction(str(self.fps))


@dataclass(frozen=True)
class CutFacts:
    """The clip as written; size as displayed. `settings`: how it was made, in words.

    `head_frames` and `tail_frames` of the span are not in it, `head_s` and `tail_s` seconds.
    """

    method: Literal["copy", "encode"]
    frames: int
    width: int
    height: int
    fps: float
    duration_s: float
    codec: str
    settings: str
    head_frames: int = 0
    tail_frames: int = 0
    head_s: float = 0.0
    tail_s: float = 0.0


def cut(source: Path, target: Path, span: Span, settings: CutSettings, packets: PacketIndex | None = None) -> CutFacts:
    """Write the frames of `span` to `target`, in place (give a temporary name; removed when it fails).

    `packets` is `indexed(source)`, for a caller that keeps it; the last one used is remembered anyway.
    Raises the ItemErrors of `open_video`, `no_copy` when the mode is `copy` and nothing can be copied, and
    `cut_mismatch` when not even encoding yields what `scan` counted.
    """
    packets = packets or indexed(source)
    try:
        if settings.mode == "encode":
            return _encoded(source, target, span, (settings, packets))
        copied = _copied(source, target, span, (settings, packets))
        if isinstance(copied, CutFacts):
            return copied
        if settings.mode == "auto":
            return _encoded(source, target, span, (settings, packets))
        what = f"{source}: frames from pts {span.start_pts} to {span.end_pts} cannot be copied: {copied}"
        raise ItemError("no_copy", f'{what}; set cut = "auto" to encode such clips, or leave the clip out')
    except BaseException:
        with suppress(PermissionError):  # memory, named by its descriptor, is its owner's
            target.unlink(missing_ok=True)
        raise


def indexed(source: Path) -> PacketIndex:
    """Its packets; those of the last one asked for are remembered, and it is kept open."""
    seen = source.stat()
    return _index_once(source, seen.st_size, seen.st_mtime_ns)


@lru_cache(maxsize=1)
def _index_once(source: Path, size_bytes: int, mtime_ns: int) -> PacketIndex:
    """Clips of one source tend to come in a row."""
    return index_held(source)


def _copied(source: Path, target: Path, span: Span, how: tuple[CutSettings, PacketIndex]) -> CutFacts | str:
    """The copy made, or why there is none."""
    settings, packets = how
    found = packets.copy_range(span.start_pts, span.end_pts, span.frames)
    if isinstance(found, str):
        return found
    if span.view or not _has_rate(packets, found, settings.rate):
        return "another size or rate is asked for"
    head_s = float((found.start_pts - span.start_pts) * packets.time_base)
    tail_s = float((span.end_pts - found.end_pts) * packets.time_base)
    if settings.mode == "auto" and head_s + tail_s > settings.max_loss_s + EPSILON_S:
        return f"{head_s + tail_s:.3f} s would be lost"
    heard = copy(source, target, packets, found, settings.sound)
    if heard is None:
        return "the packets were not found again"
    size = span.size if span.clean and packets.seekable else None  # other containers may lack a header of their own
    seen = shown(target, found.frames, thorough=not span.clean, size=size)
    if isinstance(seen, str):
        return seen
    said = "packets unchanged" + _lost_words(found, head_s, tail_s) + (f"; {heard}" if heard else "")
    return CutFacts(
        **_measures(found.frames, (found.end_pts - found.start_pts) * packets.time_base, seen),
        method="copy",
        settings=said,
        head_frames=found.head,
        tail_frames=found.tail,
        head_s=head_s,
        tail_s=tail_s,
    )


def _has_rate(packets: PacketIndex, found: CopyRange, rate: Fraction) -> bool:
    """Whether resampling would leave every frame where it is."""
    if not rate:
        return True
    pts = np.sort(packets.pts[found.packets.start : found.packets.stop])
    times_s = (pts[pts >= found.start_pts] - found.start_pts) * float(packets.time_base)
    return bool(np.all(np.abs(times_s - np.arange(len(times_s)) / float(rate)) <= JITTER_S))


def _measures(frames: int, duration: Fraction, seen: Shown) -> dict[str, Any]:
    width, height = seen.size
    sizes = {"frames": frames, "width": width, "height": height, "codec": seen.codec}
    return sizes | {"fps": float(frames / duration), "duration_s": float(duration)}


def _lost_words(found: CopyRange, head_s: float, tail_s: float) -> str:
    ends = [("start", found.head, head_s), ("end", found.tail, tail_s)]
    told = [f"{frames} frames ({lost_s:.3f} s) at the {end}" for end, frames, lost_s in ends if frames]
    return f"; left out: {' and '.join(told)}" if told else ""


def _encoded(source: Path, target: Path, span: Span, how: tuple[CutSettings, PacketIndex]) -> CutFacts:
    settings, packets = how
    seek_dts = packets.start_before(span.start_pts)
    duration = (span.end_pts - span.start_pts) * packets.time_base
    recipe = Recipe(_x264(packets, settings), span.view, settings.rate, settings.sound, packets.seekable)
    wanted = frames_of(duration, recipe.fps) if recipe.fps else span.frames
    made = Encoded()
    for begin in [seek_dts, None] if seek_dts is not None else [None]:
        made = encode(source, target, (span.start_pts, span.end_pts), begin, recipe)
        seen = shown(target, wanted, thorough=False) if made.seen == span.frames else ""
        if not isinstance(seen, str):
            lasts = wanted / recipe.fps if recipe.fps else duration
            measures = _measures(wanted, lasts, seen)
            return CutFacts(**measures, method="encode", settings=", ".join(_words(settings, recipe, made)))
    raise ItemError(
        "cut_mismatch",
        f"{source}: {span.frames} frames expected from pts {span.start_pts} to {span.end_pts}, {made.seen} found; "
        "the file changed or decodes differently each time: scan it again, or leave it out",
    )


def _words(settings: CutSettings, recipe: Recipe, made: Encoded) -> list[str]:
    """How it was encoded, and by which version of the library."""
    version = ".".join(map(str, av.library_versions["libavcodec"]))
    coding = f"libx264 preset={settings.preset} crf={settings.crf} yuv420p (libavcodec {version})"
    rate = [f"resampled to {settings.fps:g} fps"] if recipe.fps else []
    return [coding, *(recipe.view.words if recipe.view else ()), *rate, *made.notes]


def _x264(packets: PacketIndex, settings: CutSettings) -> dict[str, str]:
    """One thread: two give other bytes and other pixels. No B frames: every reader then starts at 0.

    `cpu-independent`: without it the assembler of another processor generation gives other bytes. `a53cc`: captions
    inside the source's pictures are not written into the clip's.
    """
    gop = max(1, min(LONGEST_GOP, round(float(settings.rate or packets.rate) * settings.keyframe_s)))
    fixed = {"threads": "1", "bf": "0", "a53cc": "0", "flags": "+bitexact", "x264-params": "cpu-independent=1"}
    return {"preset": settings.preset, "crf": str(settings.crf), "g": str(gop), **fixed}
