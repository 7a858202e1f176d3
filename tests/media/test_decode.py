import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from builder.media.decode import ScanSettings, scan
from builder.media.evidence import GROUP
from builder.media.frames import FrameReader
from builder.media.sniff import open_video, video_stream


def test_facts_and_evidence_of_a_plain_video(make, scanned):
    facts, evidence, strip = scanned(make(frames=50, shots=[20]))
    assert (facts.frames, facts.width, facts.height, facts.fps) == (50, 160, 120, 25.0)
    assert (facts.start_pts, facts.duration_s, facts.vfr, facts.decode_errors) == (0, 2.0, False, 0)
    assert facts.strip_frames == len(strip)
    assert len(evidence) == 50
    assert np.array_equal(evidence.pts, np.arange(50) * (facts.end_pts // 50))
    assert evidence.key[0]
    assert int(np.argmax(evidence.diff)) == 20
    assert evidence.diff[0] == 0


def test_signals_are_those_of_the_stored_thumbnails(make, scanned):
    _, evidence, _ = scanned(make(frames=GROUP + 40, shots=[30, GROUP, GROUP + 3]))
    thumbs = evidence.thumbs().astype(np.float64)
    assert thumbs.shape == (GROUP + 40, 27, 48, 3)
    luma = (thumbs @ [0.299, 0.587, 0.114]).mean(axis=(1, 2))
    diff = np.abs(np.diff(thumbs, axis=0)).mean(axis=(1, 2, 3))
    assert np.allclose(evidence.luma, luma, atol=1e-3)
    assert np.allclose(evidence.diff[1:], diff, atol=1e-3)


def test_thumbnails_look_like_the_video_and_are_read_by_range(make, scanned):
    _, evidence, _ = scanned(make(frames=GROUP + 40, size=(480, 270), shots=[GROUP - 1]))
    every = evidence.thumbs()
    assert every[0, 13, 40, 0] > 90 > every[0, 13, 40, 1]
    for start, stop in [(0, 1), (GROUP - 2, GROUP + 2), (GROUP, None), (10, 10), (GROUP + 30, 9999)]:
        assert np.array_equal(evidence.thumbs(start, stop), every[start:stop])


def test_the_strip_takes_two_frames_a_second_and_one_at_a_change(make, scanned):
    facts, _, strip = scanned(make(frames=100, shots=[45], size=(160, 120)))
    ticks = [0, 13, 25, 38, 50, 63, 75, 88]
    assert sorted({*strip.frames.tolist()} - {*ticks}) == [45]
    assert {*ticks} <= {*strip.frames.tolist()}
    assert np.allclose(strip.times_s, strip.frames / 25)
    middle = facts.end_pts // 2
    assert strip.frames[strip.between(middle, facts.end_pts)].tolist() == [50, 63, 75, 88]
    assert strip.between(1, 2) == []
    before, after = strip.image(0), strip.image(len(strip) - 1)
    assert before.shape == (120, 160, 3)
    assert before[..., 0].mean() > before[..., 2].mean()
    assert after[..., 1].mean() > after[..., 0].mean()


def test_the_strip_is_never_faster_than_its_limit(make, scanned):
    _, _, strip = scanned(make(frames=100, shots=range(0, 100, 2)))
    assert np.diff(strip.times_s).min() > 0.11
    assert len(strip) <= 4 * 4 + 2


def test_strip_images_are_small_but_never_enlarged(make, scanned):
    _, _, strip = scanned(make(frames=3, size=(1280, 720)), strip_short_side=360)
    assert strip.image(0).shape == (360, 640, 3)
    _, _, strip = scanned(make(frames=3, size=(64, 48)))
    assert strip.image(0).shape == (48, 64, 3)


@pytest.mark.parametrize("flag", [90, 180, -90])
def test_thumbnails_and_strip_are_upright(make, scanned, flag):
    """The flag turns counter-clockwise, as numpy does: a turned video looks like its unturned twin, turned."""
    _, plain, plain_strip = scanned(make("plain.mp4", frames=5))
    turns, plain_thumbs = flag // 90 % 4, plain.thumbs()
    expected = np.rot90(plain_strip.image(0), turns).astype(int)
    facts, evidence, strip = scanned(make("turned.mp4", frames=5, rotation=flag))
    assert (facts.width, facts.height) == (expected.shape[1], expected.shape[0])
    assert np.abs(strip.image(0) - expected).mean() < 3
    if turns == 2:
        assert np.abs(evidence.thumbs().astype(int) - plain_thumbs[:, ::-1, ::-1]).mean() < 3
    assert evidence.thumbs().shape == (5, 27, 48, 3)


def test_the_same_bytes_every_time_and_for_any_threads(make, tmp_path):
    path = make(frames=GROUP + 10, shots=[30], options={"g": "12"})
    kept = set()
    for threads in (1, 1, 2):
        facts = scan(path, tmp_path / "e", tmp_path / "s", ScanSettings(threads=threads))
        kept.add(((tmp_path / "e").read_bytes(), (tmp_path / "s").read_bytes(), facts))
    assert len(kept) == 1


def test_row_groups_are_small_enough_to_stream(make, tmp_path):
    scan(make(frames=2 * GROUP + 1), tmp_path / "e", tmp_path / "s", ScanSettings())
    assert pq.ParquetFile(tmp_path / "e").metadata.num_row_groups == 3


def test_variable_frame_rate(make, scanned):
    pts = np.cumsum([1 + 7 * (number % 5 == 0) for number in range(40)]).tolist()
    facts, evidence, _ = scanned(make(frames=40, rate=100, pts=pts))
    assert facts.vfr
    assert facts.frames == 40
    assert np.array_equal(np.diff(evidence.pts) > np.median(np.diff(evidence.pts)), np.diff(pts) > 1)
    assert facts.fps == pytest.approx(40 / facts.duration_s)


def test_missing_timestamps_are_made_from_the_one_before_and_the_rate(make):
    with open_video(make(rate=25)) as container:
        reader = FrameReader(container, video_stream(container))
        tick = reader.time_base.denominator // 25
        frames = [av.VideoFrame(16, 16) for _ in range(5)]
        frames[2].pts = 10 * tick
        assert [reader.timestamp(frame) // tick for frame in frames] == [0, 1, 10, 11, 12]


def rewritten(make, tmp_path, timestamp):
    """A Matroska file, whose muxer takes any timestamps, with those of packet i replaced by timestamp(i)."""
    with av.open(str(make(frames=30, options={"bf": "0"}))) as source, av.open(str(tmp_path / "x.mkv"), "w") as out:
        track = out.add_stream_from_template(source.streams.video[0], opaque=True)
        step = 512
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            packet.dts, packet.stream = (number - 2) * step, track
            packet.pts = timestamp(number) * step
            out.mux(packet)
    return tmp_path / "x.mkv"


def test_a_repeated_timestamp_moves_by_one_tick(make, scanned, tmp_path):
    facts, evidence, _ = scanned(rewritten(make, tmp_path, lambda n: n - (n == 10)))
    assert facts.frames == 30
    assert np.all(np.diff(evidence.pts) > 0)
    assert evidence.pts[10] == evidence.pts[9] + 1


def test_a_clock_that_restarts_goes_on(make, scanned, tmp_path):
    facts, evidence, _ = scanned(rewritten(make, tmp_path, lambda n: n + 100 if n < 20 else n))
    assert facts.frames == 30
    assert np.all(np.diff(evidence.pts) > 0)
    assert facts.duration_s < 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rot90.mov", {"frames": 3, "width": 320, "height": 568}),
        ("vfr_cursed_3026x1386.mp4", {"frames": 63, "vfr": True}),
        ("vfr_fire_rot180.mp4", {"frames": 25, "vfr": True}),
        ("codec_vp9_noduration.webm", {"frames": 74, "vfr": False}),
        ("shot_flower_fragmented.mp4", {"frames": 150}),
        ("edit_city_cc0.mpg", {"frames": 190, "fps": 25.0}),
        ("shot_rooftop_portrait_hevc10_1080p_rot.mp4", {"frames": 77, "width": 1080}),
        ("time_bogus_duration_143165s.mp4", {"frames": 30, "duration_s": 1.001}),
        ("broken_audio.mp4", {"frames": 280, "decode_errors": 0, "audio_codec": "mp3", "audio_rate": 44100}),
        ("time_delayed_start.mp4", {"frames": 24, "duration_s": 0.96}),
        ("shot_flower_timelapse.mp4", {"audio_codec": "aac", "audio_channels": 2, "audio_start_s": 0.0}),
        ("codec_av1_1080p60_hdr.mp4", {"frames": 60, "hdr": "pq", "bit_depth": 10}),
        ("codec_hevc_1080p10_multigop.mp4", {"hdr": "hlg", "bit_depth": 10, "audio_codec": ""}),
        ("shot_carphone.mp4", {"width": 176, "sar": "128/117", "interlaced": False}),
        ("codec_mpeg4_xvid.avi", {"frames": 96}),
    ],
)
def test_real_files(footage, scanned, name, expected):
    facts, evidence, _ = scanned(footage(name))
    assert {field: getattr(facts, field) for field in expected} == expected
    assert len(evidence) == facts.frames
    assert np.all(np.diff(evidence.pts) > 0)
    assert facts.end_pts > evidence.pts[-1]
    assert (facts.complete, facts.damaged_frames, int(evidence.damaged.sum())) == (True, 0, 0)
