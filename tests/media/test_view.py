"""Crop, scale and resample: what a clip shows, and when, told by pictures that carry their number."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.media.cut import CutSettings, Span, cut
from builder.media.view import View, resampled, view_of
from made_video import Made, write

SQUARE = Fraction(1)
FRAMES = 50


def pictures(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        times = [float(frame.pts * frame.time_base) for frame in frames]
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), times


def whole(path, frames=FRAMES, **fields):
    """The span of all of a video of `made_video`, whose time base is 1/12800."""
    return Span(0, frames * 512, frames, clean=True, **fields)


# -- which part
@given(
    st.integers(2, 4000), st.integers(2, 4000), st.integers(0, 2000), st.sampled_from([(512, 512), (640, 360), None])
)
def test_boxes_are_even_inside_and_of_the_shape_asked_for(wide, high, short_side, size):
    view = view_of((wide, high), SQUARE, None, 0 if size else short_side, size)
    if view is None:
        return
    x0, x1, y0, y1 = view.box
    assert 0 <= x0 < x1 <= wide and 0 <= y0 < y1 <= high
    assert not any(number % 2 for number in (*view.box, *view.size))
    if size:
        assert view.size == size
        assert (
            abs((x1 - x0) / (y1 - y0) / (size[0] / size[1]) - 1) <= 2 / min(x1 - x0, y1 - y0) + 1e-9
            or min(x1 - x0, y1 - y0) == 2
        )
    elif short_side and min(wide, high) > short_side:
        assert abs(min(view.size) - short_side) <= 1 or min(view.size) == 2


def test_what_changes_nothing_is_no_view():
    unchanged = (None, 0, None), ((0, 640, 0, 360), 360, None), (None, 720, None), (None, 0, (640, 360))
    for crop, short_side, size in unchanged:
        assert view_of((640, 360), SQUARE, crop, short_side, size) is None
    assert view_of((641, 361), SQUARE, None, 0, None) is None


def test_the_middle_in_the_shape_as_displayed():
    assert view_of((1920, 1080), SQUARE, None, 0, (512, 512)) == View((1920, 1080), (420, 1500, 0, 1080), (512, 512))
    tall = Fraction(1, 2)  # pixels half as wide as high: 1080x1080 when displayed
    assert view_of((2160, 1080), tall, None, 0, (512, 512)) == View((2160, 1080), (0, 2160, 0, 1080), (512, 512), True)


def test_a_crop_is_taken_before_scaling_and_rounded_inwards():
    found = view_of((640, 360), SQUARE, (1, 639, 31, 330), 100, None)
    assert found == View((640, 360), (2, 638, 32, 330), (214, 100))
    assert found.words == ["cropped to x 2:638 y 32:330 of 640x360", "scaled to 214x100 (bicubic)"]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pixels_of_the_crop(tmp_path, rotation):
    """A crop in upright pixels, of a video stored turned."""
    path = write(tmp_path / "a.mp4", Made(frames=4, rotation=rotation, options={"crf": "1"}))
    cut(path, tmp_path / "all.mp4", whole(path, 4), CutSettings("encode", crf=1))
    full, _ = pictures(tmp_path / "all.mp4")
    high, wide = full.shape[1:3]
    view = view_of((wide, high), SQUARE, (20, 100, 10, 90), 0, None)
    facts = cut(path, tmp_path / "crop.mp4", whole(path, 4, view=view), CutSettings("auto", crf=1))
    part, _ = pictures(tmp_path / "crop.mp4")
    assert (facts.width, facts.height, facts.method) == (80, 80, "encode")
    assert "cropped to x 20:100 y 10:90 of" in facts.settings
    assert np.abs(part.astype(int) - full[:, 10:90, 20:100]).mean() < 3


def test_scaled_pictures_are_the_same_every_time(tmp_path):
    path = write(tmp_path / "a.mp4", Made(frames=10, size=(320, 180)))
    view = view_of((320, 180), SQUARE, None, 0, (64, 64))
    contents = set()
    for n in range(2):
        facts = cut(path, tmp_path / f"{n}.mp4", whole(path, 10, view=view), CutSettings())
        contents.add((tmp_path / f"{n}.mp4").read_bytes())
    assert len(contents) == 1
    assert (facts.width, facts.height, facts.frames) == (64, 64, 10)
    assert "libavcodec" in facts.settings


# -- which moments
def shown(rate, fps, count):
    return [(n, k) for n, k in resampled(((n, Fraction(n, rate)) for n in range(count)), Fraction(count, rate), fps)]


def test_a_whole_fraction_of_the_rate_takes_each_nth():
    assert shown(60, Fraction(30), 12) == [(0, 0), (2, 1), (4, 2), (6, 3), (8, 4), (10, 5)]
    assert shown(25, Fraction(25), 5) == [(n, n) for n in range(5)]
    assert shown(12, Fraction(24), 3) == [(0, 0), (0, 1), (1, 2), (1, 3), (2, 4), (2, 5)]


@given(st.lists(st.integers(1, 200), min_size=1, max_size=40), st.fractions(1, 120))
def test_no_picture_is_moved_by_more_than_half_a_frame(gaps_ms, fps):
    """Of any timestamps: each output frame shows what the source shows half a frame later at most."""
    edges = [Fraction(sum(gaps_ms[:n]), 1000) for n in range(len(gaps_ms) + 1)]
    found = list(resampled(zip(range(len(gaps_ms)), edges, strict=False), edges[-1], fps))
    assert [number for _, number in found] == list(range(max(1, round(edges[-1] * fps))))
    for picture, number in found:
        middle = (number + Fraction(1, 2)) / fps
        assert edges[picture] < middle
        assert edges[picture + 1] >= middle or picture == len(gaps_ms) - 1


def bar(path):
    """The number of each picture, by where its bar is (3 pixels a frame)."""
    frames, times = pictures(path)
    return [round((frame.sum(axis=2)[60] > 600).nonzero()[0].min() / 3) for frame in frames], times


@pytest.mark.parametrize("fps", [12.5, 10.0, 24.0, 50.0])
def test_time_stays_as_it_was(tmp_path, fps):
    path = write(tmp_path / "a.mp4", Made(frames=FRAMES, options={"crf": "1"}))
    facts = cut(path, tmp_path / "b.mp4", whole(path), CutSettings(fps=fps, crf=1))
    numbers, times = bar(tmp_path / "b.mp4")
    assert (facts.method, facts.fps) == ("encode", fps)
    assert facts.frames == len(numbers) == round(FRAMES / 25 * fps)
    assert facts.duration_s == pytest.approx(FRAMES / 25, abs=0.5 / fps)
    assert np.allclose(times, np.arange(len(times)) / fps, atol=1e-6)
    middles = [t + 0.5 / fps for t in times]
    assert all(n / 25 < middle <= (n + 1) / 25 + 1e-6 for n, middle in zip(numbers, middles, strict=True))
    assert f"resampled to {fps:g} fps" in facts.settings


def test_a_variable_rate_becomes_a_constant_one(tmp_path):
    pts = [0, 1, 2, 10, 11, 30, 31, 32, 40]
    path = write(tmp_path / "a.mp4", Made(frames=len(pts), pts=pts, options={"crf": "1", "bf": "0"}))
    facts = cut(path, tmp_path / "b.mp4", Span(0, 41 * 512, len(pts)), CutSettings(fps=25.0, crf=1))
    numbers, times = bar(tmp_path / "b.mp4")
    held = [max(n for n, at in enumerate(pts) if at <= k) for k in range(41)]
    assert (facts.frames, numbers) == (41, held)
    assert np.allclose(np.diff(times), 0.04, atol=1e-6)


def test_what_has_the_rate_is_copied(tmp_path):
    path = write(tmp_path / "a.mp4", Made(frames=FRAMES))
    assert cut(path, tmp_path / "b.mp4", whole(path), CutSettings(fps=25.0)).method == "copy"
    assert cut(path, tmp_path / "b.mp4", whole(path), CutSettings(fps=24.0)).method == "encode"


def test_the_rates_of_film_are_meant_as_they_are():
    assert CutSettings(fps=23.976).rate == Fraction(24000, 1001)
    assert CutSettings(fps=29.97).rate == Fraction(30000, 1001)
    assert CutSettings(fps=59.94).rate == Fraction(60000, 1001)
    assert [CutSettings(fps=fps).rate for fps in (0.0, 24.0, 12.5, 8.0)] == [0, 24, Fraction(25, 2), 8]
