"""Decoded frames in presentation order with usable timestamps: what a frame's index and pts mean everywhere else."""

from collections.abc import Iterator
from fractions import Fraction

import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

READ_RETRIES = 16  # a demuxer that fails more often has lost the thread; what was read so far stands
RESET_S = 1.0  # a step back by more is a restart of the clock (joined recordings), not a repeated timestamp


def quarter_turns(rotation: int) -> int:
    """Counter-clockwise quarter turns (as of `numpy.rot90`) that make a frame upright; odd angles are rounded."""
    return round(rotation / 90) % 4


def upright_size(width: int, height: int, rotation: int) -> tuple[int, int]:
    """The size after turning by `rotation` degrees."""
    return (height, width) if rotation % 180 else (width, height)


def turned(pixels: npt.NDArray[np.uint8], turns: int) -> npt.NDArray[np.uint8]:
    return np.rot90(pixels, turns) if turns else pixels


def plane_pixels(frame: VideoFrame, number: int) -> npt.NDArray[np.uint8]:
    """The bytes of one plane as rows, with the padding at their ends; a view, valid as long as the frame."""
    plane = frame.planes[number]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)


class FrameReader:
    """Iterates (frame, pts) once; goes on after packets that do not decode.

    pts are in the stream's time base and strictly increase. Those the file lacks are made from the frame before and
    the average rate; repeated ones move up by one tick. What is made depends on every frame before it, so a reader
    that starts after a seek agrees with one that reads everything only where nothing had to be made.

    `damaged` tells of the frame last given: decoded with holes that were filled in by guess, or, after such a frame or
    a packet that was lost, predicted from what is not there: all frames up to the next key frame.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, threads: int = 1) -> None:
        self.container, self.stream = container, stream
        self.packets = 0  # read so far, without those an edit list hides
        self.errors = 0  # packets that did not decode, and frames decoded with holes
        self.damaged = False
        self._lost: int | None = None  # the latest timestamp known to be affected
        self._read: int | None = None  # the latest timestamp read
        self._last: int | None = None
        self._shift = 0
        stream.thread_count, stream.thread_type = threads, "NONE" if threads == 1 else "AUTO"
        self.time_base = stream.time_base or Fraction(1, 1_000_000)
        rate = stream.average_rate or Fraction(25)
        self._step = max(1, round(1 / (rate * self.time_base)))
        self._reset = max(self._step, int(RESET_S / self.time_base))

    def __iter__(self) -> Iterator[tuple[VideoFrame, int]]:
        for packet in self._packets():
            self.packets += bool(packet.size) and not packet.is_discard
            self._read = _later(self._read, packet.pts)
            try:
                frames = packet.decode()
            except MemoryError:
                raise
            except av.error.FFmpegError:
                self._lose(packet.pts)
                continue
            for frame in frames:
                self._look(frame)
                yield frame, self.timestamp(frame)

    def _lose(self, pts: int | None) -> None:
        self.errors += 1
        self.damaged, self._lost = True, _later(self._lost, pts)

    def _look(self, frame: VideoFrame) -> None:
        """A key frame shown after all that was lost ends the damage."""
        late = self._lost is None or frame.pts is None or frame.pts > self._lost
        if frame.is_corrupt:
            self._lose(frame.pts)
        elif frame.key_frame and late:
            self.damaged = False

    def _packets(self) -> "Iterator[Packet[VideoStream]]":
        failures = 0
        while True:
            try:
                yield from self.container.demux(self.stream)
                return
            except (MemoryError, OSError):  # of this machine, not of the file
                raise
            except av.error.FFmpegError:
                self._lose(self._read)
                failures += 1
                if failures > READ_RETRIES:
                    return

    def timestamp(self, frame: VideoFrame) -> int:
        """To be asked once per frame, in order."""
        last = self._last
        if frame.pts is None:
            pts = (self.stream.start_time or 0) if last is None else last + self._step
        else:
            pts = frame.pts + self._shift
            if last is not None and pts < last - self._reset:
                self._shift += last + self._step - pts
                pts = last + self._step
            elif last is not None and pts <= last:
                pts = last + 1
        self._last = pts
        return pts


def _later(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)
