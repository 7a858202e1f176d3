"""Nothing that names a person, place, device or date gets into a clip: canaries are planted where files have room."""

import datetime
from fractions import Fraction

import av
import numpy as np
import pytest

from builder.media.bitstream import Bitstream
from builder.media.cut import CutSettings, Span, cut, index
from builder.media.sniff import open_video, video_stream
from media.test_cut import decoded, span_of

CANARY = b"canary"
TAGS = {
    "title": "canary-title",
    "artist": "canary-artist",
    "author": "canary-author",
    "comment": "canary-comment",
    "copyright": "canary-owner",
    "description": "canary-description",
    "make": "canary-make",
    "model": "canary-model",
    "encoder": "canary-encoder",
    "location": "+48.8577+002.2950/canary",
    "com.apple.quicktime.location.ISO6709": "+48.8577+002.2950/canary",
    "com.android.manufacturer": "canary-manufacturer",
    "serial_number": "canary-0815",
    "creation_time": "2031-02-03T04:05:06Z",
}
SECONDS_TO_2031 = int((datetime.datetime(2031, 2, 3, 4, 5, 6) - datetime.datetime(1904, 1, 1)).total_seconds())
UUID = bytes(range(16))
CAPTIONS = (
    b"\xb5\0\x31GA94\3\x45\xff" + b"canary-captions" + b"\xff"
)  # of ATSC A/53, as broadcasts and phones have them


def sei(kind, payload):
    return bytes([kind, len(payload)]) + payload


def unit(data, size=4):
    return len(data).to_bytes(size, "big") + data


def obu(kind, payload):
    return bytes([kind << 3 | 2, len(payload)]) + payload


H264 = {
    "unregistered": b"\6" + sei(5, UUID + b"canary-serial") + b"\x80",
    "captions": b"\6" + sei(4, CAPTIONS) + b"\x80",
    "among others": b"\6" + sei(100, b"\x80") + sei(5, UUID + b"canary") + sei(5, UUID + b"canary-2") + b"\x80",
    "longer than its unit": b"\6\5\xff\x60canary\x80",
    "a unit without meaning": b"\x18canary",
}
HEVC = {
    "unregistered": b"\x4e\1" + sei(5, UUID + b"canary") + b"\x80",
    "behind the picture": b"\x50\1" + sei(4, CAPTIONS) + b"\x80",
    "a unit without meaning": b"\x60\1canary",
}


def planted(source, target, change, muxer="mp4"):
    """`source` with the bytes of every packet changed."""
    with av.open(str(source)) as found, av.open(str(target), "w", muxer) as out:
        track = out.add_stream_from_template(found.streams.video[0], opaque=True)
        for packet in found.demux(video=0):
            if packet.size:
                new = av.Packet(change(bytes(packet)))
                new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
                new.duration, new.is_keyframe, new.stream = packet.duration, packet.is_keyframe, track
                out.mux(new)
    assert target.read_bytes().count(CANARY) > 3
    return target


@pytest.fixture
def checked(tmp_path):
    """checked(path, mode): cuts its first 20 frames, and looks."""

    def check(path, mode):
        frames, end = decoded(path)
        target, count = tmp_path / "c.mp4", min(20, len(frames))
        facts = cut(path, target, span_of(frames, end, 0, count), CutSettings(mode))
        assert facts.method == mode
        got, _ = decoded(target)
        assert len(got) == facts.frames
        if mode == "copy":
            wanted = frames[facts.head_frames : count - facts.tail_frames]
            assert [row[1] for row in got] == [row[1] for row in wanted]
        assert CANARY not in target.read_bytes()
        return target

    return check


MODES = pytest.mark.parametrize("mode", ["copy", "encode"])


@MODES
@pytest.mark.parametrize("muxer", ["mp4", "mov", "matroska", "mpegts", "avi"])
def test_tags_are_left_out(make, checked, tmp_path, muxer, mode):
    path = tmp_path / "tagged"
    source = make(frames=10, codec="mpeg4") if muxer == "avi" else make(frames=10, options={"bf": "0"})
    options = {"movflags": "use_metadata_tags"} if muxer in ("mp4", "mov") else {}
    with av.open(str(source)) as found, av.open(str(path), "w", muxer, options) as out:
        out.metadata.update(TAGS)
        track = out.add_stream_from_template(found.streams.video[0])
        track.metadata.update({"handler_name": "canary-handler", "title": "canary-track", "language": "deu"})
        if muxer in ("mp4", "mov", "matroska"):
            chapter = {"id": 1, "start": 0, "end": 1, "time_base": Fraction(1), "metadata": {"title": "canary-chapter"}}
            out.set_chapters([chapter])
        for packet in found.demux(video=0):
            if packet.size:
                packet.stream = track
                out.mux(packet)
    assert CANARY in path.read_bytes()
    data = checked(path, mode).read_bytes()
    assert b"48.8577" not in data
    assert SECONDS_TO_2031.to_bytes(4, "big") not in data
    with av.open(str(tmp_path / "c.mp4")) as made:
        assert not set(made.metadata) & {key for key in TAGS if key != "encoder"}
        assert made.streams.video[0].language in (None, "und")


@MODES
def test_boxes_of_others_are_left_out(make, checked, mode):
    path = make(frames=10)
    boxes = {b"uuid": UUID + b"<x:xmpmeta>canary</x:xmpmeta>", b"free": CANARY, b"udta": CANARY, b"skip": CANARY}
    with path.open("ab") as file:
        for kind, payload in boxes.items():
            file.write((len(payload) + 8).to_bytes(4, "big") + kind + payload)
    checked(path, mode)


