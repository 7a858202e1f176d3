"""Text: overlays are told from signs by how they move; what decides is read, the rest is not."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from builder.pretrained import ppocr
from builder.scorers.text import Text, TextScore
from builder.stage import Context
from builder.storage import Storage
from sample_clips import VIDEOS, Image, Sample, captioned, made, panning, sample, texture

pytest.importorskip("paddleocr")
pytest.importorskip("rapidocr")
SUBTITLE = "Good night, city"


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Text]:
    scorer = Text()
    with scorer.opened(Context(Storage(tmp_path_factory.mktemp("run")))):
        yield scorer


def measured(scorer: Text, sample: Sample) -> TextScore:
    return scorer.score(sample.frames())


def scenery(width: int = 640, height: int = 360) -> Image:
    """Blobs of all sizes, so that one sees which way they go."""
    fine = np.random.default_rng(1).integers(0, 90, (height // 12, width // 12, 3), np.uint8)
    soft = texture(width, height) // 2
    return soft + cv2.resize(fine, (width, height), interpolation=cv2.INTER_CUBIC) // 2


def signed(picture: Image, lean: float = 0.0) -> Image:
    """A board with lettering as part of the picture."""
    board = picture.copy()
    cv2.rectangle(board, (240, 120), (440, 190), (30, 60, 120), -1)
    cv2.putText(board, "BAKERY", (255, 170), cv2.FONT_HERSHEY_DUPLEX, 1.4, (240, 240, 240), 3, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((340, 155), lean, 1)
    turned = cv2.warpAffine(board, turn, picture.shape[1::-1])
    inside = cv2.warpAffine(
        np.full(picture.shape[:2], 255, np.uint8)[120:191, 240:441],
        np.float32([[1, 0, 240], [0, 1, 120]]),
        picture.shape[1::-1],
    )
    mask = cv2.warpAffine(inside, turn, picture.shape[1::-1])[..., None] > 127
    return np.where(mask, turned, picture)


def rolling(pictures: Iterable[Image], step: float) -> Iterator[Image]:
    """Two lines of white text that go up by so many pixels a frame."""
    for n, picture in enumerate(pictures):
        drawn = picture.copy()
        for line, text in enumerate(("Directed by", "Anna Weiss")):
            at = (200, round(300 + 50 * line - step * n))
            cv2.putText(drawn, text, at, cv2.FONT_HERSHEY_DUPLEX, 1.2, (255, 255, 255), 3, cv2.LINE_AA)
        yield drawn


def test_a_subtitle_is_overlay_and_read(scorer: Text, tmp_path: Path) -> None:
    found = measured(scorer, made(tmp_path, (captioned(f, SUBTITLE) for f in panning(scenery(), 50, 2.0))))
    assert 0.01 < found.overlay_area < 0.1
    assert (found.area, found.scene_area) == (found.overlay_area, 0)
    assert (found.overlay_boxes, found.overlay_persistence, found.persistence) == (1, 1, 1)
    assert "".join(found.overlay_lines).lower().replace(" ", "").startswith("goodnight,city")
    assert found.bottom > 0.1 and found.top == 0


def test_a_subtitle_can_be_cropped_away(scorer: Text, tmp_path: Path) -> None:
    small = (captioned(f, SUBTITLE, scale=0.8) for f in panning(scenery(), 50, 2.0))
    found = measured(scorer, made(tmp_path, small))
    assert (found.s_x, found.e_x, found.s_y) == (0, 640, 0)
    assert 288 <= found.e_y < 310
    assert found.crop_area == pytest.approx(found.e_y / 360)


def test_a_sign_that_goes_with_the_picture_is_scene(scorer: Text, tmp_path: Path) -> None:
    found = measured(scorer, made(tmp_path, panning(signed(scenery()), 50, 2.0)))
    assert found.overlay_area == found.overlay_boxes == found.overlay_persistence == 0
    assert 0.01 < found.scene_area == found.area
    assert found.lines == ()  # it decides nothing, so it was not read
    assert (found.e_x, found.e_y, found.crop_area) == (640, 360, 1)


def test_rolling_credits_are_overlay(scorer: Text, tmp_path: Path) -> None:
    found = measured(scorer, made(tmp_path, rolling([scenery()] * 60, 2.0)))
    assert found.overlay_area > 0.02
    assert found.crop_area == 0 and found.e_x == 0  # they cross too much of the picture


def test_where_nothing_moves_a_level_line_is_overlay_and_a_leaning_one_is_not(scorer: Text, tmp_path: Path) -> None:
    assert measured(scorer, made(tmp_path, [captioned(scenery(), SUBTITLE)] * 40, name="level")).overlay_area > 0.01
    leaning = measured(scorer, made(tmp_path, [signed(scenery(), lean=12)] * 40, name="leaning"))
    assert leaning.overlay_area == 0 and leaning.scene_area > 0.01


def test_text_for_a_part_of_the_time(scorer: Text, tmp_path: Path) -> None:
    frames = [captioned(f, SUBTITLE) if n < 50 else f for n, f in enumerate(panning(scenery(), 100, 1.0))]
    found = measured(scorer, made(tmp_path, frames))
    assert found.overlay_area > 0.01
    assert 0.3 <= found.overlay_persistence <= 0.7


def test_no_text_is_nothing_and_a_number(scorer: Text, tmp_path: Path) -> None:
    found = measured(scorer, made(tmp_path, panning(texture(), 50, 2.0)))
    assert (found.area, found.boxes, found.persistence, found.lines) == (0.0, 0.0, 0.0, ())
    assert all(isinstance(value, float) for value in found.values().values())
    assert (found.s_x, found.e_x, found.s_y, found.e_y, found.crop_area) == (0, 640, 0, 360, 1)


def test_frames_without_strokes_and_the_same_again_cost_no_network(
    scorer: Text, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[tuple[int, ...]] = []
    boxes = ppocr.PPOCR.boxes
    monkeypatch.setattr(
        ppocr.PPOCR, "boxes", lambda self, image, *a: looked.append(image.shape) or boxes(self, image, *a)
    )
    measured(scorer, made(tmp_path, panning(texture(), 50, 2.0), name="soft"))
    assert looked == []
    measured(scorer, made(tmp_path, [signed(scenery(), 12)] * 50, name="still"))
    assert len(looked) == 1


def test_any_text_counts_for_the_seed(tmp_path: Path) -> None:
    clip = made(tmp_path, panning(signed(scenery()), 50, 2.0))
    seed = Text(preset="seed")
    with seed.opened(clip.context):
        found = measured(seed, clip)
    assert found.area > 0.01 and found.overlay_area == 0
    assert found.lines == ("BAKERY",) and found.overlay_lines == ()


def test_a_box_over_the_limit_is_left_out(tmp_path: Path) -> None:
    giant = made(tmp_path, [captioned(np.full((360, 640, 3), 90, np.uint8), "HELLO", scale=5.0)] * 30)
    tolerant, strict = Text(max_box=1.0), Text(max_box=0.05)
    with tolerant.opened(giant.context), strict.opened(giant.context):
        assert measured(tolerant, giant).boxes == 1
        assert measured(strict, giant).boxes == 0


def test_a_gpu_that_onnxruntime_cannot_use_is_refused() -> None:
    import onnxruntime

    assert ppocr.paddle_device("cpu") == "cpu"
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        assert ppocr.paddle_device("cuda:1") == "gpu:1"
    else:
        with pytest.raises(Exception, match="pip install onnxruntime-gpu"):
            ppocr.paddle_device("cuda:1")


@pytest.mark.parametrize(
    "video, overlay",
    [
        ("edit_pyscenedetect_fades_wm.mp4", (0.02, 0.1)),
        ("dup_chair-22-with-large-logo-bar.mp4", (0.02, 0.1)),
        ("dup_chair-22-with-small-logo-bar.mp4", (0.002, 0.05)),
        ("shot_dog_park.mp4", (0.0, 0.0)),
        ("shot_blocks.mp4", (0.0, 0.0)),
        ("shot_cars_topdown.mp4", (0.0, 0.0)),
    ],
)
def test_real_footage(scorer: Text, tmp_path: Path, video: str, overlay: tuple[float, float]) -> None:
    if not (VIDEOS / video).is_file():
        pytest.skip("needs the sample videos: set OSD_TEST_VIDEOS")
    found = measured(scorer, sample(VIDEOS / video, tmp_path))
    assert overlay[0] <= found.overlay_area <= overlay[1]
