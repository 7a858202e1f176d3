"""A good head is kept and told apart from what is lost; nothing hangs; what the decoder made up is marked."""

import dataclasses
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from builder.errors import ItemError
from builder.media.decode import ScanSettings, scan
from builder.media.evidence import Evidence
from builder.media.guard import Guard, Limits
from builder.media.sniff import MOST_STREAMS, open_video

REFUSED = {
    "damaged",
    "empty_file",
    "no_frames",
    "no_video_stream",
    "not_video",
    "too_large",
    "truncated",
    "unsupported_codec",
}


def concatenated(make, tmp_path):
    first, second = make("a.ts", muxer="mpegts"), make("b.ts", muxer="mpegts", size=(320, 240))
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path


def test_a_size_that_changes_is_refused(make, refuses, scanned, tmp_path):
    assert "320x240" in str(refuses("size_changed", scanned, concatenated(make, tmp_path)))
    assert not (tmp_path / "evidence.parquet").exists()
    assert not (tmp_path / "strip.parquet").exists()


def test_a_frame_larger_than_allowed_is_refused_before_it_is_decoded(make, refuses, tmp_path):
    small = dataclasses.replace(ScanSettings(), max_pixels=160 * 120 - 1)
    refuses("too_large", scan, make(), tmp_path / "e", tmp_path / "s", small)


def test_a_video_of_more_frames_than_allowed_is_refused(make, refuses, scanned):
    assert "9 frames" in str(refuses("too_long", lambda path: scanned(path, max_frames=9), make(frames=10)))


def test_a_file_of_very_many_streams_is_refused(make, refuses, tmp_path):
    with av.open(str(make())) as source, av.open(str(tmp_path / "many.mkv"), "w") as out:
        tracks = [out.add_stream_from_template(source.streams.video[0], opaque=True) for _ in range(MOST_STREAMS + 1)]
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = tracks[-1]
                out.mux(packet)
    refuses("too_many_streams", open_video, tmp_path / "many.mkv")


