import os
from fractions import Fraction

import av
import numpy as np
import pytest

from builder.errors import ItemError
from builder.media.cut import CutSettings, Span, cut
from builder.media.decode import ScanSettings, scan
from builder.media.probe import probe
from builder.media.sniff import demuxer, open_video
from builder.media.structure import MATROSKA, MOV, structure

CONTAINERS = [
    ("mp4", "libx264", MOV),
    ("mov", "libx264", MOV),
    ("3gp", "mpeg4", MOV),
    ("matroska", "libx264", MATROSKA),
    ("webm", "libvpx-vp9", MATROSKA),
    ("avi", "mpeg4", "avi"),
    ("mpegts", "libx264", "mpegts"),
    ("vob", "mpeg2video", "mpeg"),
    ("flv", "libx264", "flv"),
    ("asf", "mpeg4", "asf"),
    ("mxf", "mpeg2video", "mxf"),
]

PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{canary}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{canary}'\n",
    "dash": '<?xml version="1.0"?><MPD><Period><BaseURL>file://{canary}</BaseURL></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "html": "<!DOCTYPE html><html><body>404</body></html>",
    "subtitles": "1\n00:00:01,000 --> 00:00:02,000\nHello\n",
}

NAMES = ["-x.mp4", "http:a.mp4", "a\nb.mp4", 'it\'s "so".mp4', "%d%(ext)s.mp4", "file:x.mp4", "concat:a|b", "ü é.mp4"]
NAMES += ["a b; rm -rf 'x'.mp4", "...mp4", "-", "$(x)`y`&z.mp4", "\\n\t.mp4", "x" * 200]


@pytest.mark.parametrize(("muxer", "codec", "expected"), CONTAINERS)
def test_the_demuxer_comes_from_the_bytes_and_not_from_the_name(make, muxer, codec, expected):
    path = make("lies.gif", frames=30, size=(176, 144), codec=codec, muxer=muxer)
    assert demuxer(path) == expected
    assert probe(path).width == 176


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_text_is_never_opened_whatever_it_points_to(make, refuses, tmp_path, kind, suffix):
    canary = make("canary.mp4")
    path = tmp_path / f"disguised{suffix}"
    path.write_text(PLAYLISTS[kind].format(canary=canary))
    assert "not_video" in str(refuses("not_video", open_video, path))


def test_a_subtitle_playlist_inside_an_avi_reads_no_other_file(make, tmp_path):
    """The GAB2 trick: bytes that FFmpeg probes a second time, where they look like a playlist."""
    canary = make("canary.mp4", frames=5)
    playlist = f"#EXTM3U\n#EXTINF:9,\nfile://{canary}\n#EXT-X-ENDLIST\n".encode()
    data = make("clean.avi", codec="mpeg4", muxer="avi").read_bytes()
    payload = b"GAB2\0\2\0" + bytes(4) + b"\4\0" + len(playlist).to_bytes(4, "little") + playlist
    chunk = b"00tx" + len(payload).to_bytes(4, "little") + payload + b"\0" * (len(payload) % 2)
    at = data.index(b"movi") + 4
    path = tmp_path / "gab2.avi"
    path.write_bytes(data[:at] + chunk + data[at:])
    with open_video(path) as container:
        assert container.format.name == "avi"
        assert len(container.streams.video) == 1


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_only_names(make, tmp_path, monkeypatch, name):
    path = make("plain.mp4", frames=10).rename(tmp_path / name).relative_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert probe(path).header_frames == 10
    facts = scan(path, tmp_path / "evidence", tmp_path / "strip", ScanSettings())
    target = path.with_name(f"{name}.clip")
    cut(path, target, Span(facts.start_pts, facts.end_pts, 10), CutSettings())
    assert probe(target).header_frames == 10


def test_an_empty_file(refuses, tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    refuses("empty_file", open_video, path)


def test_a_missing_file_is_no_item_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_video(tmp_path / "missing.mp4")


def test_an_mp4_without_its_index_is_truncated(make, refuses, tmp_path):
    data = make().read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: data.index(b"moov") - 4])
    assert "moov" in str(refuses("truncated", open_video, path))


def test_an_mp4_that_ends_inside_its_index_is_truncated(make, refuses, tmp_path):
    data = make(muxer_options={"movflags": "faststart"}).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: data.index(b"moov") + 200])
    refuses("truncated", open_video, path)


def test_a_header_of_noise_is_damaged(refuses, tmp_path):
    path = tmp_path / "noise.mkv"
    path.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(np.random.default_rng(0).integers(0, 256, 5000, np.uint8)))
    refuses("damaged", open_video, path)


def test_common_encryption_is_recognised(make, refuses):
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "00" * 16, "encryption_kid": "11" * 16}
    refuses("encrypted", open_video, make("cenc.mp4", muxer_options=key))


def sound(path, muxer, cover=False):
    with av.open(str(path), "w", muxer) as out:
        track = out.add_stream("aac", rate=44100)
        image = out.add_stream("mjpeg", rate=1) if cover else None
        if image:
            image.width, image.height, image.pix_fmt, image.disposition = 64, 64, "yuvj420p", 1 << 10
            image.color_range = 2
            frame = av.VideoFrame(64, 64, "yuvj420p")
            frame.pts, frame.color_range = 0, 2
            out.mux(image.encode(frame))
            out.mux(image.encode(None))
        for number in range(20):
            samples = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            samples.sample_rate, samples.pts, samples.time_base = 44100, number * 1024, Fraction(1, 44100)
            out.mux(track.encode(samples))
        out.mux(track.encode(None))
    return path


@pytest.mark.parametrize("cover", [False, True])
def test_sound_even_with_cover_art_is_no_video(refuses, tmp_path, cover):
    refuses("no_video_stream", open_video, sound(tmp_path / "song.mp4", "mp4", cover))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("broken_empty.mp4", "empty_file"),
        ("broken_text_renamed.mp4", "not_video"),
        ("broken_no_video_stream.mp4", "no_video_stream"),
    ],
)
def test_real_files_that_cannot_be_opened(footage, refuses, name, kind):
    refuses(kind, open_video, footage(name))


@pytest.mark.parametrize("muxer", ["mp4", "matroska", "avi"])
def test_the_declared_size_of_a_complete_file_is_its_size(make, muxer):
    path = make("whole", codec="mpeg4", muxer=muxer)
    assert structure(path, demuxer(path)).declared_bytes == path.stat().st_size


def test_every_truncation_is_refused_or_opened_but_never_a_bug(make, tmp_path):
    whole = make(muxer_options={"movflags": "faststart"}).read_bytes()
    path = tmp_path / "part.mp4"
    for part in range(1, 64):
        path.write_bytes(whole[: len(whole) * part // 64])
        try:
            open_video(path).close()
        except ItemError as error:
            assert error.kind in {"truncated", "damaged", "not_video"}


def test_what_is_no_file_is_not_waited_for(refuses, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "pipe.mp4" in refuses("not_a_file", demuxer, tmp_path / "pipe.mp4").message
    refuses("not_a_file", demuxer, tmp_path)
