import pytest

from builder.media.probe import probe


def test_the_header_of_a_plain_video(make):
    told = probe(make("plain.mp4", frames=50, size=(160, 120), rate=25))
    assert (told.container, told.codec, told.pix_fmt) == ("mov", "h264", "yuv420p")
    assert (told.width, told.height, told.rotation, told.sample_aspect_ratio) == (160, 120, 0, "1:1")
    assert (told.fps, told.duration_s, told.header_frames, told.has_audio) == (25.0, 2.0, 50, False)
    assert told.bit_rate > 0
    assert told.time_base.startswith("1/")


@pytest.mark.parametrize(("flag", "size"), [(90, (120, 160)), (180, (160, 120)), (-90, (120, 160))])
def test_size_is_as_displayed(make, flag, size):
    told = probe(make(frames=3, rotation=flag))
    assert (told.width, told.height) == size
    assert told.rotation == flag % 360


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rot90.mov", {"width": 320, "height": 568, "rotation": 270, "header_frames": 3}),
        ("rot270.mov", {"width": 320, "height": 568, "rotation": 90}),
        ("vfr_fire_rot180.mp4", {"width": 1280, "height": 720, "rotation": 180, "has_audio": True}),
        ("codec_vp9_noduration.webm", {"container": "matroska", "duration_s": 0.0, "header_frames": 0}),
        ("shot_flower_fragmented.mp4", {"codec": "h264", "header_frames": 0}),
        ("edit_city_cc0.mpg", {"container": "mpeg", "codec": "mpeg2video", "width": 720, "height": 405}),
        ("codec_av1_hdr10_portrait.mp4", {"codec": "av1", "pix_fmt": "yuv420p10le"}),
        ("shot_carphone.mp4", {"sample_aspect_ratio": "128:117"}),
        ("codec_h263.3gp", {"codec": "h263", "fps": 15.0}),
    ],
)
def test_real_headers(footage, name, expected):
    told = probe(footage(name))
    assert {field: getattr(told, field) for field in expected} == expected