def test_a_video_whose_packets_are_noise(make, refuses, scanned, tmp_path):
    data = bytearray(make().read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    path = tmp_path / "noise.mp4"
    path.write_bytes(data)
    with pytest.raises(ItemError) as caught:
        scanned(path)
    assert caught.value.kind in {"no_frames", "damaged"}


def hurt(path, n):
    """Packet n of a moov-last MP4 becomes noise."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        at, size = packets[n].pos, packets[n].size
    data = bytearray(path.read_bytes())
    data[at + 16 : at + size] = np.random.default_rng(n).integers(0, 256, size - 16, np.uint8).tobytes()
    path.write_bytes(data)


def test_what_is_predicted_from_a_damaged_frame_is_damaged_up_to_the_next_key_frame(make, scanned):
    path = make(frames=60, size=(320, 240), options={"g": "20", "bf": "0", "sc_threshold": "0"})
    hurt(path, 25)
    facts, evidence, _ = scanned(path)
    assert facts.complete
    assert facts.decode_errors > 0
    damaged = np.flatnonzero(evidence.damaged).tolist()
    assert len(damaged) == facts.damaged_frames
    assert damaged[-1] == facts.frames - 21
    assert damaged[0] in {25, facts.frames - 35}
    assert np.diff(damaged).max() == 1


def test_frames_shown_before_the_damaged_one_they_are_predicted_from_are_damaged(make, scanned):
    path = make(frames=60, size=(320, 240), options={"g": "60", "bf": "3", "b-adapt": "0", "sc_threshold": "0"})
    clean = scanned(path)[1]
    with av.open(str(path)) as container:
        kinds = [frame.pict_type for frame in container.decode(video=0)]
    assert not clean.damaged.any()
    hurt(path, 21)  # in decoding order: I, then P B B B over and over
    facts, evidence, _ = scanned(path)
    damaged = np.flatnonzero(evidence.damaged)
    first = int(damaged[0])
    assert kinds[first - 1] in {PictureType.I, PictureType.P}
    assert damaged.tolist() == list(range(first, facts.frames))


@pytest.mark.parametrize(
    ("how", "keep"),
    [
        ({"muxer_options": {"movflags": "faststart"}}, 0.6),
        ({"muxer_options": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "10"}}, 0.58),
        ({"muxer": "matroska"}, 0.6),
        ({"muxer": "flv"}, 0.6),
        ({"muxer": "avi", "codec": "mpeg4"}, 0.6),
    ],
)
def test_a_file_that_stops_early_keeps_its_good_head(make, scanned, how, keep):
    path = make("part", **{"frames": 100, **how})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    facts, evidence, _ = scanned(path)
    assert not facts.complete
    assert "truncated after" in facts.lost
    assert 20 < facts.frames - facts.damaged_frames < 90
    assert not evidence.damaged[:20].any()
    if "unknown" not in facts.lost:
        assert facts.lost_s + facts.duration_s == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("muxer", ["mpegts", "vob"])
def test_a_stream_that_may_stop_anywhere_does(make, scanned, tmp_path, muxer):
    whole = make("whole", muxer=muxer, codec="mpeg2video", frames=100).read_bytes()
    path = tmp_path / "part"
    path.write_bytes(whole[: len(whole) // 2])
    assert 20 < scanned(path)[0].frames < 90


def test_a_complete_file_with_a_wrong_duration_passes(make, scanned, tmp_path):
    data = bytearray(make("lie.mkv", muxer="matroska", frames=50).read_bytes())
    at = data.index(b"\x44\x89\x88") + 3
    data[at : at + 8] = np.array(9e9, ">f8").tobytes()
    path = tmp_path / "lie2.mkv"
    path.write_bytes(data)
    assert scanned(path)[0].duration_s == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("broken_tos_cut.webm", (796, 0, "truncated after 33.2 of 70.5 s")),
        ("vfr_screen_annexb.mp4", (6, 1, "truncated after 0.5 of 35.2 s")),
        ("broken_decord_corrupted.mp4", (49, 24, "")),
    ],
)
def test_real_files_with_a_good_head(footage, scanned, name, expected):
    facts, evidence, _ = scanned(footage(name))
    assert (facts.frames, int(evidence.damaged.sum()), facts.lost) == expected


def test_a_real_file_that_is_damaged_from_the_first_frame_on(footage, refuses, scanned):
    """One key frame, 200 flipped bytes: the decoder fills in and says so; none of it is what was filmed."""
    refuses("damaged", scanned, footage("broken_bitflip_dog.mp4"))


def ends_well(guard: Guard, path: Path, folder: Path) -> str:
    """The kind of failure, or "" for a scan; anything else is raised."""
    evidence = folder / "evidence"
    try:
        facts = guard.call(scan, path, evidence, folder / "strip", ScanSettings(), wall_s=60, cpu_s=30)
    except ItemError as error:
        assert error.kind in REFUSED, str(error)
        return error.kind
    told = Evidence(evidence)
    assert len(told) == facts.frames > 0
    assert np.all(np.diff(told.pts) > 0)
    assert facts.complete == (not facts.lost)
    return ""


@pytest.mark.parametrize("name", ["shot_friday_1940.mp4", "codec_vp9_square.webm", "edit_city_cc0.mpg"])
def test_every_truncation_ends_well(footage, tmp_path, name):
    whole = footage(name).read_bytes()
    part = tmp_path / "part"
    with Guard(Limits(memory_bytes=1 << 30)) as guard:
        kinds = []
        for sixteenth in range(1, 17):
            part.write_bytes(whole[: len(whole) * sixteenth // 16])
            kinds.append(ends_well(guard, part, tmp_path))
    assert kinds[-8:] == [""] * 8


SLOW = ("codec_av1_", "codec_h264_4k60", "codec_h265_1080p", "codec_hevc", "codec_vp9_alpha")
FAILS = {"broken_bitflip_dog.mp4", "broken_empty.mp4", "broken_no_video_stream.mp4", "broken_text_renamed.mp4"}


def odd_ones_end_well(folder: Path, tmp_path: Path, kind: str, slow: bool) -> None:
    with Guard() as guard:
        for path in sorted(folder.glob(f"{kind}_*")):
            if path.name.startswith(SLOW) == slow:
                failed = ends_well(guard, path, tmp_path)
                assert not failed or path.name in FAILS


@pytest.mark.parametrize("kind", ["broken", "vfr", "time", "codec"])
def test_every_odd_real_file_ends_well(footage, tmp_path, kind):
    odd_ones_end_well(footage("MANIFEST.tsv").parent, tmp_path, kind, slow=False)


@pytest.mark.torture
def test_every_odd_large_real_file_ends_well(footage, tmp_path):
    odd_ones_end_well(footage("MANIFEST.tsv").parent, tmp_path, "codec", slow=True)


def bomb(path, size, frames):
    """Black pictures: two thousand times smaller than what they decode to, or more."""
    with av.open(str(path), "w") as out:
        track = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "51"})
        track.width, track.height = size
        track.pix_fmt = "yuv420p"
        frame = av.VideoFrame(*size, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for number in range(frames):
            frame.pts = number
            out.mux(track.encode(frame))
        out.mux(track.encode(None))
    assert size[0] * size[1] * 1.5 * frames > 2000 * path.stat().st_size
    return path


def test_a_bomb_ends_inside_the_limits(tmp_path, refuses):
    """Refused by its size; where that is allowed, decoded within a bounded memory, or stopped by the limit."""
    path, outputs = bomb(tmp_path / "bomb.mp4", (8192, 8192), 4), (tmp_path / "evidence", tmp_path / "strip")
    large = dataclasses.replace(ScanSettings(), max_pixels=1 << 26)
    with Guard(Limits(memory_bytes=1 << 30)) as guard:
        refuses("too_large", guard.call, scan, path, *outputs, ScanSettings())
        assert guard.call(scan, path, *outputs, large).frames == 4
    with Guard(Limits(memory_bytes=128 << 20)) as guard:
        refuses("out_of_memory", guard.call, scan, path, *outputs, large)
