"""What a media file says about itself on its outermost level, read without any decoder.

Only sizes and names of boxes are read, never their contents: enough to tell a file that stops early from a file whose
header lies, and an encrypted track from a damaged one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOV = "mov,mp4,m4a,3gp,3g2,mj2"
MATROSKA = "matroska,webm"
MATROSKA_SEGMENT = bytes.fromhex("18538067")
TRACK_PATH = (b"trak", b"mdia", b"minf", b"stbl", b"stsd")


@dataclass(frozen=True)
class Structure:
    """`declared_bytes`: size the outermost boxes claim, 0 unknown. `indexed`: False for an MP4 without `moov`."""

    declared_bytes: int = 0
    indexed: bool = True
    encrypted: bool = False


@dataclass(frozen=True)
class Box:
    """One box of an MP4: bytes start..end of the file hold its payload; `end` is a claim."""

    kind: bytes
    start: int
    end: int


def structure(path: Path, demuxer: str) -> Structure:
    """What is known for MP4, Matroska and AVI; nothing for the formats that may be cut anywhere."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if demuxer == MOV:
            return _mov(file, size)
        if demuxer == MATROSKA:
            return Structure(_matroska(file.read(4096)))
        if demuxer == "avi":
            return Structure(_riff(file, size))
    return Structure()


def _mov(file: BinaryIO, size: int) -> Structure:
    top = list(_boxes(file, 0, size))
    moov = next((box for box in top if box.kind == b"moov"), None)
    encrypted = moov is not None and b"encv" in _sample_entries(file, moov)
    return Structure(max((box.end for box in top), default=0), moov is not None, encrypted)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes from `start`; stops at the first that makes no sense. Only the last may claim more than `end`."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        size, kind, header = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, header = int.from_bytes(head[8:16], "big"), 16
        elif size == 0:
            size = end - start
        if size < header:
            return
        yield Box(kind, start + header, start + size)
        start += size


def _sample_entries(file: BinaryIO, moov: Box) -> set[bytes]:
    """The four-letter names of all sample entries; `encv` is an encrypted video track (ISO/IEC 23001-7)."""
    found = [moov]
    for kind in TRACK_PATH:
        found = [box for parent in found for box in _boxes(file, parent.start, parent.end) if box.kind == kind]
    return {entry.kind for stsd in found for entry in _boxes(file, stsd.start + 8, stsd.end)}


def _matroska(head: bytes) -> int:
    """Where the Segment ends; 0 when its size was left open (live recordings)."""
    at = head.find(MATROSKA_SEGMENT)
    if at < 0 or at + 5 > len(head) or not head[at + 4]:
        return 0
    at += 4
    length = 9 - head[at].bit_length()
    size = int.from_bytes(head[at : at + length], "big") & ((1 << 7 * length) - 1)
    return 0 if size == (1 << 7 * length) - 1 else at + length + size


def _riff(file: BinaryIO, size: int) -> int:
    """Where the last RIFF chunk ends: large AVI files are a row of them."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        head = file.read(8)
        if head[:4] != b"RIFF":
            break
        end += 8 + int.from_bytes(head[4:], "little")
    return end
