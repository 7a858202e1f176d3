"""Scorers that see the frames of several clips at once: each clip gets its own numbers, and its own failure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from builder.records import Failure, Score
from builder.stage import Item, execution, settings
from builder.stages.score import FrameScorer
from sample_clips import Sample, made, panning, texture


@dataclass(frozen=True, slots=True)
class LightScore(Score):
    mean: float


@settings
class Light(FrameScorer[LightScore]):
    plugin: ClassVar[str] = "light"
    writes: ClassVar[type[LightScore]] = LightScore
    frames_per_clip: int = 2
    batch_size: int = execution(default=4)

    def look(self, images: Sequence[Any]) -> Sequence[float]:
        seen.append(len(images))
        return [float(image.mean()) for image in images]

    def sum_up(self, clip_id: str, values: Sequence[float]) -> LightScore:
        return LightScore(clip_id, mean=float("nan") if clip_id == "clip1" else sum(values) / len(values))


seen: list[int] = []


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("run")
    return [made(folder, panning(texture(160, 90, n), m, 2.0), name=f"clip{n}") for n, m in enumerate((50, 60, 5, 70))]


def test_frames_of_a_batch_are_looked_at_together(clips: list[Sample]) -> None:
    seen.clear()
    scorer = Light()
    with scorer.opened(clips[0].context):
        answers = scorer.batch([clip.scored() for clip in clips])
    assert seen == [2 + 2 + 1 + 2]  # a clip so short that it has one picture
    for clip, answer in zip(clips, answers, strict=True):
        if clip.clip.clip_id != "clip1":
            images = clip.frames().images(2)
            mean = sum(float(image.mean()) for image in images) / len(images)
            assert answer == [LightScore(clip.clip.clip_id, mean=mean)]


def test_a_number_that_is_none_fails_its_clip_only(clips: list[Sample]) -> None:
    scorer = Light()
    with scorer.opened(clips[0].context):
        good, bad = scorer.batch([clips[0].scored(), clips[1].scored()])
    assert not isinstance(good, Failure)
    assert isinstance(bad, Failure) and (bad.item_id, bad.kind) == ("clip1", "not_finite")


def test_a_batch_of_failures_is_not_looked_at(clips: list[Sample]) -> None:
    seen.clear()
    scorer = Light()
    with scorer.opened(clips[0].context):
        answers = scorer.batch([Item(clip.clip, "digest") for clip in clips[:2]])
    assert [a.kind for a in answers if isinstance(a, Failure)] == ["not_joined", "not_joined"]
    assert seen == []
