import hashlib
import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from builder.errors import ItemError
from builder.media.cut import CutSettings, Span, cut, index
from builder.media.frames import FrameReader, plane_pixels
from builder.media.probe import probe
from builder.media.sniff import open_video, video_stream


def decoded(path):
    """(pts, md5 of the pictures, seconds from the first frame) of every frame."""
    frames = []
    with open_video(path) as container:
        reader = FrameReader(container, video_stream(container))
        for frame, pts in reader:
            digest = hashlib.md5()
            for number in range(len(frame.planes)):
                plane = frame.planes[number]
                bytes_wide = plane.width * (2 if "10" in frame.format.name else 1)
                digest.update(np.ascontiguousarray(plane_pixels(frame, number)[:, :bytes_wide]))
            frames.append((pts, digest.hexdigest(), pts * reader.time_base))
        end = frames[-1][0] + max(1, frame.duration)
    start_s = frames[0][2]
    return [(pts, digest, float(seconds - start_s)) for pts, digest, seconds in frames], end


def span_of(frames, end, first, last):
    return Span(frames[first][0], frames[last][0] if last < len(frames) else end, last - first)


@pytest.fixture
def clip(tmp_path):
    """clip(path, first frame, end frame, **settings) -> facts, path of the clip, frames of the source's span."""

    def run(path, first, last, **settings):
        frames, end = decoded(path)
        last = len(frames) if last is None else last
        target = tmp_path / f"clip-{first}-{last}.mp4"
        facts = cut(path, target, span_of(frames, end, first, last), CutSettings(**settings))
        return facts, target, frames[first:last]

    return run


def same_times(got, wanted):
    shift = wanted[0][2]
    return np.allclose([row[2] for row in got], [row[2] - shift for row in wanted], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("edit_sintel_10s.mp4", 0, 40),
        ("edit_bikes.mp4", 0, None),
        ("shot_cockatoo.mp4", 145, 185),
        ("codec_hevc10_rot_2shots.mp4", 0, None),
        ("edit_nasa_rocket_text.mkv", 1536, 1576),
        ("edit_city_cc0.mpg", 96, 136),
        ("codec_av1_hdr10_portrait.mp4", 0, None),
        ("edit_fades_synthetic.mp4", 124, 164),
        ("shot_flower_fragmented.mp4", 0, None),
    ],
)
def test_a_copy_holds_exactly_the_frames_of_the_source(footage, clip, name, first, last):
    facts, target, wanted = clip(footage(name), first, last)
    got, _ = decoded(target)
    assert facts.method == "copy"
    assert [row[1] for row in got] == [row[1] for row in wanted]
    assert facts.frames == len(wanted)
    assert same_times(got, wanted)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("edit_city_cc0.mpg", 63, 83),
        ("edit_bbb_intro.webm", 100, 120),
        ("vfr_cursed_3026x1386.mp4", 20, 24),
        ("codec_mpeg4_xvid.avi", 31, 50),
        ("codec_h263.3gp", 3, 12),
        ("shot_rooftop_portrait_hevc10_1080p_rot.mp4", 5, 9),
        ("vfr_fire_rot180.mp4", 7, 12),
        ("broken_bitflip_dog.mp4", 250, 260),
    ],
)
def test_an_encoding_has_the_frames_and_times_of_the_source(footage, clip, name, first, last):
    path = footage(name)
    facts, target, wanted = clip(path, first, last)
    got, _ = decoded(target)
    told = probe(path)
    assert (facts.method, facts.codec, facts.frames) == ("encode", "h264", last - first)
    assert len(got) == last - first
    assert same_times(got, wanted)
    assert (facts.width, facts.height) == (told.width & ~1, told.height & ~1)
    assert probe(target).rotation == 0


@pytest.mark.parametrize("muxer", ["mp4", "matroska", "mpegts"])
@pytest.mark.parametrize(("options", "shots"), [({"g": "10"}, []), ({"bf": "3", "b-adapt": "0"}, [17, 30])])
def test_every_span_of_a_video_is_cut_as_its_facts_say(make, tmp_path, options, shots, muxer):
    """Whatever the span and the mode: the frames told of, at their times, and those copied are the same pixels."""
    path = make(frames=44, options=options, shots=shots, muxer=muxer)
    frames, end = decoded(path)
    packets, methods = index(path), set()
    for first, last in itertools.product((0, 3, 10, 17, 20, 30), (18, 21, 30, 40, 44)):
        for mode in ("auto", "copy", "encode") if first < last else ():
            facts = cut_or_none(path, tmp_path / "c.mp4", span_of(frames, end, first, last), mode, packets)
            if facts is None:
                methods.add("none")
                continue
            wanted = frames[first + facts.head_frames : last - facts.tail_frames]
            got, _ = decoded(tmp_path / "c.mp4")
            assert len(got) == facts.frames == len(wanted)
            assert same_times(got, wanted)
            assert facts.duration_s == pytest.approx(facts.frames / 25)
            assert (facts.head_s, facts.tail_s) == pytest.approx((facts.head_frames / 25, facts.tail_frames / 25))
            assert mode == "copy" or facts.head_s + facts.tail_s <= (0.2 if mode == "auto" else 0) + 1e-6
            if facts.method == "copy":
                assert [row[1] for row in got] == [row[1] for row in wanted]
            methods.add((mode, facts.method))
    assert {("auto", "copy"), ("auto", "encode"), ("copy", "copy"), ("encode", "encode"), "none"} >= methods
    assert len(methods) >= 4


