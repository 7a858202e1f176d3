"""How much of a video a decode pass has seen, believing bytes before headers.

- MP4: its index lists every sample (edit lists taken into account): samples that could not be read are missing.
  A wrong duration in the header is never looked at (a real file claims 143,165 s for its 1 s). A fragmented one
  lists no more than was fetched, so it must not end inside a box.
- Matroska and AVI, whose index is optional: only when the file ends before its outermost box does, and then by
  its duration (AVI: its count of frames); a complete file with a wrong duration, or sound longer than the pictures,
  passes.
- FLV and ASF: by the duration in the header, there is nothing else. MPEG, Ogg: may be cut anywhere, pass.
"""

from dataclasses import dataclass
from pathlib import Path

from av.container import InputContainer

from builder.media.sniff import demuxer, video_stream
from builder.media.structure import MOV, structure

CLAIMS_LENGTH = ("flv", "asf")  # formats whose header states a duration and that say nothing about their size
WHOLE = 0.95  # a share of what is stated that passes for all of it, unless the file is seen to be cut


@dataclass(frozen=True)
class Loss:
    """What a video lacks at its end: `lost_s` seconds, 0 where nobody knows; `reason` is "" for a complete one."""

    lost_s: float = 0.0
    reason: str = ""


def loss(path: Path, container: InputContainer, packets: int, seen_s: float) -> Loss:
    """After a pass that read `packets` packets and saw `seen_s` seconds of pictures."""
    name = demuxer(path)
    cut = structure(path, name).declared_bytes > path.stat().st_size
    if name == MOV and video_stream(container).frames:
        share, stated_s = _indexed(container, packets)
    elif cut or name in CLAIMS_LENGTH:
        stated_s = _stated_s(container, name)
        share = seen_s / stated_s if stated_s else 0.0
    else:
        return Loss()
    if share >= (1.0 if cut else WHOLE):
        return Loss()
    after = f"truncated after {seen_s:.1f}"
    if stated_s > seen_s:
        return Loss(stated_s - seen_s, f"{after} of {stated_s:.1f} s")
    return Loss(0.0, f"{after} s of an unknown length") if cut else Loss()


def _indexed(container: InputContainer, packets: int) -> tuple[float, float]:
    """The share of the indexed samples that was read, and how long all of them last."""
    stream = video_stream(container)
    base, count, first, last = stream.time_base, 0, 0, 0
    for entry in stream.index_entries:  # one at a time: hours of video have millions
        if not entry.is_discard:
            first, last = (first if count else entry.timestamp), entry.timestamp
            count += 1
    if not count or not base:
        return 1.0, 0.0
    return packets / count, float((last - first) * base) * count / max(1, count - 1)


def _stated_s(container: InputContainer, name: str) -> float:
    """What the header states; 0: nothing. FFmpeg's own figure is a guess where an AVI has lost its index."""
    stream = video_stream(container)
    if name == "avi" and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    return 0.0 if name == MOV else (container.duration or 0) / 1e6
