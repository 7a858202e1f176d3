"""Decode only where a shot may end: key frames first, and what lies between two only if they are not alike.

Footage of one shot is mostly skipped. A group of pictures (GOP: a key frame and what is predicted from it) is decoded
when the key frame behind it may be of another shot (`builder.media.likeness`), or came before its turn, as encoders put
one where they see a new picture; when one of its packets is as large as only a new picture makes it; and when nothing
follows that it could be compared with and its packets are not all alike.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import Any

import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame

from builder.errors import ItemError
from builder.media.likeness import DOUBT, Bytes, difference
from builder.media.packets import PacketIndex, index
from builder.media.sniff import video_stream

ONE_PACKET_A_FRAME = frozenset(["h264", "hevc", "av1", "vp9"])
LONGEST = 600  # packets of a GOP: all of one are held in memory
FOLLOWING = 24  # packets decoded after a GOP that was: detectors look so far behind a boundary
IN_TURN = 0.9  # of the longest GOP: a key frame that comes sooner was not due
STEADY = 6, 8  # packets whose mean size is an ordinary one; over which a dissolve would show
SPIKE, OF_KEY = 5.0, 0.3  # a packet so many times the ordinary size, and such a share of the key frame's, is a cut
SWELL, LAST_SPIKE = 1.25, 4.0  # the same for dissolves and cuts where no key frame follows

Floats = npt.NDArray[np.float64]
Frames = Iterator[tuple[VideoFrame | None, int]]


class Undecidable(Exception):
    """The file is not what its packets promise: it has to be decoded whole."""


@dataclass(frozen=True, eq=False)
class _Gop:
    """Packets in decode order, the frame of the first, and its thumbnail."""

    packets: "Sequence[Packet[Any]]"
    key: VideoFrame
    thumb: Bytes

    def pts(self) -> list[int]:
        """In presentation order; a packet is a frame."""
        return sorted(packet.pts for packet in self.packets if packet.pts is not None)

    def sizes(self) -> Floats:
        """Bytes of the packets behind the key frame's, in presentation order."""
        shown = sorted(self.packets[1:], key=lambda packet: packet.pts or 0)
        return np.array([packet.size for packet in shown], np.float64)


class KeyFramesFirst:
    """Iterates (frame, pts) once, in presentation order; without a frame where it was not decoded.

    `thumbnail` makes of a frame what is compared. Its timestamps are those of `FrameReader`, as only files are taken
    that leave nothing to be made up. `packets`, `errors` and `damaged` mean what they mean there, but a file with an
    error raises Undecidable.
    """

    def __init__(
        self, container: InputContainer, packets: PacketIndex, thumbnail: Callable[[VideoFrame], Bytes]
    ) -> None:
        self.container, self.index, self.thumbnail = container, packets, thumbnail
        self.stream = video_stream(container)
        self.stream.thread_count, self.stream.thread_type = 1, "NONE"
        self.time_base = packets.time_base
        self.packets = self.errors = 0
        self.damaged = False

    @classmethod
    def of(
        cls, path: Path, container: InputContainer, thumbnail: Callable[[VideoFrame], Bytes]
    ) -> "KeyFramesFirst | None":
        """None for a file that cannot be read so: its times need mending, or its GOPs lean on one another."""
        try:
            found = index(path)
        except (ItemError, av.error.FFmpegError):
            return None
        codec = video_stream(container).codec_context.codec.canonical_name
        clean = codec in ONE_PACKET_A_FRAME and found.seekable and not len(found.barriers)
        lengths = np.diff(np.append(found.starts, len(found.pts)))
        fits = clean and len(lengths) > 1 and found.starts[0] == 0 and lengths.max() <= LONGEST
        return cls(container, found, thumbnail) if fits else None

    def __iter__(self) -> Frames:
        before = False
        for gop, doubtful, after in self._with_doubts():
            wanted = doubtful or after
            count = len(gop.packets) if wanted else FOLLOWING if before else 1
            frames = self._frames(gop.packets[:count]) if count > 1 else iter([gop.key])
            yield from _merged(gop.pts(), frames, wanted)
            before = doubtful

    def _with_doubts(self) -> Iterator[tuple[_Gop, bool, bool]]:
        """Each GOP, whether a shot may end in it, and whether one may in the next: a dissolve can begin before its key
        frame."""
        due = IN_TURN * int(np.diff(self.index.starts).max())
        doubts = (
            (gop, _doubtful(gop, following, due)) for gop, following in pairwise(chain(self._gops(), [None])) if gop
        )
        gop, doubtful = next(doubts)
        for following, next_doubtful in doubts:
            yield gop, doubtful, next_doubtful
            gop, doubtful = following, next_doubtful
        yield gop, doubtful, False

    def _gops(self) -> Iterator[_Gop]:
        starts = self.index.starts
        numbered = enumerate(packet for packet in self.container.demux(self.stream) if packet.size)
        try:
            for _, group in groupby(numbered, lambda item: starts.searchsorted(item[0], "right")):
                packets = [packet for _, packet in group]
                self.packets += len(packets)
                keys = list(self._frames(packets[:1]))
                if len(keys) != 1:
                    raise Undecidable("a key packet is not one frame")
                yield _Gop(packets, keys[0], self.thumbnail(keys[0]))
        except av.error.FFmpegError as error:
            raise Undecidable(str(error)) from error

    def _frames(self, packets: "Sequence[Packet[Any]]") -> Iterator[VideoFrame]:
        """Of packets that begin with a key frame."""
        context = self.stream.codec_context
        context.flush_buffers()
        try:
            for packet in (*packets, None):
                for frame in context.decode(packet):
                    if frame.is_corrupt:
                        raise Undecidable("a frame is damaged")
                    yield frame
        except av.error.FFmpegError as error:
            raise Undecidable(str(error)) from error


def _merged(times: Sequence[int], frames: Iterator[VideoFrame], complete: bool) -> Frames:
    """Each of `times` with its frame or None; when `complete`, all of them must have one."""
    frame = next(frames, None)
    for pts in times:
        seen = frame is not None and frame.pts == pts
        if complete and not seen:
            raise Undecidable(f"there is no frame at {pts}")
        yield frame if seen else None, pts
        frame = next(frames, None) if seen else frame
    if frame is not None:
        raise Undecidable(f"no packet is the frame at {frame.pts}")


def _doubtful(gop: _Gop, following: _Gop | None, due: float) -> bool:
    """Whether a shot may end in `gop`, or with it; `due` packets are a GOP at least whose end tells nothing."""
    if following and (len(gop.packets) < due or difference(gop.thumb, following.thumb) >= DOUBT):
        return True
    sizes = gop.sizes()
    if len(sizes) < max(STEADY):
        return following is None
    ordinary = float(np.median(_means(sizes, STEADY[0])))
    if following is None:
        return bool(sizes.max() >= LAST_SPIKE * ordinary or _means(sizes, STEADY[1]).max() >= SWELL * ordinary)
    return bool(np.count_nonzero(sizes >= max(SPIKE * ordinary, OF_KEY * gop.packets[0].size)) > 1)


def _means(sizes: Floats, count: int) -> Floats:
    return np.convolve(sizes, np.full(count, 1 / count), "valid")
