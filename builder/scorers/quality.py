"""Quality: how far blur, compression and noise have taken a clip from what good photographs look like."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from builder.errors import ItemError
from builder.frames import Frames
from builder.pretrained import brisque
from builder.records import Score
from builder.stage import settings
from builder.stages.score import Scorer


@dataclass(frozen=True, slots=True)
class QualityScore(Score):
    """From frames of the strip, whose short side is at most 480 pixels: what a larger original loses there is not seen.

    Attributes:
        brisque: BRISQUE (Mittal et al., IEEE TIP 2012), mean over frames; about 0 pristine ... 100 ruined, smooth
            or empty pictures up to 130. Lower is better: below 40 good, above 60 blurred, blocky or out of focus.
            Noise on a blurred or blocky picture lowers it, to about 50; black borders raise it.
    """

    brisque: float


@settings
class Quality(Scorer[QualityScore]):
    """BRISQUE of `frames_per_clip` frames. Off unless asked for: about 50 ms a clip on one core."""

    plugin: ClassVar[str] = "quality"
    writes: ClassVar[type[QualityScore]] = QualityScore

    frames_per_clip: Annotated[int, Field(ge=1, le=3)] = 3

    def identity(self) -> Mapping[str, str]:
        return {"weights": brisque.weights_hash()}

    def score(self, frames: Frames) -> QualityScore:
        found = [brisque.score(image) for image in frames.images(self.frames_per_clip)]
        measured = [value for value in found if value is not None]
        if not measured:
            raise ItemError("flat", f"{frames.clip.clip_id} shows nothing but flat colour, so its quality is unknown")
        return QualityScore(frames.clip.clip_id, brisque=sum(measured) / len(measured))
