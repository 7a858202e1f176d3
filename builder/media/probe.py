"""What the header of a video claims; `scan` is what finds out."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from builder.errors import ItemError
from builder.media.frames import quarter_turns, upright_size
from builder.media.sniff import open_video, video_stream
from builder.media.structure import structure

PEEK_PACKETS = 64  # enough for the first frame of any sound stream; a broken one is left to `scan`


@dataclass(frozen=True)
class Probe:
    """Claims of the header, none of them checked.

    `width` and `height` are as displayed, after `rotation` (degrees counter-clockwise that turn a decoded frame
    upright: 0, 90, 180 or 270) and before `sample_aspect_ratio` ("num:den" of the upright frame, "1:1" if unknown).
    `duration_s` and `header_frames` are 0 where the header is silent, `time_base` is "num/den" seconds.
    """

    container: str
    codec: str
    width: int
    height: int
    sample_aspect_ratio: str
    rotation: int
    fps: float
    duration_s: float
    header_frames: int
    pix_fmt: str
    bit_rate: int
    has_audio: bool
    time_base: str


def probe(path: Path, complete: bool = False) -> Probe:
    """Raises the ItemErrors of `open_video`; with `complete` also `truncated` if the file is shorter than it says."""
    with open_video(path) as container:
        if complete and structure(path, container.format.name).declared_bytes > path.stat().st_size:
            raise ItemError("truncated", f"{path} is shorter than its header says; fetch it again")
        stream = video_stream(container)
        base = stream.time_base or Fraction(0)
        length = stream.duration * base if stream.duration else Fraction(container.duration or 0, 1_000_000)
        rotation = _rotation(container, stream)
        width, height = upright_size(stream.width, stream.height, rotation)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        aspect = 1 / aspect if rotation % 180 else aspect
        return Probe(
            container=container.format.name.split(",")[0],
            codec=stream.codec_context.codec.canonical_name,
            width=width,
            height=height,
            sample_aspect_ratio=f"{aspect.numerator}:{aspect.denominator}",
            rotation=rotation,
            fps=float(stream.average_rate or 0),
            duration_s=max(0.0, float(length)),
            header_frames=max(0, stream.frames),
            pix_fmt=stream.pix_fmt or "",
            bit_rate=max(0, container.bit_rate),
            has_audio=bool(container.streams.audio),
            time_base=f"{base.numerator}/{base.denominator}",
        )


def _rotation(container: InputContainer, stream: VideoStream) -> int:
    """PyAV shows the display matrix on decoded frames only: one is decoded."""
    try:
        for packet in islice(container.demux(stream), PEEK_PACKETS):
            for frame in packet.decode():
                return quarter_turns(frame.rotation) * 90
    except (MemoryError, OSError):
        raise
    except av.error.FFmpegError:
        pass
    return 0
