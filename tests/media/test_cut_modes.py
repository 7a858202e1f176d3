"""What is copied, what is lost by it, and when a clip is encoded instead."""

import av
import numpy as np
import pytest

from builder.media.cut import CutSettings, Span, cut, index
from media.test_cut import decoded, same_times, span_of

AWKWARD = [
    "with space",
    'it\'s "quoted"',
    "semi;colon && echo",
    "-dash",
    "--o",
    "new\nline",
    "dots...",
    ".hidden",
    "100%d%s",
    "http:example",
    "pipe:1",
    "\u6620\u753b \u00e9",
]


@pytest.fixture
def pieces(make):
    """A video with key frames at 0, 20, 40 and no B frames, its frames and its end."""
    path = make(frames=50, options={"g": "20", "keyint_min": "20", "sc_threshold": "0", "bf": "0"})
    return path, *decoded(path)


def lost(facts):
    return facts.method, facts.head_frames, facts.tail_frames


@pytest.mark.parametrize(("first", "last", "head"), [(20, 40, 0), (17, 45, 3), (1, 39, 19), (39, 50, 1)])
def test_a_copy_begins_at_the_first_key_frame_inside(pieces, tmp_path, first, last, head):
    path, frames, end = pieces
    facts = cut(path, tmp_path / "c.mp4", span_of(frames, end, first, last), CutSettings("copy"))
    assert lost(facts) == ("copy", head, 0)
    assert facts.frames == last - first - head
    got, _ = decoded(tmp_path / "c.mp4")
    assert [row[1] for row in got] == [row[1] for row in frames[first + head : last]]
    assert ("left out" in facts.settings) == bool(head)


@pytest.mark.parametrize(("loss_s", "method"), [(0.0, "encode"), (0.11, "encode"), (0.12, "copy"), (9.0, "copy")])
def test_auto_copies_what_loses_no_more_than_allowed(pieces, tmp_path, loss_s, method):
    path, frames, end = pieces
    facts = cut(path, tmp_path / "c.mp4", span_of(frames, end, 17, 45), CutSettings("auto", loss_s))
    assert lost(facts) == (method, 3 if method == "copy" else 0, 0)


def test_a_copy_ends_before_frames_that_need_later_ones(make, tmp_path):
    path = make(frames=40, options={"bf": "3", "b_strategy": "0", "b-pyramid": "none", "sc_threshold": "0"})
    frames, end = decoded(path)
    facts = cut(path, tmp_path / "c.mp4", span_of(frames, end, 0, 12), CutSettings("copy"))
    assert lost(facts) == ("copy", 0, 3)
    assert facts.duration_s == pytest.approx(9 / 25)
    assert "3 frames (0.120 s) at the end" in facts.settings


@pytest.mark.parametrize(("first", "last"), [(3, 19), (19, 21)])
def test_what_holds_no_key_frame_to_begin_at_is_no_copy(pieces, refuses, tmp_path, first, last):
    path, frames, end = pieces
    error = refuses("no_copy", cut, path, tmp_path / "c.mp4", span_of(frames, end, first, last), CutSettings("copy"))
    assert "auto" in error.message
    assert not (tmp_path / "c.mp4").exists()


def test_a_codec_that_mp4_does_not_take_is_no_copy(footage, refuses, tmp_path):
    path = footage("edit_bbb_intro.webm")
    error = refuses("no_copy", cut, path, tmp_path / "c.mp4", Span(0, 1000, 24), CutSettings("copy"))
    assert "vp8" in error.message


def test_of_an_open_gop_video_the_longest_run_is_copied(footage, tmp_path):
    """Readers lose their way where a key frame's leading pictures lie inside a clip."""
    path = footage("codec_hevc_1080p10_multigop.mp4")
    packets = index(path)
    shown, inner = sorted(packets.pts.tolist()), sorted(packets.pts[packets.barriers].tolist())
    wanted = Span(shown[0], shown[-1] + 1, len(shown), clean=True)
    facts = cut(path, tmp_path / "c.mp4", wanted, CutSettings("copy"), packets)
    first, last = shown[facts.head_frames], shown[facts.head_frames + facts.frames - 1]
    assert len(inner) == 2
    assert not [pts for pts in inner if first < pts <= last]
    assert facts.frames >= len(shown) // 3


