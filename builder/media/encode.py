"""A clip made by decoding and encoding anew: any span of any source, at the price of a little quality and much time."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from av.video.stream import VideoStream

from builder.errors import ItemError
from builder.media.copy import MP4_OPTIONS, mp4_time_base
from builder.media.frames import FrameReader, plane_pixels, quarter_turns, turned
from builder.media.sniff import open_video, video_stream

HDR = {16: "HDR (PQ)", 18: "HDR (HLG)"}  # transfer functions, by their numbers in ITU-T H.273
FASTEST_RATE = 1000  # frames a second x264 is told of at most; timestamps stay as they are


@dataclass(frozen=True)
class Encoded:
    """How many frames there were; `notes`: what the encoding leaves as it was though it cannot say so, in words."""

    frames: int = 0
    notes: tuple[str, ...] = ()


def encode(source: Path, target: Path, span: tuple[int, int], seek_dts: int | None, options: dict[str, str]) -> Encoded:
    """Write the frames with span[0] <= pts < span[1], upright, as H.264 in MP4 beginning at 0.

    `options` are libx264's. Decoding begins at `seek_dts`, or at the beginning; 0 frames are written where a seek
    lands behind the first frame wanted. Timestamps of a variable frame rate are kept. Interlaced pictures are encoded
    line by line as they are, as progressive ones; HDR pictures keep their transfer function, in 8 bits.
    Raises ItemError `size_changed` when the frames are not all of one size.
    """
    first, end = span
    with open_video(source) as container, av.open(f"file:{target.absolute()}", "w", "mp4", MP4_OPTIONS) as out:
        stream = video_stream(container)
        if seek_dts is not None:
            container.seek(seek_dts, stream=stream)
        encoder = _Encoder(out, stream, options)
        for count, (frame, pts) in enumerate(FrameReader(container, stream)):
            if (seek_dts is not None and count == 0 and pts > first) or pts >= end:
                break
            if pts >= first:
                encoder.add(frame, pts - first)
        encoder.finish(end - first)
        return Encoded(encoder.frames, tuple(sorted(encoder.notes)))


class _Encoder:
    """One track. The last packet waits for the next, because only then is its duration known."""

    def __init__(self, out: OutputContainer, source: VideoStream, options: dict[str, str]) -> None:
        rate = min(source.average_rate or Fraction(25), Fraction(FASTEST_RATE))
        self.out, self.source = out, source
        self.source_base = source.time_base or Fraction(1, 1_000_000)
        self.time_base = mp4_time_base(source.time_base)
        self.track = out.add_stream("libx264", rate=rate, options=options)
        self.track.time_base = self.track.codec_context.time_base = self.time_base
        self._scaler = VideoReformatter()
        self._waiting: Packet[VideoStream] | None = None
        self._size = (0, 0)
        self.frames = 0
        self.notes: set[str] = set()

    def add(self, frame: VideoFrame, pts: int) -> None:
        if self.frames and (frame.width, frame.height) != self._size:
            raise ItemError("size_changed", f"frame {self.frames} of the clip has another size: split it there")
        self._size = frame.width, frame.height
        if frame.interlaced_frame:
            self.notes.add("interlaced")
        if frame.color_trc in HDR:
            self.notes.add(HDR[frame.color_trc])
        turns = quarter_turns(frame.rotation)
        picture = _upright(_as_yuv420(frame, self._scaler), turns)
        if not self.frames:
            self._describe(frame, picture, turns)
        picture.pict_type = 0  # or x264 repeats the source's pattern of I, P and B frames
        picture.pts, picture.time_base = self._scaled(pts), self.time_base
        self.frames += 1
        self._mux(self.track.encode(picture))

    def finish(self, end: int) -> None:
        if self.frames:
            self._mux(self.track.encode(None))
        if self._waiting is not None and self._waiting.pts is not None:
            self._waiting.duration = max(1, self._scaled(end) - self._waiting.pts)
            self.out.mux(self._waiting)

    def _describe(self, frame: VideoFrame, picture: VideoFrame, turns: int) -> None:
        """Size, shape of pixels and meaning of colours; the encoder copies none of them from the frames."""
        context = self.track.codec_context
        context.width, context.height, context.pix_fmt = picture.width, picture.height, "yuv420p"
        aspect = self.source.sample_aspect_ratio
        if aspect and aspect != 1:
            context.sample_aspect_ratio = 1 / aspect if turns % 2 else aspect
        context.colorspace = 1 if _is_rgb(frame) else frame.colorspace
        context.color_range = 1 if _is_rgb(frame) else frame.color_range
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        for packet in packets:
            if self._waiting is not None:
                self.out.mux(self._waiting)
            self._waiting = packet

    def _scaled(self, pts: int) -> int:
        return round(pts * self.source_base / self.time_base)


def _is_rgb(frame: VideoFrame) -> bool:
    return frame.format.is_rgb


def _as_yuv420(frame: VideoFrame, scaler: VideoReformatter) -> VideoFrame:
    """8-bit 4:2:0 in the frame's own matrix and range; RGB becomes BT.709, limited."""
    if _is_rgb(frame):
        return scaler.reformat(frame, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=1, threads=1)
    return scaler.reformat(frame, format="yuv420p", threads=1)


def _upright(frame: VideoFrame, turns: int) -> VideoFrame:
    """Turned plane by plane and cut to an even size (4:2:0 has no other), at the right and bottom."""
    width, height = frame.width & ~1, frame.height & ~1
    if not (width and height):
        raise ItemError("too_small", f"pictures of {frame.width}x{frame.height} cannot be encoded; leave the video out")
    if not turns and (width, height) == (frame.width, frame.height):
        return frame
    planes = []
    for number in range(len(frame.planes)):
        half = min(number, 1)
        planes.append(turned(plane_pixels(frame, number)[: height >> half, : width >> half], turns))
    flat = np.concatenate([plane.reshape(-1) for plane in planes])
    return VideoFrame.from_ndarray(flat.reshape(-1, planes[0].shape[1]), format="yuv420p")
