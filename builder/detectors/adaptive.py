"""PySceneDetect's AdaptiveDetector, fed as `content` is.

A frame whose HSV difference stands out from its neighbours' begins a new shot; a pan raises all of them and does not.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from builder.detectors.content import EQUAL, Weights, confidence, cuts, frame_scores, scene_frames, seen_on
from builder.frames import Footage
from builder.stage import settings
from builder.stages.detect import Boundary, Detector

if TYPE_CHECKING:
    from numpy.typing import NDArray


@settings
class Adaptive(Detector):
    """Hard cuts. The defaults are PySceneDetect's.

    `threshold` is the least ratio to the mean difference of the `window` frames on both sides, `min_content` the least
    difference (0-255), `min_scene_s` the least distance of two cuts.
    """

    plugin: ClassVar[str] = "adaptive"
    wants: ClassVar[tuple[str, ...]] = ("content",)

    threshold: Annotated[float, Field(gt=0)] = 3.0
    min_content: Annotated[float, Field(ge=0)] = 15.0
    window: Annotated[int, Field(ge=1)] = 2
    min_scene_s: Annotated[float, Field(ge=0)] = 0.6
    weights: Weights = EQUAL

    def boundaries(self, footage: Footage) -> Sequence[Boundary]:
        from scenedetect import AdaptiveDetector

        scores = frame_scores(footage, self.weights)
        detector = AdaptiveDetector(
            adaptive_threshold=self.threshold,
            min_content_val=self.min_content,
            window_width=self.window,
            min_scene_len=scene_frames(self.min_scene_s, footage),
        )
        found = cuts(detector, scores, footage)
        return [Boundary(f, f, score=confidence(self._ratio(scores, f), self.threshold)) for f in found]

    def seen_on(self, footage: Footage) -> str:
        return seen_on(footage)

    def _ratio(self, scores: "NDArray[Any]", frame: int) -> float:
        """To the mean of the neighbours, at most 255: PySceneDetect's adaptive_ratio."""
        around = scores[frame - self.window : frame + self.window + 1]
        mean = (around.sum() - scores[frame]) / (2 * self.window)
        return min(float(scores[frame] / mean), 255.0) if mean > 0 else 255.0
