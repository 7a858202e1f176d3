"""A clip made of the source's own packets: nothing is decoded, no picture changes."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

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


def copy(source: Path, target: Path, index: PacketIndex, packets: range) -> bool:
    """Write the packets of a `PacketIndex.copy_range` as an MP4 that begins at 0; False if they were not found again.

    Rotation, shape of pixels and colours stay as they are. Packets stream through, whatever the length.
    """
    with open_video(source) as container, av.open(f"file:{target.absolute()}", "w", "mp4", MP4_OPTIONS) as out:
        stream = video_stream(container)
        track = out.add_stream_from_template(stream, opaque=True)  # opaque: or AV1 is refused
        track.time_base = mp4_time_base(stream.time_base)
        extradata = stream.codec_context.extradata
        if stream.codec_context.codec.canonical_name == "hevc" and extradata and extradata[0] == 1:
            track.codec_context.codec_tag = "hvc1"  # the name more players know
        start_pts, start_dts = int(index.pts[packets.start]), int(index.dts[packets.start])
        if index.seekable and packets.start:  # not in MPEG streams: a seek lands behind what was asked for
            container.seek(start_dts, stream=stream)
        found = False
        for packet in _run(container, stream, start_dts, len(packets)):
            found = True
            if packet.pts is None or packet.dts is None or packet.pts < start_pts:
                continue  # leading pictures: their references are not in the clip
            packet.duration = packet.duration or index.step  # 0 would make an edit list hide the last frame
            packet.pts -= start_pts
            packet.dts -= start_pts
            packet.stream = track
            out.mux(packet)
        return found


def _run(container: InputContainer, stream: VideoStream, start_dts: int, count: int) -> "Iterator[Packet[VideoStream]]":
    """`count` packets from the one with `start_dts`; none when a seek went past it."""
    packets = (packet for packet in container.demux(stream) if packet.size)
    for packet in packets:
        if packet.dts is not None and packet.dts >= start_dts:
            if packet.dts == start_dts:
                yield packet
                yield from islice(packets, count - 1)
            return


def mp4_time_base(time_base: Fraction | None) -> Fraction:
    if time_base is None or time_base.denominator > FINEST_TIME_BASE:
        return Fraction(1, 90_000)
    return time_base
