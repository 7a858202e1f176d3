"""What the bytes of a packet hold: where decoding can begin, which parameters apply, and what others have put in.

Cameras and editors write names, places, serial numbers and dates not only into containers but into the bytestream too,
as user data that decoders skip. A copied packet would carry it along, so it is taken out; no picture depends on it, but
for the encoder versions that decoders look for to make up for old encoders' mistakes: those stay.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from av.video.stream import VideoStream

START_CODE = re.compile(b"\0?\0\0\1")
NEEDS_ESCAPE = re.compile(b"\0\0(?=[\0-\3])")
MORE = 128  # a byte of a LEB128 number with another behind it
LENGTH_SIZE_AT = {"h264": 4, "hevc": 21}  # where avcC and hvcC say how many bytes the length of a unit takes
RANDOM_ACCESS = {"h264": frozenset([5]), "hevc": frozenset(range(16, 22))}  # IDR; BLA, IDR and CRA
PARAMETERS = {"h264": frozenset([7, 8]), "hevc": frozenset([32, 33, 34])}
SEI = {"h264": frozenset([6]), "hevc": frozenset([39, 40])}
# Without meaning in the standards. HEVC's 62 and 63 are Dolby Vision: they tell of the picture.
UNSPECIFIED = {"h264": frozenset([0, *range(24, 32)]), "hevc": frozenset(range(48, 62))}
USER_DATA_SEI = frozenset([4, 5])  # registered (ITU-T T.35: captions, vendors' own) and unregistered
UUID_BYTES = 16
HVCC_HEADER_BYTES = 22
AV1C_HEADER_BYTES = 4
OBU_METADATA, OBU_PADDING = 5, 15
METADATA_T35, METADATA_PRIVATE = 4, 6  # of AV1; from 6 on they are private
USER_DATA_START = b"\xb2"
ENCODER_VERSIONS = {
    "mpeg4": re.compile(rb"DivX|XviD|FFmpe|ffmpeg|Lavc"),
    "mpeg2video": re.compile(b"\0?TMPGEXS"),
    "h264": re.compile(rb"x264 - core"),
}

Change = tuple[int, int, bytes]  # data[start:end] is to be replaced


@dataclass(frozen=True)
class Bitstream:
    """Of one stream. `length_size`: bytes of the length before a NAL unit; 0 where start codes part them (Annex B)."""

    codec: str
    header: bytes
    length_size: int

    @classmethod
    def of(cls, stream: VideoStream) -> "Bitstream":
        codec, header = stream.codec_context.codec.canonical_name, stream.codec_context.extradata or b""
        at = LENGTH_SIZE_AT.get(codec, len(header))
        return cls(codec, header, header[at] % 4 + 1 if header[:1] == b"\1" and len(header) > at else 0)

    def inspected(self, data: bytes) -> tuple[bool, frozenset[bytes]]:
        """Of a key packet: whether a decoder can begin at it, and the parameter sets it brings along."""
        if self.codec not in RANDOM_ACCESS:
            return True, frozenset()
        units = [(self._kind(data[body]), data[body:end]) for _, body, end in self._units(data)]
        wanted = PARAMETERS[self.codec]
        sets = frozenset(unit.rstrip(b"\0") for kind, unit in units if kind in wanted)
        return any(kind in RANDOM_ACCESS[self.codec] for kind, _ in units), sets

    def cleaned(self, data: bytes) -> bytes:
        """A packet without user data; the same object where there is none."""
        return _changed(data, self._changes(data))

    def cleaned_header(self) -> bytes:
        """The stream's header (extradata) without user data."""
        if self.codec == "hevc" and self.length_size:
            return self._cleaned_hvcc()
        if self.codec == "av1":
            return self.header[:AV1C_HEADER_BYTES] + self.cleaned(self.header[AV1C_HEADER_BYTES:])
        return self.header if self.length_size else self.cleaned(self.header)

    def _changes(self, data: bytes) -> Iterator[Change]:
        if self.codec in SEI:
            return self._nal_changes(data)
        if self.codec == "av1":
            return _obu_changes(data)
        return self._user_data_changes(data) if self.codec in ENCODER_VERSIONS else iter(())

    def _nal_changes(self, data: bytes) -> Iterator[Change]:
        for start, body, end in self._units(data):
            kind = self._kind(data[body])
            if kind in UNSPECIFIED[self.codec]:
                yield start, end, b""
            elif kind in SEI[self.codec]:
                unit = data[body:end]
                left = self._cleaned_sei(unit)
                if left != unit:
                    before = len(left).to_bytes(self.length_size, "big") if self.length_size else data[start:body]
                    yield start, end, before + left if left else b""

    def _user_data_changes(self, data: bytes) -> Iterator[Change]:
        for start, body, end in self._units(data):
            found = data[body : body + 1] == USER_DATA_START
            if found and not ENCODER_VERSIONS[self.codec].match(data, body + 1):
                yield start, end, b""

    def _kind(self, first: int) -> int:
        return first & 31 if self.codec == "h264" else first >> 1 & 63

    def _units(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """Every unit that is not empty: where it starts, where behind its length or start code, and where it ends."""
        if self.length_size:
            at = 0
            while (body := at + self.length_size) < len(data):
                end = min(len(data), body + int.from_bytes(data[at:body], "big"))
                if end > body:
                    yield at, body, end
                at = end
            return
        found = [match.span() for match in START_CODE.finditer(data)]
        ends = [*(start for start, _ in found[1:]), len(data)]
        for (start, body), end in zip(found, ends, strict=False):
            if end > body:
                yield start, body, end

    def _cleaned_sei(self, unit: bytes) -> bytes:
        """A SEI unit without user data; empty when nothing else was in it."""
        header = 1 if self.codec == "h264" else 2
        plain = unit[header:].replace(b"\0\0\3", b"\0\0").rstrip(b"\0")
        kept, dropped, at = [], False, 0
        while at + 2 < len(plain):
            kind, size_at = _sei_number(plain, at)
            size, body = _sei_number(plain, size_at)
            end = body + size
            if end > len(plain) or (kind in USER_DATA_SEI and not self._is_encoder_version(plain[body:end])):
                dropped = True
            else:
                kept.append(plain[at:end])
            at = end
        if not dropped:
            return unit
        return unit[:header] + NEEDS_ESCAPE.sub(b"\0\0\3", b"".join(kept) + b"\x80") if kept else b""

    def _is_encoder_version(self, payload: bytes) -> bool:
        versions = ENCODER_VERSIONS.get(self.codec)
        return versions is not None and versions.match(payload, UUID_BYTES) is not None

    def _cleaned_hvcc(self) -> bytes:
        """hvcC holds arrays of units: kind, count, then length and bytes of each."""
        data, arrays, at = self.header, [], HVCC_HEADER_BYTES + 1
        for _ in range(data[HVCC_HEADER_BYTES] if len(data) > HVCC_HEADER_BYTES else 0):
            kind, count, at = data[at : at + 1], int.from_bytes(data[at + 1 : at + 3], "big"), at + 3
            units = []
            for _ in range(count):
                end = at + 2 + int.from_bytes(data[at : at + 2], "big")
                units.append(data[at + 2 : end])
                at = end
            if kind and kind[0] & 63 in SEI["hevc"]:
                units = [left for unit in units if (left := self._cleaned_sei(unit))]
            if units:
                sized = b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)
                arrays.append(kind + len(units).to_bytes(2, "big") + sized)
        return data[:HVCC_HEADER_BYTES] + bytes([len(arrays)]) + b"".join(arrays)