def test_the_span_of_a_copy_is_told_in_real_time_at_a_variable_rate(make, tmp_path):
    pts = np.cumsum([1 + 9 * (number % 4 == 0) for number in range(40)]).tolist()
    path = make(frames=40, rate=100, pts=pts, options={"bf": "0", "g": "10", "sc_threshold": "0"})
    frames, end = decoded(path)
    facts = cut(path, tmp_path / "c.mp4", span_of(frames, end, 7, 33), CutSettings("copy"))
    assert lost(facts) == ("copy", 3, 0)
    assert facts.head_s == pytest.approx((pts[10] - pts[7]) / 100)
    assert facts.duration_s == pytest.approx((pts[33] - pts[10]) / 100)
    with av.open(str(tmp_path / "c.mp4")) as made:
        assert made.duration / 1e6 == pytest.approx(facts.duration_s, abs=0.002)


@pytest.mark.parametrize("muxer", ["matroska", "mpegts", "flv"])
def test_clips_are_copied_out_of_other_containers_with_b_frames(make, tmp_path, muxer):
    """Matroska stores no decode times; MPEG streams cannot be sought in."""
    path = make(frames=44, options={"g": "15", "bf": "3", "b-adapt": "0"}, shots=[22], muxer=muxer)
    frames, end = decoded(path)
    starts = sorted(index(path).pts[index(path).starts].tolist())
    first = [row[0] for row in frames].index(starts[-1])
    assert first > 0
    facts = cut(path, tmp_path / "c.mp4", span_of(frames, end, first, 44), CutSettings("auto", 0.0))
    got, _ = decoded(tmp_path / "c.mp4")
    assert lost(facts) == ("copy", 0, 0)
    assert [row[1] for row in got] == [row[1] for row in frames[first:]]
    assert same_times(got, frames[first:])


def test_nothing_is_copied_across_or_behind_other_parameters(make, tmp_path):
    """A recorder restarted: from there on, pictures are decoded by other parameter sets than the header's."""
    plain = make("a.ts", frames=20, options={"g": "10", "bf": "0"}, muxer="mpegts")
    late = list(range(20, 40))
    other = make("b.ts", frames=20, pts=late, options={"g": "10", "bf": "0", "coder": "vlc"}, muxer="mpegts")
    path = tmp_path / "joined.ts"
    path.write_bytes(plain.read_bytes() + other.read_bytes())
    frames, end = decoded(path)
    assert len(frames) == 40
    facts = cut(path, tmp_path / "c.mp4", span_of(frames, end, 0, 40), CutSettings("copy"))
    assert lost(facts) == ("copy", 0, 20)
    facts = cut(path, tmp_path / "c.mp4", span_of(frames, end, 20, 40), CutSettings())
    assert lost(facts) == ("encode", 0, 0)


def test_the_good_head_of_a_video_cut_short_gives_clips(footage, tmp_path):
    path = footage("broken_tos_cut.webm")
    frames, end = decoded(path)
    facts = cut(path, tmp_path / "c.mp4", span_of(frames, end, len(frames) - 40, len(frames)), CutSettings())
    assert (facts.method, facts.frames) == ("encode", 40)


