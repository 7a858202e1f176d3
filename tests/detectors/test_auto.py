"""auto: what it must find and what must not fool it: textures, encoded and scanned; real videos where present."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.detectors import auto
from builder.detectors.auto import Auto
from builder.frames import Footage
from builder.stages.detect import Boundary
from sample_clips import VIDEOS, Image, growing, made, panning, texture

Find = Callable[[Sequence[Image]], Sequence[Boundary]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    def found(pictures: Sequence[Image]) -> Sequence[Boundary]:
        sample = made(tmp_path, pictures)
        return Auto().boundaries(sample.footage)

    return found


def shot(seed: int, frames: int = 50) -> list[Image]:
    """A scene of its own colours and light: blobs of one kind blend into each other as clouds do."""
    tint = np.random.default_rng(seed).uniform(0.2, 1.1, 3)
    scene = np.clip(texture(320, 180, seed) * tint, 0, 255).astype(np.uint8)
    return list(panning(scene, frames, 1.5, 0.5))


def blend(old: NDArray[Any], new: NDArray[Any], share: float) -> Image:
    return (old * (1 - share) + new * share).astype(np.uint8)


def dissolved(old: list[Image], new: list[Image], frames: int) -> list[Image]:
    both = zip(old[-frames:], new[:frames], strict=True)
    mixed = [blend(a, b, (i + 1) / (frames + 1)) for i, (a, b) in enumerate(both)]
    return [*old[:-frames], *mixed, *new[frames:]]


def faded(old: list[Image], new: list[Image], frames: int, hold: int = 0, level: int = 0) -> list[Image]:
    blank = np.full_like(old[0], level)
    out = [blend(picture, blank, (i + 1) / frames) for i, picture in enumerate(old[-frames:])]
    back = [blend(blank, picture, (i + 1) / frames) for i, picture in enumerate(new[:frames])]
    return [*old[:-frames], *out, *[blank] * hold, *back, *new[frames:]]


def test_hard_cuts_to_the_frame(find: Find) -> None:
    found = find([*shot(1, 40), *shot(2, 35), *shot(3, 60)])
    assert [(b.start, b.end, b.kind) for b in found] == [(40, 40, "cut"), (75, 75, "cut")]
    assert all(0.5 <= b.score <= 1 for b in found)


@pytest.mark.parametrize("frames", [8, 16, 24])
def test_all_of_a_dissolve_lies_within_its_boundary(find: Find, frames: int) -> None:
    (found,) = find(dissolved(shot(6, 60), shot(7, 60), frames))
    first = 60 - frames
    assert found.kind == "dissolve"
    assert found.start <= first and first + frames <= found.end
    assert first <= found.frame <= first + frames and found.end - found.start <= 2 * frames + 8


@pytest.mark.parametrize("level", [0, 255])
def test_out_and_in_again_is_one_fade(find: Find, level: int) -> None:
    (found,) = find(faded(shot(6, 60), shot(7, 60), 10, hold=4, level=level))
    assert found.kind == "fade"
    assert found.start <= 50 and found.end >= 74


def test_black_that_stays_is_a_span_of_its_own(find: Find) -> None:
    out, back = find(faded(shot(8, 60), shot(9, 60), 12, hold=40))
    assert (out.kind, back.kind) == ("fade", "fade")
    assert out.start <= 48 and out.end <= back.start and back.end >= 112


def test_one_shot_has_none(find: Find) -> None:
    assert not find(shot(10, 120))


def test_a_flash_is_none(find: Find) -> None:
    pictures = shot(11, 90)
    for i in (40, 41):
        pictures[i] = blend(pictures[i], np.full_like(pictures[i], 255), 0.85)
    assert not find(pictures)


def test_an_exposure_that_rises_and_falls_at_once_is_none(find: Find) -> None:
    pictures = shot(12, 90)
    for i in range(6):
        pictures[40 + i] = np.clip(pictures[40 + i] * (1 + 0.06 * (i + 1)), 0, 255).astype(np.uint8)
    assert not find(pictures)


def test_fast_motion_is_none(find: Find) -> None:
    assert not find(list(panning(texture(320, 180, 13), 60, 9.0)))
    assert not find(list(growing(texture(320, 180, 14), 40, 1.02)))


def test_something_that_crosses_is_none(find: Find) -> None:
    pictures = shot(15, 90)
    thing = texture(110, 180, 16)
    for i in range(30):
        left = -110 + 14 * i
        begin, end = max(0, left), min(320, left + 110)
        if end > begin:
            pictures[30 + i][:, begin:end] = thing[:, begin - left : end - left]
    assert not find(pictures)


def test_a_video_of_two_frames(find: Find) -> None:
    assert not find(shot(17, 2))


def test_it_is_the_same_however_much_is_looked_at_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = dissolved([*shot(18, 70), *shot(19, 75)], [*shot(20, 130), *shot(21, 60)], 12)
    sample = made(tmp_path, pictures)
    footage = sample.footage
    whole = Auto().boundaries(footage)
    assert [b.kind for b in whole] == ["cut", "dissolve", "cut"]
    monkeypatch.setattr(auto, "CHUNK", 50)
    parts = Auto().boundaries(footage)
    assert [(b.start, b.end, b.kind) for b in parts] == [(b.start, b.end, b.kind) for b in whole]


@pytest.mark.slow
@pytest.mark.skipif(not (VIDEOS / "shots_gt.json").is_file(), reason="needs the labelled videos")
def test_labelled_videos(look: Callable[[Path], Footage]) -> None:
    """Labels are by eye: cuts to a frame, transitions to six."""
    labels = json.loads((VIDEOS / "shots_gt.json").read_text())
    cuts = graduals = false = 0
    for name, label in labels.items():
        if name.startswith("_") or not (VIDEOS / name).is_file():
            continue
        spans = [(cut - 1, cut + 1, False) for cut in label["cuts"]]
        spans += [(first - 6, last + 6, True) for _, first, last in label["gradual"]]
        for boundary in Auto().boundaries(look(VIDEOS / name)):
            hit = next((span for span in spans if span[0] <= boundary.frame <= span[1]), None)
            if hit is None:
                false += 1
                continue
            spans.remove(hit)
            cuts, graduals = cuts + (not hit[2]), graduals + hit[2]
    assert (cuts, graduals) >= (27, 5) and false <= 1


def test_it_needs_no_torch() -> None:
    code = (
        "import sys\nfrom builder.detectors.auto import Auto\n"
        "from builder.pretrained.transitions import TransitionNetwork\nAuto().fingerprint()\nTransitionNetwork()\n"
        "sys.exit('torch' in sys.modules or 'onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def barred(picture: Image, left: float, top: float) -> Image:
    """Black but for the middle, which is that much smaller on each side."""
    out = np.zeros_like(picture)
    high, wide = picture.shape[:2]
    y, x = round(high * top), round(wide * left)
    part = picture[y : high - y, x : wide - x]
    out[y : high - y, x : wide - x] = part
    return out


@pytest.mark.parametrize(("left", "top"), [(0.34, 0), (0, 0.33), (0.2, 0.2), (0.06, 0)])
def test_black_bars_hide_no_cut(find: Find, left: float, top: float) -> None:
    pictures = [*shot(1, 40), *shot(2, 40), *shot(6, 40)]
    found = find([barred(picture, left, top) for picture in pictures])
    assert [(b.start, b.kind) for b in found] == [(40, "cut"), (80, "cut")]


@pytest.mark.parametrize("level", [0.25, 0.5, 0.7, 1.4])
@pytest.mark.parametrize("frames", [1, 6, 15])
def test_a_light_that_stays_changed_is_no_boundary(find: Find, level: float, frames: int) -> None:
    pictures = [(picture * 0.7).astype(np.uint8) for picture in shot(4, 90)]
    ramp = np.interp(np.arange(90), [40, 40 + frames], [1, level])
    assert not find([(picture * light).astype(np.uint8) for picture, light in zip(pictures, ramp, strict=True)])


def test_stills_shown_for_a_few_frames_each(find: Find) -> None:
    stills = [shot(seed, 1)[0] for seed in (1, 2, 3, 4)]
    assert [b.start for b in find([still for still in stills for _ in range(12)])] == [12, 24, 36]


@pytest.mark.parametrize("frames", [1, 3, 6, 9])
def test_another_still_for_a_moment_is_a_flash(find: Find, frames: int) -> None:
    one, other = shot(1, 1)[0], shot(2, 1)[0]
    assert not find([*[one] * 30, *[other] * frames, *[one] * 30])


def test_one_frame_is_one_shot(find: Find) -> None:
    assert not find(shot(1, 1))
