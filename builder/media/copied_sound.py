"""The sound of a clip: the source's own packets that begin inside the span, at their own times."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard

from builder.media.sniff import open_video

INTO_MP4 = frozenset(["aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"])
BEFORE_S = 1  # a seek that lands a little late loses nothing
NO_PACKETS = iter(())


class Sound:
    """The first sound of a source between two times in seconds. Packets are muxed as the picture's proceed.

    None is cut: the first begins at most one packet after the picture, the last ends at most one after it. So no
    timestamp has to become negative, which some readers answer by moving the picture.
    """

    def __init__(self, packets: "Iterator[Packet[Any]]", out: OutputContainer, words: str = "") -> None:
        self.out, self.words = out, words
        self._packets = packets
        self._next: Packet[Any] | None = next(packets, None)

    def until(self, time_s: Fraction | None) -> None:
        """Mux what begins before `time_s` of the clip; all that is left for None."""
        while self._next is not None and (time_s is None or _begins(self._next) < time_s):
            self.out.mux(self._next)
            self._next = next(self._packets, None)


@contextmanager
def sound(source: Path, out: OutputContainer, start_s: Fraction, end_s: Fraction, seekable: bool) -> Iterator[Sound]:
    """To be opened when `out` has its track of pictures, and nothing has been muxed yet. `words` say what is kept."""
    with open_video(source) as container:
        streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
        if not streams:
            yield Sound(NO_PACKETS, out)
            return
        codec = streams[0].codec_context.codec.canonical_name
        if codec not in INTO_MP4:
            yield Sound(NO_PACKETS, out, f"sound left out ({codec} does not go into MP4)")
            return
        yield Sound(_inside(container, streams[0], out, (start_s, end_s), seekable), out, f"sound copied ({codec})")


def _inside(
    container: InputContainer, stream: AudioStream, out: OutputContainer, span_s: tuple[Fraction, Fraction], seek: bool
) -> "Iterator[Packet[Any]]":
    """The packets, their times those of the clip. The track is made when it is known that there are any."""
    (start_s, end_s), base = span_s, stream.time_base or Fraction(1, 90_000)
    for other in container.streams:
        other.discard = Discard.default if other is stream else Discard.all
    if seek and start_s > BEFORE_S:
        container.seek(int((start_s - BEFORE_S) / base), stream=stream)
    track, finer = None, Fraction(1, stream.rate or 90_000)  # AVI counts in packets, Matroska in milliseconds
    for packet in container.demux(stream):
        if packet.pts is None or packet.is_discard or not packet.size or packet.pts * base < start_s:
            continue
        if packet.pts * base >= end_s:
            return
        if track is None:
            track = out.add_stream_from_template(stream, opaque=True)
            track.time_base = finer
        packet.pts = packet.dts = round((packet.pts * base - start_s) / finer)
        packet.duration = round((packet.duration or 0) * base / finer)
        packet.time_base, packet.stream = finer, track
        yield packet


def _begins(packet: "Packet[Any]") -> Fraction:
    assert packet.pts is not None and packet.time_base is not None
    return packet.pts * packet.time_base
