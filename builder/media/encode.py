"""A clip made by decoding and encoding anew: any span of any source, at the price of a little quality and much time."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from builder.errors import ItemError
from builder.media.copied_sound import Sound, sound
from builder.media.copy import MP4_OPTIONS, mp4_time_base
from builder.media.frames import FrameReader, plane_pixels, quarter_turns, turned, upright_size
from builder.media.sniff import open_video, video_stream
from builder.media.view import View, frames_of, resampled

HDR = {16: "HDR (PQ)", 18: "HDR (HLG)"}  # transfer functions, by their numbers in ITU-T H.273
BICUBIC = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT  # the same on every processor
FASTEST_RATE = 1000  # frames a second x264 is told of at most; timestamps stay as they are


@dataclass(frozen=True)
class Recipe:
    """How to encode: libx264's options; what is shown (all of it, if None) and at which rate (the source's, if 0).

    `sound`: copy the source's sound too. `seekable` as of the PacketIndex.
    """

    options: dict[str, str]
    view: View | None = None
    fps: Fraction = Fraction(0)
    sound: bool = False
    seekable: bool = False


@dataclass(frozen=True)
class Encoded:
    """How many frames of the source there were, and how many were written; `notes`: what else is to be known of them,
    such as what the encoding leaves as it was though it cannot say so, in words."""

    seen: int = 0
    frames: int = 0
    notes: tuple[str, ...] = ()


def encode(source: Path, target: Path, span: tuple[int, int], seek_dts: int | None, recipe: Recipe) -> Encoded:
    """Write the frames with span[0] <= pts < span[1], upright, as H.264 in MP4 beginning at 0.

    Decoding begins at `seek_dts`, or at the beginning; 0 frames are written where a seek lands behind the first frame
    wanted. Timestamps of a variable frame rate are kept, unless a rate is asked for: then pictures are left out or
    repeated, by their times. Interlaced pictures are encoded line by line as they are, as progressive ones; HDR
    pictures keep their transfer function, in 8 bits.
    Raises ItemError `size_changed` when the frames are not all of one size.
    """
    first, end = span
    with ExitStack() as stack:
        container = stack.enter_context(open_video(source))
        out = stack.enter_context(av.open(f"file:{target.absolute()}", "w", "mp4", MP4_OPTIONS))
        stream = video_stream(container)
        if seek_dts is not None:
            container.seek(seek_dts, stream=stream)
        encoder = _Encoder(out, stream, recipe)
        base = encoder.source_base
        if recipe.sound:
            encoder.sound = stack.enter_context(sound(source, out, first * base, end * base, recipe.seekable))
        frames = _wanted(FrameReader(container, stream), span, encoder, seeking=seek_dts is not None)
        if recipe.fps:
            for picture, number in resampled(
                ((frame, (pts - first) * base) for frame, pts in frames), (end - first) * base, recipe.fps
            ):
                encoder.add(picture, number * recipe.fps.denominator)
        else:
            for frame, pts in frames:
                encoder.add(frame, encoder.scaled(pts - first))
        encoder.finish((end - first) * base)
        return Encoded(encoder.seen, encoder.frames, tuple(sorted(encoder.notes)) + encoder.words)


def _wanted(
    frames: FrameReader, span: tuple[int, int], encoder: "_Encoder", seeking: bool
) -> Iterator[tuple[VideoFrame, int]]:
    for count, (frame, pts) in enumerate(frames):
        if (seeking and count == 0 and pts > span[0]) or pts >= span[1]:
            return
        if pts >= span[0]:
            encoder.see(frame)
            yield frame, pts


class _Encoder:
    """One track. The last packet waits for the next, because only then is its duration known."""

    def __init__(self, out: OutputContainer, source: VideoStream, recipe: Recipe) -> None:
        rate = recipe.fps or min(source.average_rate or Fraction(25), Fraction(FASTEST_RATE))
        self.out, self.source, self.recipe = out, source, recipe
        self.source_base = source.time_base or Fraction(1, 1_000_000)
        self.time_base = Fraction(1, recipe.fps.numerator) if recipe.fps else mp4_time_base(source.time_base)
        self.track = out.add_stream("libx264", rate=rate, options=recipe.options)
        self.track.time_base = self.track.codec_context.time_base = self.time_base
        self.sound: Sound | None = None
        self._scaler = VideoReformatter()
        self._waiting: Packet[VideoStream] | None = None
        self._last: tuple[VideoFrame, VideoFrame] | None = None  # as decoded, as encoded: it may be shown again
        self._size = (0, 0)
        self.seen = self.frames = 0
        self.notes: set[str] = set()

    @property
    def words(self) -> tuple[str, ...]:
        return (self.sound.words,) if self.sound and self.sound.words else ()

    def see(self, frame: VideoFrame) -> None:
        """Every frame of the span, also those that a lower rate leaves out."""
        if self.seen and (frame.width, frame.height) != self._size:
            raise ItemError("size_changed", f"frame {self.seen} of the clip has another size: split it there")
        self._size = frame.width, frame.height
        self.seen += 1
        if frame.interlaced_frame:
            self.notes.add("interlaced")
        if frame.color_trc in HDR:
            self.notes.add(HDR[frame.color_trc])

    def add(self, frame: VideoFrame, pts: int) -> None:
        """Encode a frame, or the last one once more, at `pts` in units of `time_base`."""
        if self._last is None or self._last[0] is not frame:
            turns = quarter_turns(frame.rotation)
            picture = _upright(_as_yuv420(frame, self._scaler), turns, self.recipe.view)
            if self.recipe.view and (picture.width, picture.height) != self.recipe.view.size:
                wide, high = self.recipe.view.size
                picture = self._scaler.reformat(picture, wide, high, interpolation=BICUBIC, threads=1)
            if not self.frames:
                self._describe(frame, picture, turns)
            self._last = frame, picture
        picture = self._last[1]
        picture.pict_type = 0  # or x264 repeats the source's pattern of I, P and B frames
        picture.pts, picture.time_base = pts, self.time_base
        self.frames += 1
        self._mux(self.track.encode(picture))

    def finish(self, end_s: Fraction) -> None:
        if self.frames:
            self._mux(self.track.encode(None))
        if self._waiting is not None and self._waiting.pts is not None:
            end = frames_of(end_s, self.recipe.fps) * self.recipe.fps.denominator if self.recipe.fps else 0
            self._waiting.duration = max(1, (end or round(end_s / self.time_base)) - self._waiting.pts)
            self.out.mux(self._waiting)
        if self.sound:
            self.sound.until(None)

    def _describe(self, frame: VideoFrame, picture: VideoFrame, turns: int) -> None:
        """Size, shape of pixels and meaning of colours; the encoder copies none of them from the frames."""
        context = self.track.codec_context
        context.width, context.height, context.pix_fmt = picture.width, picture.height, "yuv420p"
        aspect = self.source.sample_aspect_ratio
        if aspect and aspect != 1 and not (self.recipe.view and self.recipe.view.square):
            context.sample_aspect_ratio = 1 / aspect if turns % 2 else aspect
        context.colorspace = 1 if _is_rgb(frame) else frame.colorspace
        context.color_range = 1 if _is_rgb(frame) else frame.color_range
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        for packet in packets:
            if self._waiting is not None:
                if self.sound and self._waiting.pts is not None:
                    self.sound.until(self._waiting.pts * self.time_base)
                self.out.mux(self._waiting)
            self._waiting = packet

    def scaled(self, pts: int) -> int:
        return round(pts * self.source_base / self.time_base)


def _is_rgb(frame: VideoFrame) -> bool:
    return frame.format.is_rgb


def _as_yuv420(frame: VideoFrame, scaler: VideoReformatter) -> VideoFrame:
    """8-bit 4:2:0 in the frame's own matrix and range; RGB becomes BT.709, limited."""
    if _is_rgb(frame):
        return scaler.reformat(frame, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=1, threads=1)
    return scaler.reformat(frame, format="yuv420p", threads=1)


