"""A clip made of the source's own packets: nothing is decoded, no picture changes, user data is left out."""

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from builder.media.bitstream import Bitstream
from builder.media.copied_sound import sound
from builder.media.held import Held, held
from builder.media.packets import CopyRange, Ints, PacketIndex
from builder.media.sniff import open_video, video_stream

# No creation time, no library version, index in front: the same bytes every time. Negative dts and the edit list the
# muxer writes for them are what all readers agree on; every other way of starting at 0 lost a frame in one of them.
MP4_OPTIONS = {"fflags": "+bitexact", "movflags": "+faststart"}
FINEST_TIME_BASE = 1_000_000  # MP4 readers keep 32 bits of it


def copy(source: Path, target: Path, index: PacketIndex, wanted: CopyRange, with_sound: bool) -> str | None:
    """Write the packets of a `PacketIndex.copy_range` as an MP4 that begins at 0; None if they were not found again.

    Rotation, shape of pixels and colours stay as they are. Packets stream through, whatever the length. Returns what is
    to be said of the sound, if anything.
    """
    kept = held(source)
    if not kept.used or index.seekable:
        words = _copy(kept, (source, target), index, wanted, with_sound)
        if words is not None:
            return words
    with open_video(source) as container:  # what was read before must not decide what is found
        return _copy(Held(container), (source, target), index, wanted, with_sound)


def _copy(
    opened: Held, paths: tuple[Path, Path], index: PacketIndex, wanted: CopyRange, with_sound: bool
) -> str | None:
    source, target = paths
    with ExitStack() as stack:
        out = stack.enter_context(av.open(f"file:{target.absolute()}", "w", "mp4", MP4_OPTIONS))
        container, stream = opened.container, video_stream(opened.container)
        bitstream = Bitstream.of(stream)
        track = _track(out, stream, bitstream)
        if index.seekable and (
            wanted.packets.start or opened.used
        ):  # in MPEG streams a seek lands behind what was asked
            container.seek(int(index.dts[wanted.packets.start]), stream=stream)
        opened.used = True
        durations = _durations(index, wanted)
        span_s = wanted.start_pts * index.time_base, wanted.end_pts * index.time_base
        heard = stack.enter_context(sound(source, out, *span_s, index.seekable)) if with_sound else None
        found = 0
        for number, packet in zip(wanted.packets, _run(container, stream, wanted), strict=False):
            pts = packet.pts
            if pts is None or pts != index.pts[number]:
                return None
            found += 1
            if pts < wanted.start_pts:
                continue  # leading pictures: their references are not in the clip
            kept = _cleaned(packet, bitstream)
            kept.pts, kept.dts = pts - wanted.start_pts, int(index.dts[number]) - wanted.start_pts
            kept.duration = durations[pts]
            kept.time_base, kept.stream = index.time_base, track
            if heard:
                heard.until(kept.dts * index.time_base)
            out.mux(kept)
        if heard:
            heard.until(None)
        words = heard.words if heard else ""
        return words if found == len(wanted.packets) else None


def _track(out: OutputContainer, stream: VideoStream, bitstream: Bitstream) -> VideoStream:
    track = out.add_stream_from_template(stream, opaque=True)  # opaque: or AV1 is refused
    track.time_base = mp4_time_base(stream.time_base)
    if bitstream.header:
        track.codec_context.extradata = bitstream.cleaned_header()
    if bitstream.codec == "hevc" and bitstream.length_size:
        track.codec_context.codec_tag = "hvc1"  # the name more players know
    return track


def _durations(index: PacketIndex, wanted: CopyRange) -> dict[int, int]:
    """By pts. A container's own may be missing, and 0 would make the edit list hide the last frame."""
    pts: Ints = np.sort(index.pts[wanted.packets.start : wanted.packets.stop])
    shown = np.append(pts[pts >= wanted.start_pts], wanted.end_pts)
    return dict(zip(shown.tolist(), np.diff(shown).tolist(), strict=False))


def _run(container: InputContainer, stream: VideoStream, wanted: CopyRange) -> "Iterator[Packet[VideoStream]]":
    """The packets from the one shown at `start_pts`; none when a seek went past it."""
    packets = (packet for packet in container.demux(stream) if packet.size)
    for packet in packets:
        if packet.pts == wanted.start_pts:
            yield packet
            yield from islice(packets, len(wanted.packets) - 1)
            return


def _cleaned(packet: "Packet[VideoStream]", bitstream: Bitstream) -> "Packet[VideoStream]":
    data = bytes(packet)
    left = bitstream.cleaned(data)
    if left is data:
        return packet
    kept = cast("Packet[VideoStream]", Packet(left))
    kept.is_keyframe = packet.is_keyframe
    return kept


def mp4_time_base(time_base: Fraction | None) -> Fraction:
    if time_base is None or time_base.denominator > FINEST_TIME_BASE:
        return Fraction(1, 90_000)
    return time_base