def _changed(data: bytes, changes: Iterator[Change]) -> bytes:
    parts, at = [], 0
    for start, end, new in changes:
        parts += [data[at:start], new]
        at = end
    return b"".join([*parts, data[at:]]) if parts else data


def _sei_number(data: bytes, at: int) -> tuple[int, int]:
    """A number as SEI writes its kinds and sizes, and where the next byte is."""
    last = at
    while data[last : last + 1] == b"\xff":
        last += 1
    return 255 * (last - at) + int.from_bytes(data[last : last + 1], "big"), last + 1


def _obu_changes(data: bytes) -> Iterator[Change]:
    """Of AV1: units with a header of one or two bytes and, but for the last at times, a length."""
    at = 0
    while at < len(data):
        kind, body, end = data[at] >> 3 & 15, at + 1 + (data[at] >> 2 & 1), len(data)
        if data[at] & 2:
            size, body = _leb128(data, body)
            end = min(end, body + size)
        metadata = data[body] if body < end else 0
        private = metadata == METADATA_T35 or metadata >= METADATA_PRIVATE
        if kind == OBU_PADDING or (kind == OBU_METADATA and private):
            yield at, end, b""
        at = end


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where the next byte is."""
    value, shift = 0, 0
    for byte in data[at : at + 8]:
        value |= byte % MORE << shift
        at, shift = at + 1, shift + 7
        if byte < MORE:
            break
    return value, at
