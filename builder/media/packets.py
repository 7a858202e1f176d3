"""Where a video can be cut without decoding it: one pass over its packets.

Rules found by comparing every decoded plane of 167 copied clips with their sources. A packet's keyframe flag is not
enough to start at (H.264 recovery points carry it), and a prefix of packets is not a prefix of frames: B frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from builder.media.sniff import open_video, video_stream
from builder.media.structure import MATROSKA, MOV

Ints = npt.NDArray[np.int64]
INTO_MP4 = frozenset(["h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video"])
H264_IDR = frozenset([5])
HEVC_RANDOM_ACCESS = frozenset(range(16, 22))  # BLA, IDR, CRA
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """Packets in decode order, numbered from 0.

    `starts`: packets a decoder can begin at. `ends`: j such that the first j packets are the first j frames shown.
    `barriers`: packets that may not lie inside a copy (hidden by an edit list, or with pictures that lead their key:
    some readers lose their way there). `step`: median time between frames. `refused`: why nothing can be copied, or
    "". `seekable`: timestamps can be trusted, so that decoding may begin at a start instead of at the beginning.
    """

    pts: Ints
    dts: Ints
    starts: Ints
    ends: Ints
    barriers: Ints
    step: int
    refused: str
    seekable: bool

    def copy_range(self, start_pts: int, end_pts: int, frames: int) -> tuple[int, int] | None:
        """Packets i <= n < j that are exactly the frames start_pts <= pts < end_pts, leading pictures aside."""
        inside = (self.pts >= start_pts) & (self.pts < end_pts)
        first, last = int(np.argmax(inside)), len(inside) - int(np.argmax(inside[::-1]))
        exact = (
            not self.refused
            and np.count_nonzero(inside) == frames > 0
            and self.pts[first] == start_pts
            and bool(np.isin(first, self.starts))
            and bool(np.isin(last, self.ends))
            and bool(np.all(inside[first:last] | (self.pts[first:last] < start_pts)))
            and not np.any((self.barriers > first) & (self.barriers < last))
        )
        return (first, last) if exact else None

    def start_before(self, pts: int) -> int | None:
        """The dts to seek to so that decoding is right from `pts` on; None: decode from the beginning."""
        earlier = self.starts[self.pts[self.starts] <= pts] if self.seekable else self.starts[:0]
        return int(self.dts[earlier[-1]]) if len(earlier) else None


def index(path: Path) -> PacketIndex:
    """Reads every packet, decodes none. Raises the ItemErrors of `open_video`."""
    with open_video(path) as container:
        return _index(container, video_stream(container))


def _index(container: InputContainer, stream: VideoStream) -> PacketIndex:
    codec = stream.codec_context.codec.canonical_name
    rows: list[tuple[int | None, int | None]] = []
    starts, keys, hidden = [], [], []
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.is_discard:
            hidden.append(len(rows))
        elif packet.is_keyframe and _random_access(packet, codec, stream.codec_context.extradata):
            starts.append(len(rows))
        if packet.is_keyframe:
            keys.append(len(rows))
        rows.append((packet.pts, packet.dts))
    unclean = _unclean(rows)
    if unclean:
        empty = np.zeros(0, np.int64)
        return PacketIndex(empty, empty, empty, empty, empty, 1, unclean, False)
    pts, dts = np.array(rows, np.int64).reshape(-1, 2).T.copy()
    later = np.append(np.minimum.accumulate(pts[::-1])[::-1], NEVER)  # smallest pts from here on
    leading = [key for key in keys if later[key + 1] < pts[key]]
    refused = _refused(container, stream, codec)
    return PacketIndex(
        pts=pts,
        dts=dts,
        starts=np.array(starts, np.int64),
        ends=np.flatnonzero(np.maximum.accumulate(pts) < later[1:]) + 1,
        barriers=np.array(sorted({*hidden, *leading}), np.int64),
        step=int(np.median(np.diff(np.sort(pts)))) if len(pts) > 1 else 1,
        refused=refused,
        seekable=container.format.name in (MOV, MATROSKA) and not _needs_first_packet(stream, codec),
    )


def _unclean(rows: list[tuple[int | None, int | None]]) -> str:
    """Why the timestamps cannot be trusted, or ""."""
    if any(pts is None or dts is None for pts, dts in rows):
        return "a packet has no timestamp"
    dts = [row[1] for row in rows]
    if any(b <= a for a, b in pairwise(dts)):  # type: ignore[operator]
        return "the clock jumps back"
    return "two frames share a timestamp" if len({row[0] for row in rows}) < len(rows) else ""


def _refused(container: InputContainer, stream: VideoStream, codec: str) -> str:
    if codec not in INTO_MP4:
        return f"{codec} does not go into MP4"
    if container.format.name == "avi" and stream.codec_context.has_b_frames:
        return "AVI does not say when B frames are shown"
    return "4:4:4 H.264 needs the first packet's encoder version" if _needs_first_packet(stream, codec) else ""


def _needs_first_packet(stream: VideoStream, codec: str) -> bool:
    """x264 before build 151 wrote 4:4:4 in a way that decoders only know from the SEI of the very first packet."""
    return codec == "h264" and "444" in (stream.pix_fmt or "")


def _random_access(packet: "Packet[Any]", codec: str, extradata: bytes | None) -> bool:
    if codec == "h264":
        return any(first & 31 in H264_IDR for first in _nal_headers(bytes(packet), extradata, 4))
    if codec == "hevc":
        return any(first >> 1 & 63 in HEVC_RANDOM_ACCESS for first in _nal_headers(bytes(packet), extradata, 21))
    return True


def _nal_headers(data: bytes, extradata: bytes | None, size_at: int) -> Iterator[int]:
    """The first byte of every NAL unit; length-prefixed (avcC, hvcC: `size_at` holds the prefix size) or Annex B."""
    if extradata and extradata[0] == 1 and len(extradata) > size_at:
        prefix, at = extradata[size_at] % 4 + 1, 0
        while at + prefix < len(data):
            yield data[at + prefix]
            at += prefix + int.from_bytes(data[at : at + prefix], "big")
        return
    at = data.find(b"\0\0\1")
    while 0 <= at < len(data) - 3:
        yield data[at + 3]
        at = data.find(b"\0\0\1", at + 3)
