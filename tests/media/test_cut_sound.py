"""Sound goes along by whole packets: each at the time it had beside the picture, which never moves."""

from fractions import Fraction

import av
import numpy as np
import pytest

from builder.media.cut import CutSettings, Span, cut, index

SOUND = [
    ("shot_dog_park.mp4", "copy", True),
    ("shot_rooftop_portrait_hevc10_1080p_rot.mp4", "copy", True),
    ("dup_doorknob-hd-no-bar.mp4", "encode", True),
    ("codec_av1_hdr10_portrait.mp4", "copy", True),
    ("codec_vp9_noduration.webm", "copy", True),
    ("broken_audio.mp4", "encode", True),
    ("shot_flower_fragmented.mp4", "copy", True),
    ("codec_mpeg4_xvid.avi", "encode", True),
    ("edit_bbb_intro.webm", "encode", False),
]


def packets(path):
    """Content -> begin in seconds of each packet of sound, how long one lasts, and when the first picture is shown."""
    with av.open(str(path)) as container:
        sounds = container.streams.audio
        shown = [p for p in container.demux(container.streams.video[0]) if p.size and not p.is_discard]
        first = min(float(p.pts * p.time_base) for p in shown)
        count = len(shown)
    if not sounds:
        return [], 0.0, first, count
    with av.open(str(path)) as container:
        found = [(bytes(p), float(p.pts * p.time_base)) for p in container.demux(container.streams.audio[0]) if p.size]
    return found, float(np.median(np.diff([at for _, at in found]))), first, count


@pytest.mark.parametrize(("name", "mode", "kept"), SOUND)
def test_each_packet_keeps_its_time_beside_the_picture(footage, tmp_path, name, mode, kept):
    source = footage(name)
    found = index(source)
    shown = np.sort(found.pts)
    first, last = len(shown) // 3, len(shown) // 3 + min(20, len(shown) // 2)
    if mode == "copy":
        first = int(np.searchsorted(shown, found.pts[found.starts[len(found.starts) // 2]]))
        last = min(first + 40, len(shown) - 1)
    span = Span(int(shown[first]), int(shown[last]), last - first)
    plain = cut(source, tmp_path / "plain.mp4", span, CutSettings(mode), found)
    facts = cut(source, tmp_path / "clip.mp4", span, CutSettings(mode, sound=True), found)
    theirs, lasts, _, _ = packets(source)
    got, _, picture, count = packets(tmp_path / "clip.mp4")
    assert (facts.frames, picture, count) == (plain.frames, 0.0, plain.frames)
    if not kept:
        assert got == []
        assert "sound left out (vorbis does not go into MP4)" in facts.settings
        return
    begin = float((span.start_pts) * found.time_base) + facts.head_s
    end = float((span.end_pts) * found.time_base) - facts.tail_s
    wanted = [(data, at - begin) for data, at in theirs if begin <= at < end]
    assert [data for data, _ in got] == [data for data, _ in wanted]
    assert np.allclose([at for _, at in got], [at for _, at in wanted], atol=0.0011)
    assert 0 <= got[0][1] <= lasts + 0.0011
    assert "sound copied" in facts.settings
    again = cut(source, tmp_path / "again.mp4", span, CutSettings(mode, sound=True), found)
    assert (again, (tmp_path / "again.mp4").read_bytes()) == (facts, (tmp_path / "clip.mp4").read_bytes())


def test_pictures_are_those_of_the_silent_clip(footage, tmp_path):
    source = footage("shot_dog_park.mp4")
    found = index(source)
    span = Span(int(np.sort(found.pts)[30]), int(np.sort(found.pts)[60]), 30)
    decoded = []
    for sound in (False, True):
        cut(source, tmp_path / "clip.mp4", span, CutSettings("encode", sound=sound), found)
        with av.open(str(tmp_path / "clip.mp4")) as container:
            decoded.append([(f.pts * f.time_base, bytes(f.planes[0])) for f in container.decode(video=0)])
    assert decoded[0] == decoded[1]


def test_without_sound_in_the_source_nothing_is_said(footage, tmp_path):
    source = footage("edit_bikes.mp4")
    found = index(source)
    span = Span(int(np.sort(found.pts)[0]), int(np.sort(found.pts)[50]), 50)
    facts = cut(source, tmp_path / "clip.mp4", span, CutSettings(sound=True), found)
    assert "sound" not in facts.settings
    assert Fraction(0) == packets(tmp_path / "clip.mp4")[1]


def test_tags_of_the_sound_stay_behind(tmp_path):
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as out:
        pictures = out.add_stream("mpeg4", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        track = out.add_stream("aac", rate=48000, layout="stereo")
        track.metadata.update({"title": "CANARY", "handler_name": "CANARY", "language": "deu"})
        for number in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(pictures.encode(frame))
        waves = av.AudioFrame.from_ndarray(np.zeros((2, 48000), np.float32), format="fltp", layout="stereo")
        waves.sample_rate = 48000
        out.mux([*track.encode(waves), *track.encode(None), *pictures.encode(None)])
    assert b"CANARY" in source.read_bytes()
    found = index(source)
    pts = np.sort(found.pts)
    for mode in ("copy", "encode"):
        span = Span(int(pts[0]), int(pts[-1] + pts[1] - pts[0]), 25)
        facts = cut(source, tmp_path / "b.mp4", span, CutSettings(mode, sound=True), found)
        assert "sound copied (aac)" in facts.settings
        assert not any(tag in (tmp_path / "b.mp4").read_bytes() for tag in (b"CANARY", b"deu"))
