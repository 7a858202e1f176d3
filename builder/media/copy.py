"""A clip made of the source's own packets: nothing is decoded, no picture changes."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from builder.media.packets import PacketIndex
from builder.media.sniff import open_video, video_stream

# No creation time, no library version, index in front: the same bytes every time. Negative dts and the edit list the
# muxer writes for them are what all readers agree on; every other way of starting at 0 lost a frame in one of them.
MP4_OPTIONS = {"fflags": "+bitexact", "movflags": "+faststart"}
FINEST_TIME_BASE = 1_000_000  # MP4 readers keep 32 bits of it


def copy(source: Path, target: Path, index: PacketIndex, packets: range) -> None:
    """Write the packets of a `PacketIndex.copy_range` as an MP4 that begins at 0. Rotation and colours are kept."""
    with open_video(source) as container, av.open(f"file:{target.absolute()}", "w", "mp4", MP4_OPTIONS) as out:
        stream = video_stream(container)
        track = out.add_stream_from_template(stream, opaque=True)  # opaque: or AV1 is refused
        track.time_base = mp4_time_base(stream.time_base)
        extradata = stream.codec_context.extradata
        if stream.codec_context.codec.canonical_name == "hevc" and extradata and extradata[0] == 1:
            track.codec_context.codec_tag = "hvc1"  # the name more players know
        start_pts = int(index.pts[packets.start])
        for packet in _from(container, stream, index, packets):
            if packet.pts is None or packet.dts is None or packet.pts < start_pts:
                continue  # leading pictures: their references are not in the clip
            packet.duration = packet.duration or index.step  # 0 would make an edit list hide the last frame
            packet.pts -= start_pts
            packet.dts -= start_pts
            packet.stream = track
            out.mux(packet)


def mp4_time_base(time_base: Fraction | None) -> Fraction:
    if time_base is None or time_base.denominator > FINEST_TIME_BASE:
        return Fraction(1, 90_000)
    return time_base


def _from(container: InputContainer, stream: VideoStream, index: PacketIndex, packets: range) -> "list[Packet[Any]]":
    """The packets themselves; read from the beginning where a seek lands elsewhere (MPEG streams)."""
    if index.seekable and packets.start:
        container.seek(int(index.dts[packets.start]), stream=stream)
        found = _run(container, stream, int(index.dts[packets.start]), len(packets))
        if found:
            return found
        container.seek(0)
    return _run(container, stream, int(index.dts[packets.start]), len(packets))


def _run(container: InputContainer, stream: VideoStream, first_dts: int, count: int) -> "list[Packet[Any]]":
    """`count` packets from the one decoded at `first_dts`, which is unique; [] when it does not come."""
    found: "list[Packet[Any]]" = []
    for packet in container.demux(stream):
        if packet.size and (found or packet.dts == first_dts):
            found.append(packet)
            if len(found) == count:
                break
        elif packet.size and packet.dts is not None and packet.dts > first_dts:
            break
    return found
