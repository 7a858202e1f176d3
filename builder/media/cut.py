"""Cut one clip: the source's own packets where that is exact, a new encoding everywhere else. No sound, no metadata."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from builder.errors import ItemError
from builder.media.copy import copy
from builder.media.encode import encode
from builder.media.frames import FrameReader, quarter_turns, upright_size
from builder.media.packets import PacketIndex, index
from builder.media.sniff import open_video, video_stream

__all__ = ["CutFacts", "CutSettings", "PacketIndex", "Span", "cut", "index"]

LONGEST_GOP = 250


@dataclass(frozen=True)
class Span:
    """The frames with start_pts <= pts < end_pts, in the stream's time base, and how many `scan` saw there."""

    start_pts: int
    end_pts: int
    frames: int


@dataclass(frozen=True)
class CutSettings:
    """`copy` False always encodes. `keyframe_s`: seconds between keyframes of an encoded clip, for random access."""

    copy: bool = True
    crf: int = 18
    preset: str = "veryfast"
    keyframe_s: float = 1.0


@dataclass(frozen=True)
class CutFacts:
    """The clip as decoded again after writing; size as displayed. `settings`: how it was made, in words."""

    method: str
    frames: int
    width: int
    height: int
    fps: float
    duration_s: float
    codec: str
    settings: str


def cut(source: Path, target: Path, span: Span, settings: CutSettings, packets: PacketIndex | None = None) -> CutFacts:
    """Write exactly the frames of `span` to `target`, in place (give a temporary name; removed when it fails).

    `packets` is `index(source)`, for a caller that keeps it; the last one used is remembered anyway.
    Raises the ItemErrors of `open_video`, and `cut_mismatch` when not even encoding yields what `scan` counted.
    """
    if packets is None:
        seen = source.stat()
        packets = _index_once(source, seen.st_size, seen.st_mtime_ns)
    try:
        facts = _copied(source, target, span, packets) if settings.copy else None
        return facts or _encoded(source, target, span, (settings, packets))
    except BaseException:
        target.unlink(missing_ok=True)
        raise


@lru_cache(maxsize=1)
def _index_once(source: Path, size_bytes: int, mtime_ns: int) -> PacketIndex:
    """Clips of one source tend to come in a row."""
    return index(source)


def _copied(source: Path, target: Path, span: Span, packets: PacketIndex) -> CutFacts | None:
    """None where a copy would not be exact, or turns out not to be."""
    found = packets.copy_range(span.start_pts, span.end_pts, span.frames)
    if found is None:
        return None
    if not copy(source, target, packets, range(*found)):
        return None
    return _verified(source, target, span, ("copy", "packets unchanged"))


def _encoded(source: Path, target: Path, span: Span, how: tuple[CutSettings, PacketIndex]) -> CutFacts:
    settings, packets = how
    seek_dts = packets.start_before(span.start_pts)
    for begin in [seek_dts, None] if seek_dts is not None else [None]:
        frames = encode(source, target, (span.start_pts, span.end_pts), begin, _x264(source, settings))
        if frames == span.frames:
            words = f"libx264 preset={settings.preset} crf={settings.crf} yuv420p"
            facts = _verified(source, target, span, ("encode", words))
            if facts:
                return facts
    raise ItemError(
        "cut_mismatch",
        f"{source}: {span.frames} frames expected from pts {span.start_pts} to {span.end_pts}, {frames} found; "
        "the file changed or decodes differently each time: scan it again, or leave it out",
    )


def _x264(source: Path, settings: CutSettings) -> dict[str, str]:
    """One thread: two give other bytes and other pixels. No B frames: every reader then starts at 0.

    `cpu-independent`: without it the assembler of another processor generation gives other bytes.
    """
    with open_video(source) as container:
        rate = video_stream(container).average_rate or Fraction(25)
    gop = max(1, min(LONGEST_GOP, round(float(rate) * settings.keyframe_s)))
    fixed = {"threads": "1", "bf": "0", "flags": "+bitexact", "x264-params": "cpu-independent=1"}
    return {"preset": settings.preset, "crf": str(settings.crf), "g": str(gop), **fixed}


def _verified(source: Path, target: Path, span: Span, made: tuple[str, str]) -> CutFacts | None:
    """Decode all of the clip; None unless it has the frames of the span, none of them with holes."""
    with open_video(source) as container:
        time_base = video_stream(container).time_base or Fraction(1, 1_000_000)
    frames, size = 0, (0, 0)
    with open_video(target) as container:
        stream = video_stream(container)
        reader = FrameReader(container, stream)
        for frame, _ in reader:
            if not frames:
                size = upright_size(frame.width, frame.height, quarter_turns(frame.rotation) * 90)
            frames += 1
        codec = stream.codec_context.codec.canonical_name
    if frames != span.frames or reader.errors:
        return None
    duration_s = float((span.end_pts - span.start_pts) * time_base)
    return CutFacts(made[0], frames, *size, frames / duration_s, duration_s, codec, made[1])
