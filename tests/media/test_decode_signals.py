"""The signals of the evidence mean what they say, on pictures whose motion, sharpness and blackness are known."""

import cv2
import numpy as np
import pytest

from builder.media.evidence import GROUP
from builder.media.signals import signals

WIDE, HIGH = 1280, 720


def scene(seed=0):
    blobs = np.random.default_rng(seed).integers(20, 236, (30, 55, 3), np.uint8)
    return cv2.resize(blobs, (3000, 1600), interpolation=cv2.INTER_CUBIC)


def filmed(right, down, frames=8, zoom=1.0, picture=None):
    """Thumbnails of a camera that moves over a scene by so many of 1280 x 720 pixels a frame."""
    picture = scene() if picture is None else picture
    thumbs = []
    for n in range(frames):
        scale = zoom**-n
        matrix = np.float32([[scale, 0, 900 + right * n], [0, scale, 400 + down * n]])
        shot = cv2.warpAffine(picture, matrix, (WIDE, HIGH), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        thumbs.append(cv2.resize(shot, (48, 27), interpolation=cv2.INTER_AREA))
    return np.stack(thumbs)


@pytest.mark.parametrize(
    ("right", "down"), [(1, 0), (-4, 2), (10, 0), (0, 12), (27, 0), (60, 20), (-90, 0), (0, 50), (100, -40)]
)
def test_a_pan_is_measured_and_explains_the_difference(right, down):
    """The camera goes right: the picture goes left."""
    told = signals(filmed(right, down), None)
    wanted = np.array([-100 * right / WIDE, -100 * down / HIGH])
    got = np.array([told["shift_x"][1:], told["shift_y"][1:]])
    assert np.abs(got - wanted[:, None]).max() < max(0.1, np.abs(wanted).max() / 5)
    assert np.all(told["residual"][1:] < 0.2 * told["diff"][1:])
    assert np.all(told["response"][1:] > 0.5)


def test_a_zoom_and_a_cut_are_no_shift():
    zoom = signals(filmed(0, 0, zoom=1.04), None)
    cut = signals(np.concatenate([filmed(0, 0, 1), filmed(0, 0, 1, picture=scene(1))]), None)
    assert zoom["residual"][1:].min() > 2
    assert cut["residual"][1] > 10
    assert cut["response"][1] < 0.4


def test_a_frozen_picture_differs_by_nothing():
    told = signals(np.repeat(filmed(0, 0, 1), 5, axis=0), None)
    assert not any(told[name].any() for name in ("diff", "shift_x", "shift_y", "response", "residual"))


def test_black_is_a_share_of_dark_pixels():
    thumbs = np.full((3, 27, 48, 3), 200, np.uint8)
    thumbs[1, :, :24] = 10
    thumbs[2] = 25
    assert signals(thumbs, None)["black"].tolist() == [0, 0.5, 1]


def test_what_is_measured_does_not_depend_on_row_groups():
    thumbs = filmed(3, 1, frames=40)
    whole = signals(thumbs, None)
    for at in (1, 7, 32):
        for name, column in signals(thumbs[at:], thumbs[at - 1]).items():
            assert np.allclose(column, whole[name][at:], atol=1e-4)


def test_every_frame_of_a_video_has_all_signals(make, scanned):
    _, evidence, _ = scanned(make(frames=GROUP + 30, size=(320, 240), shots=[20, GROUP, GROUP + 20]))
    told = signals(evidence.thumbs(), None)
    for name, column in told.items():
        stored = getattr(evidence, name)
        assert stored.dtype == np.float32
        assert np.allclose(stored, column, atol=1e-3)
    assert evidence.content_deltas is None


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p10le", "gray", "rgb24", "yuyv422", "nv12"])
def test_sharpness_falls_with_blur_in_every_pixel_format(pix_fmt):
    import av

    from builder.media.signals import Sharpness

    picture = cv2.resize(scene(), (600, 320))[:, :, :]
    picture[::4] = 0
    values = []
    for blur in (0.1, 1, 3):
        soft = cv2.GaussianBlur(picture, (0, 0), blur)
        frame = av.VideoFrame.from_ndarray(soft, format="rgb24").reformat(format=pix_fmt)
        values.append(Sharpness().of(frame))
    assert values[0] > 5 * values[1] > 10 * values[2] > 0


def test_sharpness_is_the_variance_of_the_laplacian(make, scanned):
    import av

    path = make(frames=3, size=(320, 240))
    _, evidence, _ = scanned(path)
    with av.open(str(path)) as container:
        luma = next(container.decode(video=0)).to_ndarray()[:240, :320]
    variance = cv2.Laplacian(luma[56:184, 96:224].astype(np.float64), cv2.CV_64F).var()
    assert evidence.sharpness[0] == pytest.approx(variance, rel=0.05)