def cut_or_none(path, target, span, mode, packets):
    try:
        return cut(path, target, span, CutSettings(mode), packets)
    except ItemError as error:
        assert (error.kind, mode) == ("no_copy", "copy")
        return None


def test_an_intra_refresh_video_is_not_copied_from_the_middle(make, clip):
    """Its later keyframes are no place to start: flagged, but not IDR."""
    path = make(frames=60, options={"intra-refresh": "1", "g": "15", "bf": "0"})
    assert clip(path, 0, None)[0].method == "copy"
    assert clip(path, 30, None)[0].method == "encode"


def test_a_span_that_holds_other_frames_than_scan_counted_is_refused(make, refuses, tmp_path):
    path = make(frames=20)
    _, end = decoded(path)
    refuses("cut_mismatch", cut, path, tmp_path / "c.mp4", Span(0, end, 21), CutSettings())
    assert not (tmp_path / "c.mp4").exists()


@pytest.mark.parametrize("settings", [{"mode": "copy"}, {"mode": "encode"}])
def test_the_same_bytes_every_time(make, clip, settings):
    path = make(frames=30, options={"g": "10"})
    facts, target, _ = clip(path, 0, None, **settings)
    first = target.read_bytes()
    assert facts.method == settings["mode"]
    assert clip(path, 0, None, **settings)[0] == facts
    assert target.read_bytes() == first


def test_variable_times_are_kept(make, clip):
    pts = np.cumsum([1 + 7 * (number % 5 == 0) for number in range(40)]).tolist()
    path = make(frames=40, rate=100, pts=pts, options={"bf": "0"})
    for copy in (True, False):
        facts, target, wanted = clip(path, 0, 40, mode="copy" if copy else "encode")
        got, _ = decoded(target)
        assert facts.method == ("copy" if copy else "encode")
        assert same_times(got, wanted)


@pytest.mark.parametrize("flag", [90, 180, -90])
def test_an_encoding_is_upright_and_even(make, clip, flag, tmp_path):
    path = make(frames=6, size=(162, 122), rotation=flag)
    facts, target, _ = clip(path, 0, None, mode="encode")
    told = probe(path)
    assert (facts.width, facts.height) == (told.width, told.height)
    with av.open(str(path)) as source, av.open(str(target)) as made:
        before = next(source.decode(video=0)).to_ndarray(format="rgb24").astype(int)
        after = next(made.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(np.rot90(before, flag // 90) - after).mean() < 4


def test_an_odd_size_loses_its_last_row(footage, clip):
    facts, _, _ = clip(footage("edit_city_cc0.mpg"), 1, 3)
    assert (facts.width, facts.height) == (720, 404)


def test_a_picture_without_an_even_size_is_refused(make, refuses, tmp_path):
    path = make("tiny.mkv", frames=6, size=(1, 1), codec="ffv1", muxer="matroska")
    refuses("too_small", cut, path, tmp_path / "out.mp4", Span(0, 10**9, 6), CutSettings("encode"))


def test_the_shape_of_pixels_and_the_meaning_of_colours_are_kept(tmp_path, clip):
    path = tmp_path / "tagged.mp4"
    with av.open(str(path), "w") as out:
        track = out.add_stream("libx264", rate=25)
        track.width, track.height, track.pix_fmt = 160, 120, "yuv420p"
        context = track.codec_context
        context.sample_aspect_ratio = Fraction(4, 3)
        context.colorspace = context.color_primaries = context.color_trc = 1
        context.color_range = 2
        for number in range(8):
            frame = av.VideoFrame(160, 120)
            frame.pts = number
            out.mux(track.encode(frame))
        out.mux(track.encode(None))
    _, target, _ = clip(path, 0, None, mode="encode")
    assert probe(target).sample_aspect_ratio == "4:3"
    with av.open(str(target)) as made:
        frame = next(made.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 2)
