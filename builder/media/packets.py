"""Where a video can be cut without decoding it: one pass over its packets.

Rules found by comparing every decoded plane of 167 copied clips with their sources. A packet's keyframe flag is not
enough to start at (H.264 recovery points carry it), and a prefix of packets is not a prefix of frames: B frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from builder.media.bitstream import Bitstream
from builder.media.held import held
from builder.media.sniff import open_video, video_stream
from builder.media.structure import MATROSKA, MOV

Ints = npt.NDArray[np.int64]
INTO_MP4 = frozenset(["h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video"])
NEVER = np.iinfo(np.int64).max
LEAST_FRAMES = 2  # one is a picture


@dataclass(frozen=True)
class CopyRange:
    """Packets that are the frames start_pts <= pts < end_pts, leading pictures aside: `frames` of them.

    `head` and `tail` count the frames wanted before and after them.
    """

    packets: range
    start_pts: int
    end_pts: int
    frames: int
    head: int
    tail: int


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """Packets in decode order, numbered from 0; times in units of `time_base` seconds.

    `starts`: packets a decoder can begin at. `ends`: j such that the first j packets are the first j frames shown.
    `barriers`: packets that may not lie inside a copy (hidden by an edit list, with pictures that lead their key: some
    readers lose their way there; or with other parameters than the stream's). `rate`: average, frames a second.
    `refused`: why nothing can be copied, or "". `seekable`: timestamps can be trusted, so that decoding may begin at a
    start instead of at the beginning.
    """

    pts: Ints
    dts: Ints
    starts: Ints
    ends: Ints
    barriers: Ints
    time_base: Fraction
    rate: Fraction
    refused: str
    seekable: bool

    def copy_range(self, start_pts: int, end_pts: int, frames: int) -> CopyRange | str:
        """The longest copy of frames start_pts <= pts < end_pts, of which there are `frames`; or why there is none.

        It begins at a start and finishes at an end inside the span, with no barrier between; with no barrier about,
        that is from the first start to the last end.
        """
        inside = np.flatnonzero((self.pts >= start_pts) & (self.pts < end_pts))
        if self.refused:
            return self.refused
        if len(inside) != frames or not frames:
            return f"{len(inside)} packets lie where {frames} frames were decoded"
        starts = self.starts[np.isin(self.starts, inside)]
        if not len(starts):
            return "no key frame that decoding can begin at lies inside the clip"
        newest = np.maximum.accumulate(self.pts)
        ends = self.ends[newest[self.ends - 1] < end_pts]
        stops = np.append(self.barriers, len(self.pts))
        found = [self._between(int(start), ends, stops) for start in starts]
        packets = max(found, key=len)
        pts = self.pts[packets.start : packets.stop]
        first, count = int(self.pts[packets.start]), int(np.count_nonzero(pts >= self.pts[packets.start]))
        if count < min(LEAST_FRAMES, frames):
            return "no two frames in a row can be decoded without others"
        later = self.pts[packets.stop :]
        end = min(end_pts, int(later.min()) if len(later) else end_pts)
        head = int(np.count_nonzero(self.pts[inside] < first))
        return CopyRange(packets, first, end, count, head, frames - head - count)

    def _between(self, start: int, ends: Ints, stops: Ints) -> range:
        """From `start` to the last of `ends` before the next barrier behind it."""
        stop = stops[np.searchsorted(stops, start, side="right")]
        last = np.searchsorted(ends, stop, side="right")
        return range(start, int(ends[last - 1])) if last else range(0)

    def start_before(self, pts: int) -> int | None:
        """The dts to seek to so that decoding is right from `pts` on; None: decode from the beginning."""
        earlier = self.starts[self.pts[self.starts] <= pts] if self.seekable else self.starts[:0]
        return int(self.dts[earlier[-1]]) if len(earlier) else None


def index(path: Path) -> PacketIndex:
    """Reads every packet, decodes none. Raises the ItemErrors of `open_video`."""
    with open_video(path) as container:
        return _index(container, video_stream(container))


def index_held(path: Path) -> PacketIndex:
    """The same, of a source that then stays open, to be copied from."""
    source = held(path)
    if source.used:
        return index(path)
    source.used = True
    return _index(source.container, video_stream(source.container))


def _index(container: InputContainer, stream: VideoStream) -> PacketIndex:
    seen = _Seen(Bitstream.of(stream))
    for packet in container.demux(stream):
        if packet.size:
            seen.add(packet)
    unclean = _unclean(seen.pts, seen.dts)
    bases = stream.time_base or Fraction(1, 1_000_000), stream.average_rate or Fraction(25)
    if unclean:
        empty = np.zeros(0, np.int64)
        return PacketIndex(empty, empty, empty, empty, empty, *bases, unclean, False)
    pts = np.array(seen.pts, np.int64)
    later = np.append(np.minimum.accumulate(pts[::-1])[::-1], NEVER)  # smallest pts from here on
    leading = [key for key in seen.keys if later[key + 1] < pts[key]]
    codec = seen.bitstream.codec
    return PacketIndex(
        pts=pts,
        dts=_decode_times(pts) if None in seen.dts else np.array(seen.dts, np.int64),
        starts=np.array(seen.starts, np.int64),
        ends=np.flatnonzero(np.maximum.accumulate(pts) < later[1:]) + 1,
        barriers=np.array(sorted({*seen.barriers, *leading}), np.int64),
        time_base=bases[0],
        rate=bases[1],
        refused=_refused(container, stream, codec),
        seekable=container.format.name in (MOV, MATROSKA) and not _needs_first_packet(stream, codec),
    )


class _Seen:
    """What one pass over the packets notes of them."""

    def __init__(self, bitstream: Bitstream) -> None:
        self.bitstream = bitstream
        self.pts: list[int | None] = []
        self.dts: list[int | None] = []
        self.starts: list[int] = []
        self.keys: list[int] = []
        self.barriers: list[int] = []
        self._first_sets: frozenset[bytes] = frozenset()
        self._other_parameters = False

    def add(self, packet: "Packet[Any]") -> None:
        number = len(self.pts)
        can_begin = False
        if packet.is_keyframe:
            self.keys.append(number)
            can_begin, sets = self.bitstream.inspected(bytes(packet))
            self._compare(packet, sets)
        if packet.is_discard or self._other_parameters:
            self.barriers.append(number)
        elif can_begin:
            self.starts.append(number)
        self.pts.append(packet.pts)
        self.dts.append(packet.dts)

    def _compare(self, packet: "Packet[Any]", sets: frozenset[bytes]) -> None:
        """A clip has one header, the stream's: what is decoded by another cannot be copied under it."""
        if packet.has_sidedata("new_extradata"):
            self._other_parameters = bytes(packet.get_sidedata("new_extradata")) != self.bitstream.header
        elif sets:
            self._first_sets = self._first_sets or sets
            self._other_parameters = not all(s in self._first_sets or s in self.bitstream.header for s in sets)


def _decode_times(pts: Ints) -> Ints:
    """For containers that store none (Matroska): the sorted pts, as much later as frames are reordered."""
    shown = np.sort(pts)
    delay = int(np.max(np.arange(len(pts)) - np.searchsorted(shown, pts)))
    step = int(np.median(np.diff(shown))) if len(pts) > 1 else 1
    before = shown[0] - step * np.arange(delay, 0, -1)
    return np.concatenate([before, shown[: len(shown) - delay]])


def _unclean(pts: Sequence[int | None], dts: Sequence[int | None]) -> str:
    """Why the timestamps cannot be trusted, or ""."""
    if None in pts:
        return "a packet has no timestamp"
    known = [time for time in dts if time is not None]
    if any(b <= a for a, b in pairwise(known)):
        return "the clock jumps back"
    return "two frames share a timestamp" if len(set(pts)) < len(pts) else ""


def _refused(container: InputContainer, stream: VideoStream, codec: str) -> str:
    if codec not in INTO_MP4:
        return f"{codec} does not go into MP4"
    if container.format.name == "avi" and stream.codec_context.has_b_frames:
        return "AVI does not say when B frames are shown"
    return "4:4:4 H.264 needs the first packet's encoder version" if _needs_first_packet(stream, codec) else ""


def _needs_first_packet(stream: VideoStream, codec: str) -> bool:
    """x264 before build 151 wrote 4:4:4 in a way that decoders only know from the SEI of the very first packet."""
    return codec == "h264" and "444" in (stream.pix_fmt or "")