def test_the_good_head_of_a_copied_video_cut_short_gives_clips(make, tmp_path):
    whole = make("whole.mkv", frames=100, options={"g": "20", "bf": "2"}, muxer="matroska").read_bytes()
    path = tmp_path / "short.mkv"
    for sixteenths in range(6, 16):
        path.write_bytes(whole[: len(whole) * sixteenths // 16])
        frames, end = decoded(path)
        facts = cut(path, tmp_path / "c.mp4", span_of(frames, end, 0, len(frames)), CutSettings())
        assert facts.frames == len(decoded(tmp_path / "c.mp4")[0]) == len(frames) - facts.tail_frames
        assert facts.tail_s <= 0.2


def test_a_copy_of_damaged_pictures_is_decoded_before_it_is_believed(footage, refuses, tmp_path):
    path = footage("broken_bitflip_dog.mp4")
    frames, end = decoded(path)
    wanted = span_of(frames, end, 0, len(frames))
    error = refuses("no_copy", cut, path, tmp_path / "c.mp4", wanted, CutSettings("copy"))
    assert "does not decode" in error.message


@pytest.mark.parametrize("mode", ["copy", "encode"])
@pytest.mark.parametrize("name", AWKWARD)
def test_any_file_name_is_a_file_name(make, tmp_path, monkeypatch, name, mode):
    path = make(frames=12)
    frames, end = decoded(path)
    wanted = span_of(frames, end, 0, 12)
    plain = cut(path, tmp_path / "plain.mp4", wanted, CutSettings(mode))
    monkeypatch.chdir(tmp_path)
    source, target = path.rename(f"{name}.mp4"), tmp_path / f"{name} out.mp4"
    assert cut(source, target.relative_to(tmp_path), wanted, CutSettings(mode)) == plain
    assert target.read_bytes() == (tmp_path / "plain.mp4").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.mp4", target.name, "plain.mp4"}


@pytest.fixture
def interlaced(tmp_path):
    path = tmp_path / "interlaced.mp4"
    with av.open(str(path), "w") as out:
        track = out.add_stream("libx264", rate=25, options={"x264-params": "interlaced=1:tff=1", "bf": "0"})
        track.width, track.height, track.pix_fmt = 160, 128, "yuv420p"
        for number in range(12):
            pixels = np.zeros((128, 160, 3), np.uint8)
            pixels[0::2, 6 * number : 6 * number + 20] = 220  # the field below shows a later moment
            pixels[1::2, 6 * number + 3 : 6 * number + 23] = 220
            out.mux(track.encode(av.VideoFrame.from_ndarray(pixels)))
        out.mux(track.encode(None))
    return path


def test_interlaced_lines_stay_as_they_are(interlaced, tmp_path):
    """A copy is still flagged as interlaced; an encoding holds the same lines in progressive frames, and says so."""
    frames, end = decoded(interlaced)
    pictures = {}
    for mode in ("copy", "encode"):
        facts = cut(interlaced, tmp_path / f"{mode}.mp4", span_of(frames, end, 0, 12), CutSettings(mode))
        with av.open(str(tmp_path / f"{mode}.mp4")) as made:
            pictures[mode] = list(made.decode(video=0))
        assert facts.method == mode
        assert {frame.interlaced_frame for frame in pictures[mode]} == {mode == "copy"}
        assert facts.settings.endswith("interlaced") == (mode == "encode")
    for before, after in zip(pictures["copy"], pictures["encode"], strict=True):
        lines = [frame.to_ndarray(format="gray").astype(int) for frame in (before, after)]
        assert np.abs(lines[0] - lines[1]).mean() < 4
        combing = [np.abs(pixels[0::2] - pixels[1::2]).mean() for pixels in lines]
        assert combing[1] > 0.8 * combing[0] > 4


def test_ten_bits_are_encoded_in_eight_with_their_meaning_kept(footage, tmp_path):
    path = footage("codec_av1_1080p60_hdr.mp4")
    with av.open(str(path)) as source:
        before = next(source.decode(video=0))
    frames, end = decoded(path)
    facts = cut(path, tmp_path / "c.mp4", span_of(frames, end, 3, 9), CutSettings())
    with av.open(str(tmp_path / "c.mp4")) as made:
        after = next(made.decode(video=0))
    assert (facts.method, facts.frames, after.format.name) == ("encode", 6, "yuv420p")
    assert (after.color_trc, after.color_primaries) == (before.color_trc, before.color_primaries)
    assert ("HDR" in facts.settings) == (before.color_trc in (16, 18))


@pytest.mark.parametrize(
    "name",
    [
        "shot_rooftop_portrait_hevc10_1080p_rot.mp4",
        "time_delayed_start.mp4",
        "time_bogus_duration_143165s.mp4",
        "codec_vp9_noduration.webm",
        "vfr_cursed_3026x1386.mp4",
        "rot90.mov",
        "codec_mpeg4_xvid.avi",
        "edit_pyscenedetect_fades_wm.mp4",
    ],
)
def test_the_widest_copy_of_a_real_file_is_exact(footage, tmp_path, name):
    """Edit lists, late starts, wrong durations, missing durations, rotations, B frames."""
    path = footage(name)
    frames, end = decoded(path)
    count = min(30, len(frames))
    facts = cut(path, tmp_path / "c.mp4", span_of(frames, end, 0, count), CutSettings("copy"))
    wanted = frames[facts.head_frames : count - facts.tail_frames]
    got, _ = decoded(tmp_path / "c.mp4")
    assert [row[1] for row in got] == [row[1] for row in wanted]
    assert same_times(got, wanted)
    assert facts.frames == len(wanted)
