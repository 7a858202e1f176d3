"""Quality: BRISQUE rises with blur, blocks and noise, and is what the package with the same weights finds."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from builder.errors import ItemError
from builder.pretrained import brisque
from builder.scorers.quality import Quality
from sample_clips import VIDEOS, Image, Sample, made, panning, sample, texture

CLEAN = ("shot_dog_park.mp4", "shot_juggle.mp4", "shot_carphone.mp4")
needs_videos = pytest.mark.skipif(not VIDEOS.is_dir(), reason="needs the sample videos: set OSD_TEST_VIDEOS")


def natural(seed: int) -> Image:
    """Noise with the spectrum of photographs, in colour."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.fft.fftfreq(240), np.fft.fftfreq(320), indexing="ij")
    falling = np.maximum(np.hypot(x, y), 1 / 320) ** -1.2
    channels = [np.fft.ifft2(np.fft.fft2(rng.normal(size=(240, 320))) * falling).real for _ in range(3)]
    channels = [c + 2 * channels[0] for c in channels]
    return np.stack([np.clip(128 + 45 * c / c.std(), 0, 255) for c in channels], axis=-1).astype(np.uint8)


def blurred(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 2.0), np.uint8)


def noisy(image: Image) -> Image:
    noise = np.random.default_rng(0).normal(0, 15, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def blocky(image: Image) -> Image:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 8])[1], 1), np.uint8)


# found by brisque 0.2.0 (scipy, scikit-image, libsvm) on the same pictures
@pytest.mark.parametrize(
    "seed, change, wanted", [(0, np.asarray, 27.516), (0, blurred, 63.125), (1, noisy, 43.689), (2, blocky, 70.291)]
)
def test_it_is_what_the_package_with_these_weights_finds(
    seed: int, change: Callable[[Image], Image], wanted: float
) -> None:
    assert brisque.score(change(natural(seed))) == pytest.approx(wanted, abs=0.3)


def test_features_are_those_of_opencv() -> None:
    """OpenCV has another regression and pads another way, but the same statistics: those of the first scale."""
    compute = getattr(getattr(cv2, "quality", None), "QualityBRISQUE_computeFeatures", None)
    if compute is None:
        pytest.skip("needs opencv-contrib")
    grey = cv2.cvtColor(natural(3), cv2.COLOR_RGB2GRAY)
    found = brisque.features(grey.astype(np.float64))
    assert found == pytest.approx(compute(grey)[0, :18].tolist(), rel=0.05, abs=0.01)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample]:
    folder = tmp_path_factory.mktemp("run")
    return {name: sample(VIDEOS / name, folder) for name in (*CLEAN, "shot_carphone_blocky.mp4")}


@needs_videos
@pytest.mark.parametrize("spoil", [blurred, noisy, blocky])
def test_what_spoils_a_clip_raises_it(footage: dict[str, Sample], spoil: Callable[[Image], Image]) -> None:
    for name in CLEAN:
        [image] = footage[name].frames().images(1)
        before, after = brisque.score(image), brisque.score(spoil(image))
        assert before is not None and after is not None and after > before + 5


@needs_videos
def test_heavy_compression_is_worse(footage: dict[str, Sample]) -> None:
    clean, coarse = (
        Quality().score(footage[name].frames()).brisque for name in ("shot_carphone.mp4", "shot_carphone_blocky.mp4")
    )
    assert coarse > clean + 10


def test_flat_pictures_have_no_quality(tmp_path: Path) -> None:
    flat = np.full((180, 320, 3), 90, np.uint8)
    with pytest.raises(ItemError, match="flat"):
        Quality().score(made(tmp_path, [flat] * 20).frames())
    assert brisque.score(flat) is None


def test_flat_frames_among_others_are_left_out(tmp_path: Path) -> None:
    frames = [*([np.zeros((180, 320, 3), np.uint8)] * 25), *panning(natural(1)[:180], 50, 1.0)]
    mixed, whole = made(tmp_path, frames, name="mixed"), made(tmp_path, frames[25:], name="whole")
    assert Quality().score(mixed.frames()).brisque == pytest.approx(Quality().score(whole.frames()).brisque, abs=8)


def test_small_pictures_have_a_number() -> None:
    assert brisque.score(texture(40, 24)) is not None


def test_other_weights_are_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Quality().fingerprint()
    monkeypatch.setattr(brisque, "weights_hash", lambda: "0" * 16)
    assert Quality().fingerprint() != before
