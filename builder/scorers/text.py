"""Text: how much of the picture is covered by writing that can be read, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

import cv2
from numpy.typing import NDArray
from pydantic import Field

from builder.frames import Frames
from builder.pretrained.ppocr import PPOCR, SHA256, Line
from builder.records import Score
from builder.stage import Resources, settings
from builder.stages.score import Scorer

SURE = 0.9


@dataclass(frozen=True, slots=True)
class TextScore(Score):
    """From frames of the strip. A box counts once its text has been read.

    Attributes:
        area: share of the frame inside boxes with text, the largest of all looked-at frames; 0 none ... 1.
        boxes: number of boxes with text, the largest of all looked-at frames.
        persistence: share of looked-at frames with text; 0 never ... 1 always.
        lines: what was read beyond doubt (score 0.9), each text once, in order of appearance.
    """

    area: float
    boxes: float
    persistence: float
    lines: tuple[str, ...] = ()


@settings
class Text(Scorer[TextScore]):
    """PaddleOCR on `frames_per_clip` frames. Text counts from `min_score` (0-1) and `min_characters` on.

    Boxes over `max_box` of the frame are left out: the detector draws one on 12 % of frames without any text.
    """

    plugin: ClassVar[str] = "text"
    writes: ClassVar[type[TextScore]] = TextScore
    needs: ClassVar[Resources] = Resources(memory_bytes=2 << 30)

    frames_per_clip: Annotated[int, Field(ge=1)] = 6
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.6
    min_characters: Annotated[int, Field(ge=1)] = 2
    max_box: Annotated[float, Field(gt=0, le=1)] = 0.4

    def identity(self) -> Mapping[str, str]:
        return SHA256

    def setup(self) -> None:
        self._reader  # noqa: B018  (missing weights stop the run here, not at the first clip)

    @cached_property
    def _reader(self) -> PPOCR:
        return PPOCR()

    def score(self, frames: Frames) -> TextScore:
        looked = [self._look(image) for image in frames.images(self.frames_per_clip)]
        return TextScore(
            frames.clip.clip_id,
            area=max(min(1.0, sum(areas, 0.0)) for areas, _ in looked),
            boxes=float(max(len(lines) for _, lines in looked)),
            persistence=sum(bool(lines) for _, lines in looked) / len(looked),
            lines=tuple(dict.fromkeys(x.text for _, lines in looked for x in lines if x.score >= SURE)),
        )

    def _look(self, image: NDArray[Any]) -> tuple[list[float], list[Line]]:
        """Shares of the frame and texts of the boxes that count."""
        pixels = image.shape[0] * image.shape[1]
        small = [box for box in self._reader.boxes(image) if cv2.contourArea(box) <= self.max_box * pixels]
        lines = [line for line in self._reader.read(image, small) if self._counts(line)]
        return [cv2.contourArea(line.corners) / pixels for line in lines], lines

    def _counts(self, line: Line) -> bool:
        return line.score >= self.min_score and len("".join(line.text.split())) >= self.min_characters
