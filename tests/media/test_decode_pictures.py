"""Strip pictures in true shape and colours; facts of shape, light and lines."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from builder.media.pictures import pixel_shape
from builder.media.tonemap import to_sdr


def circle(size, sar):
    """A disc that is round on a screen, stored in pixels of that shape."""
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    radius = height // 3
    axes = (round(radius / sar), radius) if sar > 1 else (radius, round(radius * sar))
    cv2.ellipse(picture, (width // 2, height // 2), axes, 0, 0, 360, (255, 255, 255), -1)
    return picture


def film(path, picture, codec="libx264", frames=4, options=None, **fields):
    with av.open(str(path), "w") as out:
        track = out.add_stream(codec, rate=25, options=options or {})
        track.height, track.width = picture.shape[:2]
        track.pix_fmt = fields.pop("pix_fmt", "yuv420p")
        turn = fields.pop("rotation", 0)
        if turn:
            track.set_display_rotation(turn)
        for name, value in fields.items():
            setattr(track.codec_context, name, value)
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = n
            out.mux(track.encode(frame))
        out.mux(track.encode(None))
    return path


@pytest.mark.parametrize("sar", [Fraction(4, 3), Fraction(2, 3), Fraction(64, 45)])
@pytest.mark.parametrize("rotation", [0, 90])
def test_a_circle_is_round_in_the_strip(tmp_path, scanned, sar, rotation):
    path = film(tmp_path / "v.mp4", circle((360, 240), sar), sample_aspect_ratio=sar, rotation=rotation)
    facts, _, strip = scanned(path)
    upright = 1 / sar if rotation else sar
    assert facts.sar == f"{upright.numerator}/{upright.denominator}"
    assert (facts.width, facts.height) == ((240, 360) if rotation else (360, 240))
    bright = strip.image(0)[..., 1] > 128
    wide, high = bright.any(axis=0).sum(), bright.any(axis=1).sum()
    assert abs(wide / high - 1) < 0.04


def test_a_shape_that_cannot_be_is_taken_for_square():
    assert [pixel_shape(f) for f in (None, Fraction(0), Fraction(1, 999), Fraction(4, 3))] == [1, 1, 1, Fraction(4, 3)]


def test_interlaced_lines_are_blended(tmp_path, scanned):
    combed = np.zeros((240, 320, 3), np.uint8)
    combed[::2, 100:200] = 255
    options = {"flags": "+ilme+ildct", "qscale": "2"}
    facts, _, strip = scanned(film(tmp_path / "v.mpg", combed, "mpeg2video", options=options))
    assert facts.interlaced
    inside = strip.image(0)[20:220, 120:180, 1].astype(float)
    assert inside.std() < 20
    assert 100 < inside.mean() < 155


@pytest.mark.parametrize("transfer", ["pq", "hlg"])
def test_light_is_mapped_in_order_and_white_stays_below_the_peak(transfer):
    codes = np.repeat(np.linspace(0, 65535, 64).astype(np.uint16)[None, :, None], 3, axis=2)
    grey = to_sdr(codes, transfer)[0].astype(int)
    assert np.all(np.diff(grey, axis=0) >= 0)
    assert np.ptp(grey, axis=1).max() <= 2
    assert (grey[0, 0], grey[-1, 0]) == (0, 255)
    white = {"pq": 0.58, "hlg": 0.75}[transfer]  # HDR reference white, BT.2408 table 1
    assert 180 < grey[round(white * 63), 0] < 240


def test_a_bt2020_green_is_a_green():
    green = to_sdr(np.array([[[0, 38000, 0]]], np.uint16), "pq")[0, 0]
    assert green.argmax() == 1
    assert green[0] == green[2] == 0


def test_real_hdr_is_brighter_and_more_colourful_than_its_codes(footage, scanned):
    path = footage("codec_av1_hdr10_portrait.mp4")
    facts, evidence, strip = scanned(path)
    assert (facts.hdr, facts.bit_depth) == ("pq", 10)
    shown = cv2.cvtColor(strip.image(len(strip) // 2), cv2.COLOR_RGB2HSV)
    codes = cv2.cvtColor(evidence.thumbs()[strip.frames[len(strip) // 2]], cv2.COLOR_RGB2HSV)
    assert shown[..., 2].mean() > 1.1 * codes[..., 2].mean()
    assert shown[..., 1].mean() > 1.3 * codes[..., 1].mean()


def test_luma_alone_is_that_of_the_picture_and_thumbnails_are_not_written_to(tmp_path, scanned):
    noise = np.random.default_rng(0).integers(0, 255, (18, 32, 3), np.uint8)
    _, evidence, strip = scanned(film(tmp_path / "noise.mp4", cv2.resize(noise, (320, 180))))
    luma = cv2.cvtColor(strip.image(0), cv2.COLOR_RGB2GRAY).astype(int)
    assert abs(strip.grey(0).astype(int) - luma).max() <= 3
    kept = evidence.thumbs().copy()
    with pytest.raises(ValueError, match="read-only"):
        evidence.thumbs()[0] = 0
    assert (evidence.thumbs() == kept).all()
