"""Whether a finished clip can be read: what pack looks at before it keeps one, and verify in a dataset."""

from dataclasses import dataclass
from pathlib import Path

import av.error
from av.packet import Packet
from av.video.stream import VideoStream

from builder.media.frames import quarter_turns, upright_size
from builder.media.sniff import open_video, video_stream


@dataclass(frozen=True)
class Shown:
    size: tuple[int, int]
    codec: str


def shown(clip: Path, frames: int, thorough: bool, size: tuple[int, int] | None = None) -> Shown | str:
    """What a reader of the clip gets, or why it is of no use.

    All packets are counted, the first frame is decoded or, if `thorough`, all of them. What `scan` decoded without an
    error need not be decoded again to know that it can be; if its `size` is known too, nothing is.
    """
    starts, sizes = [], []
    with open_video(clip, probe=False) as container:
        stream = video_stream(container)
        stream.thread_count, stream.thread_type = 1, "NONE"
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard and packet.pts is not None:
                starts.append(packet.pts)
            if size is None and (thorough or len(starts) == 1 or not packet.size):
                sizes += _sizes(packet)
        codec = stream.codec_context.codec.canonical_name
    if len(starts) != frames or min(starts):
        return f"the clip shows {len(starts)} frames instead of {frames}"
    if size is not None:
        return Shown(size, codec)
    if len(sizes) != (frames if thorough else 1) or len(set(sizes)) > 1:
        return "the clip does not decode as a whole"
    return Shown(sizes[0], codec)


def _sizes(packet: "Packet[VideoStream]") -> list[tuple[int, int]]:
    """Of the frames it gives, upright; none of those with holes."""
    try:
        frames = packet.decode()
    except (MemoryError, OSError):
        raise
    except av.error.FFmpegError:
        return []
    whole = [frame for frame in frames if not frame.is_corrupt]
    return [upright_size(frame.width, frame.height, quarter_turns(frame.rotation) * 90) for frame in whole]
