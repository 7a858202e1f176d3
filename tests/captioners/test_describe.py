"""Describe: plain English, true to what was measured, the same every time."""

import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from builder.captioners.describe import LENGTH, Describe
from builder.pretrained import imagenet
from builder.records import Caption, Score
from builder.scorers.text import TextScore
from sample_clips import VIDEOS, Image, Sample, growing, made, panning, sample, texture


def described(sample: Sample, text: TextScore | None = None, **settings: object) -> Caption:
    captioner = Describe(**{"tags": "off", "scores": ("score.text", "score.motion"), **settings})  # type: ignore[arg-type]
    with captioner.opened(sample.context):
        [caption] = captioner.each(sample.judged({"score.text": text} if text else None))
    return caption


def written(area: float = 0.02, persistence: float = 1.0, lines: tuple[str, ...] = ("Good night",)) -> TextScore:
    return TextScore("made", area=area, boxes=1.0, persistence=persistence, lines=lines)


def plain(colour: tuple[int, int, int]) -> Image:
    return np.full((180, 320, 3), colour, np.uint8)


@pytest.mark.parametrize(
    "frames, said",
    [
        (panning(texture(), 50, 5.0), "pans left"),  # what slides to the right shows more of what is on the left
        (panning(texture(), 50, -5.0), "pans right"),
        (panning(texture(), 50, 0, 4.0), "tilts up"),
        (panning(texture(), 50, 0, -4.0), "tilts down"),
        (growing(texture(), 50, 1.008), "closes in"),
        (growing(cv2.resize(texture(), (640, 360)), 50, 1 / 1.008), "draws back"),
        ([texture()] * 50, "stays in place, and there is hardly any movement"),
    ],
)
def test_the_view(tmp_path: Path, frames: Iterable[Image], said: str) -> None:
    assert f"The view {said}" in described(made(tmp_path, frames)).text


def test_a_shaking_view(tmp_path: Path) -> None:
    still, aside = texture(), list(panning(texture(), 2, 24.0))[1]
    frames = [still if (n // 3) % 2 else aside for n in range(60)]
    assert "The view is unsteady" in described(made(tmp_path, frames)).text


@pytest.mark.parametrize(
    "colour, said",
    [
        ((200, 30, 30), "mostly in red"),
        ((30, 60, 200), "mostly in blue"),
        ((40, 160, 60), "mostly in green"),
        ((110, 70, 30), "mostly in brown"),
        ((240, 240, 240), "very bright"),
        ((5, 5, 5), "very dark"),
        ((90, 90, 90), "in black, white or nearly colourless tones"),
    ],
)
def test_colours_and_light(tmp_path: Path, colour: tuple[int, int, int], said: str) -> None:
    assert said in described(made(tmp_path, [plain(colour)] * 30)).text


def test_several_colours_by_their_share(tmp_path: Path) -> None:
    picture = plain((30, 60, 200))
    picture[:, 200:] = (200, 30, 30)
    picture[:, 280:] = (40, 160, 60)
    assert "mostly in blue, red and green" in described(made(tmp_path, [picture] * 30)).text


@pytest.mark.parametrize(
    "size, said",
    [((640, 360), "landscape"), ((360, 640), "portrait"), ((320, 320), "square"), ((640, 240), "very wide")],
)
def test_framing_and_length(tmp_path: Path, size: tuple[int, int], said: str) -> None:
    text = described(made(tmp_path, panning(texture(*size), 50, 1.0))).text
    assert text.startswith(f"A {said} shot of about 2.0 seconds, ")


def test_a_fade(tmp_path: Path) -> None:
    frames = [(texture() * (1 - n / 60)).astype(np.uint8) for n in range(60)]
    assert "growing darker" in described(made(tmp_path, frames)).text


def test_text_is_quoted(tmp_path: Path) -> None:
    clip = made(tmp_path, panning(texture(), 30, 2.0))
    assert described(clip, written()).text.endswith("Text is visible throughout, reading “Good night”.")
    assert "for part of the time" in described(clip, written(persistence=0.5)).text
    assert described(clip, written(lines=("7°",))).text.endswith("Text is visible throughout.")
    assert described(clip, written(0.0, 0.0, ())).text.endswith("No text is visible.")


def test_nothing_is_said_of_boxes_that_nobody_has_read(tmp_path: Path) -> None:
    assert "ext" not in described(made(tmp_path, panning(texture(), 30, 2.0)), written(lines=())).text


def test_nothing_is_said_of_text_that_was_not_looked_for(tmp_path: Path) -> None:
    assert "ext" not in described(made(tmp_path, panning(texture(), 30, 2.0))).text


def test_a_caption_has_its_length_whatever_was_found(tmp_path: Path) -> None:
    clip = made(tmp_path, panning(texture(300, 300), 30, 2.0))
    long = written(lines=("word " * 40, "many more words " * 10))
    for text in (None, written(), long, written(lines=("short one", "many more words " * 10))):
        assert LENGTH[0] <= described(clip, text).words <= LENGTH[1]


def test_metadata_is_honest(tmp_path: Path) -> None:
    caption = described(made(tmp_path, [texture()] * 10))
    assert (caption.captioner, caption.model, caption.status, caption.prompt) == ("describe", "describe", "ok", "")
    assert (caption.frames_s, caption.tokens) == ((), 0)
    assert json.loads(caption.parameters)["tags"] == "off"


def test_it_joins_the_text_score_and_no_other() -> None:
    assert Describe(scores=("score.motion", "score.text")).joins == ("split", "scan", "score.text")
    assert Describe().joins == ("split", "scan")


def test_tags_are_part_of_the_identity() -> None:
    off = Describe(tags="off")
    assert off.identity() == {"tags": ""}
    if imagenet.available():
        assert Describe().identity() == {"tags": imagenet.SHA256}
        assert Describe().fingerprint() != off.fingerprint()


def test_the_scores_that_are_on_are_no_setting() -> None:
    assert Describe(scores=("score.text",)).fingerprint() == Describe().fingerprint()


def test_another_score_is_not_mistaken_for_text(tmp_path: Path) -> None:
    clip = made(tmp_path, [texture()] * 10)
    captioner = Describe(tags="off")
    with captioner.opened(clip.context):
        [caption] = captioner.each(clip.judged({"score.other": Score("made")}))
    assert "ext" not in caption.text


@pytest.mark.skipif(not imagenet.available(), reason="needs the extra `caption`")
def test_real_footage_has_tags(tmp_path: Path) -> None:
    video = VIDEOS / "dup_chair-22-with-large-logo-bar.mp4"
    if not video.is_file():
        pytest.skip("needs the sample videos: set OSD_TEST_VIDEOS")
    clip = sample(video, tmp_path)
    first, second = (described(clip, tags="auto") for _ in range(2))
    assert "It appears to show a folding chair." in first.text
    assert len(first.frames_s) == 3
    assert first == second