@MODES
def test_other_streams_are_left_out(footage, checked, mode):
    """A real one: place and speed beside the picture, in a stream of their own."""
    path = footage("shot_aerial_gopro.mp4")
    assert b"GPS" in path.read_bytes()
    data = checked(path, mode).read_bytes()
    assert not [word for word in (b"gpmd", b"GPS5", b"DVNM", b"GoPro", b"Hero") if word in data]


@MODES
@pytest.mark.parametrize("kind", H264)
def test_user_data_in_h264_is_left_out(make, checked, tmp_path, kind, mode):
    path = planted(make("a.mp4", frames=10), tmp_path / "p.mp4", lambda data: unit(H264[kind]) + data)
    checked(path, mode)


@MODES
def test_user_data_in_a_transport_stream_is_left_out(make, checked, tmp_path, mode):
    source = make("a.ts", frames=10, muxer="mpegts", options={"bf": "0"})
    path = planted(source, tmp_path / "p.ts", lambda data: b"\0\0\0\1" + H264["unregistered"] + data, "mpegts")
    checked(path, mode)


@MODES
@pytest.mark.parametrize("kind", HEVC)
def test_user_data_in_hevc_is_left_out(make, checked, tmp_path, kind, mode):
    path = planted(
        make("a.mp4", frames=8, codec="libx265", options={"x265-params": "bframes=0"}),
        tmp_path / "p.mp4",
        lambda data: data + unit(HEVC[kind]),
    )
    checked(path, mode)


def test_user_data_in_the_header_of_hevc_is_left_out(footage, tmp_path):
    """x265 writes its settings there."""
    path, target = footage("codec_h265_1080p_counter.mp4"), tmp_path / "c.mp4"
    packets = index(path)
    assert b"x265" in path.read_bytes()
    facts = cut(path, target, Span(0, int(np.sort(packets.pts)[20]), 20), CutSettings("copy"), packets)
    assert (facts.method, facts.head_frames) == ("copy", 0)
    assert b"x265" not in target.read_bytes()


@MODES
@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video"])
def test_user_data_in_older_codecs_is_left_out(make, checked, tmp_path, codec, mode):
    source = make("a.ts", frames=10, codec=codec, muxer="mpegts")

    def with_canary(data):
        at = data.index(b"\0\0\1\xb6" if codec == "mpeg4" else b"\0\0\1\1")
        return data[:at] + b"\0\0\1\xb2canary" + data[at:]

    checked(planted(source, tmp_path / "p.ts", with_canary, "mpegts"), mode)


@MODES
@pytest.mark.parametrize("extra", [obu(5, b"\4\xb5canary\x80"), obu(5, b"\7canary\x80")])
def test_user_data_in_av1_is_left_out(footage, checked, tmp_path, extra, mode):
    path = planted(footage("codec_av1_svt_640.mkv"), tmp_path / "p.mkv", lambda data: extra + data, "matroska")
    checked(path, mode)


def test_what_tells_of_the_picture_stays(make):
    """The version of x264, which decoders look for, and messages beside the ones left out."""
    with open_video(make(frames=3)) as container:
        stream = video_stream(container)
        bitstream, packets = Bitstream.of(stream), [bytes(packet) for packet in container.demux(stream)]
    assert b"x264 - core" in packets[0]
    assert all(bitstream.cleaned(packet) is packet for packet in packets)
    escaped = b"\6\6\3\0\0\3\1"  # a message of three bytes, 0 0 1, as it must be written
    mixed, alone = unit(escaped + sei(5, UUID) + b"\x80"), unit(escaped + b"\x80")
    assert bitstream.cleaned(mixed + packets[1]) == alone + packets[1]


def test_user_data_is_left_out_wherever_it_lies():
    """Also where no muxer of FFmpeg would write it, and whatever is cut short."""
    av1, h264 = Bitstream("av1", b"", 0), Bitstream("h264", b"", 0)
    frame = obu(6, b"frame")
    assert av1.cleaned(frame + obu(15, CANARY) + frame) == frame + frame
    assert av1.cleaned(frame + bytes([5 << 3]) + b"\4" + CANARY) == frame
    assert av1.cleaned(obu(5, b"\1light") + frame) == obu(5, b"\1light") + frame
    for start in (b"\0\0\1", b"\0\0\0\1"):
        picture = start + b"\x65picture"
        assert h264.cleaned(start + H264["unregistered"] + picture) == picture
        assert h264.cleaned(picture + start) == picture + start


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "mpeg4", "mpeg2video", "vp9"])
@pytest.mark.parametrize("length_size", [0, 4])
def test_any_bytes_can_be_looked_through(codec, length_size):
    stream = Bitstream(codec, b"", length_size)
    for data in (b"", b"\0", b"\0\0\1", b"\xff" * 9, b"\6\xff\xff", b"\0\0\1\6\xff\xff", b"\x2a\xff\xff\xff"):
        assert len(stream.cleaned(data)) <= len(data)
        stream.inspected(data)
    for cut_at in range(40):
        Bitstream("hevc", (bytes([1]) + bytes(20) + b"\3" + b"\1\x27\0\1\0\4\x4e\1\5\xff")[:cut_at], 4).cleaned_header()