def _upright(frame: VideoFrame, turns: int, view: View | None) -> VideoFrame:
    """Cut to an even size (4:2:0 has no other) at the right and bottom, turned plane by plane, then cropped."""
    whole = upright_size(frame.width, frame.height, turns * 90)
    if view and view.of != whole:
        raise ItemError("size_changed", f"pictures of {whole} where {view.of} were scanned: scan the video again")
    x0, x1, y0, y1 = view.box if view else (0, whole[0] & ~1, 0, whole[1] & ~1)
    if not (x1 > x0 and y1 > y0):
        raise ItemError("too_small", f"pictures of {frame.width}x{frame.height} cannot be encoded; leave the video out")
    if not turns and (x0, y0, x1, y1) == (0, 0, frame.width, frame.height):
        return frame
    planes = []
    for number in range(len(frame.planes)):
        half = min(number, 1)
        plane = plane_pixels(frame, number)[: (frame.height & ~1) >> half, : (frame.width & ~1) >> half]
        planes.append(turned(plane, turns)[y0 >> half : y1 >> half, x0 >> half : x1 >> half])
    flat = np.concatenate([plane.reshape(-1) for plane in planes])
    return VideoFrame.from_ndarray(flat.reshape(-1, planes[0].shape[1]), format="yuv420p")
