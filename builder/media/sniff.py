"""Which demuxer reads a file, from its first bytes and never from its name; and the one place that opens a video.

FFmpeg's own probing accepts text (HLS, DASH, concat and SDP playlists) that makes it read other files, so the demuxer
is forced, may not call another one, and the only protocol is `file`.
"""

from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from builder.errors import ItemError
from builder.media.structure import MATROSKA, MOV, Structure, structure

HEAD_BYTES = 4096
MOV_FIRST_BOXES = frozenset([b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"moof", b"sidx"])
IMAGE_BRANDS = frozenset([b"avif", b"avis", b"heic", b"heix", b"heif", b"mif1", b"msf1"])
MAGIC = (
    (b"\x1a\x45\xdf\xa3", MATROSKA),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"FLV\x01", "flv"),
    (b"OggS", "ogg"),
    (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "asf"),
    (bytes.fromhex("060e2b34020501010d010201"), "mxf"),
)
MOST_STREAMS = 100  # cameras have 7, a broadcast multiplex some dozens; FFmpeg itself stops at 1000
TS_SYNC = ((188, 0), (192, 4), (204, 0))  # packet size, offset of the sync byte: broadcast, Blu-ray, with parity
TS_PACKETS = 5  # that many in a row are no accident
STILL = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails


def demuxer(path: Path) -> str:
    """The name of the FFmpeg demuxer to force. Raises ItemError `not_a_file`, `empty_file` or `not_video`."""
    if path.exists() and not path.is_file():
        raise ItemError("not_a_file", f"{path} is a folder, a pipe or a device; name a video file")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise ItemError("empty_file", f"{path} has 0 bytes: the download failed; remove it and fetch it again")
    name = _by_magic(head)
    if name is None:
        raise ItemError(
            "not_video",
            f"{path} begins with {head[:12]!r}, which is no video container this tool reads (a web page, a playlist "
            "or another format): check where it came from, or convert it to MP4",
        )
    return name


def _by_magic(head: bytes) -> str | None:
    for magic, name in MAGIC:
        if head.startswith(magic):
            return name
    if head[4:8] in MOV_FIRST_BOXES and head[8:12] not in IMAGE_BRANDS:
        return MOV
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AVIX"):
        return "avi"
    for size, offset in TS_SYNC:
        syncs = head[offset::size]
        if len(syncs) >= TS_PACKETS and set(syncs) == {0x47}:
            return "mpegts"
    return None


def open_video(path: Path, max_pixels: int = 0, probe: bool = True) -> InputContainer:
    """Open a file that holds a video; its streams but the one of `video_stream` are switched off.

    Use it in a `with` statement. Frames of more than `max_pixels` are refused by the decoder (0: no limit). Without
    `probe` none is decoded to learn what the header does not say (15 ms): for who decodes some anyway.
    Raises ItemError `not_a_file`, `empty_file`, `not_video`, `truncated`, `damaged`, `encrypted`, `no_video_stream`,
    `unsupported_codec`, `too_many_streams`.
    """
    name = demuxer(path)
    outline = structure(path, name)
    if not outline.indexed:
        raise ItemError("truncated", f"{path} is an MP4 without its index (moov): it was cut short; fetch it again")
    if outline.encrypted:
        raise ItemError("encrypted", f"{path} is encrypted (DRM) and cannot be decoded; leave it out")
    options = {"protocol_whitelist": "file", "format_whitelist": name}
    options |= {"max_pixels": str(max_pixels)} if max_pixels else {}
    options |= {} if probe else {"skip_frame": "all"}  # heeded while it is opened, not by those who decode it then
    # An absolute file: URL: whatever the name holds (a leading dash, `http:`, %d, a newline), it stays a name.
    url = f"file:{path.absolute()}"
    try:
        container = av.open(url, "r", name, options, metadata_errors="replace")
    except (MemoryError, OSError):
        raise
    except av.error.FFmpegError as error:
        _refuse_short(path, outline)
        what = f"{path} has a header that cannot be read ({error.strerror}); fetch it again"
        raise ItemError("damaged", what) from error
    try:
        wanted = video_stream(container)
    except ItemError:
        container.close()
        _refuse_short(path, outline)
        raise
    for stream in container.streams:
        if stream is not wanted:
            stream.discard = Discard.all
    if max_pixels:
        wanted.codec_context.options = {"max_pixels": str(max_pixels)}
    return container


def _refuse_short(path: Path, outline: Structure) -> None:
    """For a file whose header is unusable: was it cut short?"""
    if outline.declared_bytes > path.stat().st_size:
        raise ItemError("truncated", f"{path} stops before its header is complete; fetch it again")


def video_stream(container: InputContainer) -> VideoStream:
    """The first stream that shows moving pictures; cover art does not."""
    name = container.name.removeprefix("file:")
    if len(container.streams) > MOST_STREAMS:
        raise ItemError("too_many_streams", f"{name} claims {len(container.streams)} streams; leave it out")
    moving = [stream for stream in container.streams.video if not stream.disposition & STILL]
    if not moving:
        raise ItemError("no_video_stream", f"{name} holds no moving pictures (sound or a still); leave it out")
    if moving[0].codec_context is None:
        raise ItemError("unsupported_codec", f"{name} uses a codec FFmpeg cannot decode; convert it first")
    return moving[0]
