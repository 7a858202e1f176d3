"""Text: what can be read counts, with its place and its time; what cannot be read does not."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from builder.scorers.text import Text, TextScore
from builder.stage import Context
from builder.storage import Storage
from sample_clips import VIDEOS, Sample, captioned, made, panning, sample, texture

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


def test_a_subtitle_is_read(scorer: Text, tmp_path: Path) -> None:
    found = measured(scorer, made(tmp_path, (captioned(f, SUBTITLE) for f in panning(texture(), 75, 2.0))))
    assert 0.01 < found.area < 0.1
    assert found.boxes == 1
    assert found.persistence == 1
    assert " ".join(found.lines).lower().replace(" ", "").startswith("goodnight,city")


def test_text_for_a_third_of_the_time(scorer: Text, tmp_path: Path) -> None:
    frames = list(panning(texture(), 150, 1.0))
    shown = [captioned(frame, SUBTITLE) if n < 50 else frame for n, frame in enumerate(frames)]
    found = measured(scorer, made(tmp_path, shown))
    assert found.persistence == pytest.approx(1 / 3, abs=0.17)
    assert found.area > 0.01


def test_no_text_is_nothing_and_a_number(scorer: Text, tmp_path: Path) -> None:
    found = measured(scorer, made(tmp_path, panning(texture(), 50, 2.0)))
    assert (found.area, found.boxes, found.persistence, found.lines) == (0.0, 0.0, 0.0, ())
    assert isinstance(found.area, float)


def test_a_box_as_large_as_the_frame_is_left_out(tmp_path: Path) -> None:
    picture = np.full((360, 640, 3), 90, np.uint8)
    giant = made(tmp_path, [captioned(picture, "HELLO", scale=5.0)] * 30)
    tolerant, strict = Text(max_box=1.0), Text(max_box=0.05)
    with tolerant.opened(giant.context), strict.opened(giant.context):
        assert measured(tolerant, giant).boxes == 1
        assert measured(strict, giant).boxes == 0


@pytest.mark.parametrize(
    "video, area", [("edit_pyscenedetect_fades_wm.mp4", (0.02, 0.1)), ("shot_dog_park.mp4", (0.0, 0.0))]
)
def test_real_footage(scorer: Text, tmp_path: Path, video: str, area: tuple[float, float]) -> None:
    if not (VIDEOS / video).is_file():
        pytest.skip("needs the sample videos: set OSD_TEST_VIDEOS")
    found = measured(scorer, sample(VIDEOS / video, tmp_path))
    assert area[0] <= found.area <= area[1]
