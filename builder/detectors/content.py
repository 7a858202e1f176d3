"""PySceneDetect's ContentDetector, fed with what the decode pass kept instead of decoded frames.

A frame whose hue, saturation and brightness differ enough from the one before begins a new shot. Configured when a
video is scanned, the differences are those that PySceneDetect's own command computes, at its resolution, and so are the
cuts. Added to a finished scan, they are taken of the 48x27 thumbnails: a little different.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from builder.frames import Footage
from builder.stage import settings
from builder.stages.detect import Boundary, Detector

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scenedetect import FrameTimecode

CHUNK = 1024  # thumbnails in memory at a time
PSD_RESOLUTION, THUMBNAILS = "PySceneDetect's resolution", "48x27 thumbnails"
Weights = tuple[float, float, float]  # of hue, saturation, brightness
EQUAL = (1.0, 1.0, 1.0)


@settings
class Content(Detector):
    """Hard cuts where the HSV difference (0-255) is at least `threshold`. The defaults are PySceneDetect's.

    Cuts less than `min_scene_s` apart are merged, or with `filter_mode` "suppress" the later ones ignored.
    """

    plugin: ClassVar[str] = "content"
    wants: ClassVar[tuple[str, ...]] = ("content",)

    threshold: Annotated[float, Field(gt=0, le=255)] = 27.0
    min_scene_s: Annotated[float, Field(ge=0)] = 0.6
    weights: Weights = EQUAL
    filter_mode: Annotated[str, Field(pattern="^(merge|suppress)$")] = "merge"

    def boundaries(self, footage: Footage) -> Sequence[Boundary]:
        apart = scene_frames(self.min_scene_s, footage)
        return hard_cuts(footage, self.threshold, apart, self.weights, self.filter_mode)

    def seen_on(self, footage: Footage) -> str:
        return seen_on(footage)


def hard_cuts(
    footage: Footage, threshold: float, min_frames: int, weights: Weights = EQUAL, filter_mode: str = "merge"
) -> list[Boundary]:
    """Where PySceneDetect's ContentDetector sees a cut."""
    from scenedetect import ContentDetector
    from scenedetect.detector import FlashFilter

    scores = frame_scores(footage, weights)
    mode = FlashFilter.Mode[filter_mode.upper()]
    detector = ContentDetector(threshold=threshold, min_scene_len=min_frames, filter_mode=mode)
    return [Boundary(f, f, score=confidence(scores[f], threshold)) for f in cuts(detector, scores, footage)]


def seen_on(footage: Footage) -> str:
    return THUMBNAILS if footage.evidence.content_deltas is None else PSD_RESOLUTION


def confidence(value: float, threshold: float) -> float:
    """0..1, 0.5 for what just reaches the threshold; to 4 digits."""
    return round(float(value / (value + threshold)), 4)


def rate(footage: Footage) -> Fraction:
    return Fraction(footage.scan.fps).limit_denominator(100_000)


def scene_frames(min_scene_s: float, footage: Footage) -> int:
    """As PySceneDetect's command turns its --min-scene-len into frames."""
    from scenedetect import FrameTimecode

    return int(FrameTimecode(min_scene_s, rate(footage)).frame_num)


def cuts(detector: Any, scores: "NDArray[Any]", footage: Footage) -> list[int]:
    """What a ContentDetector, or one derived from it, makes of the scores of all frames."""
    from scenedetect import FrameTimecode

    def given(timecode: "FrameTimecode", frame: "NDArray[Any]") -> float:
        return float(scores[timecode.frame_num])

    detector._calculate_frame_score = given
    fps, found = rate(footage), set()
    for number in range(len(scores)):
        found |= {cut.frame_num for cut in detector.process_frame(FrameTimecode(number, fps), scores)}
    return sorted(cut for cut in found if 0 < cut < len(scores))


def frame_scores(footage: Footage, weights: Weights) -> "NDArray[Any]":
    """The weighted mean HSV difference of each frame to the one before, 0..255; 0 for the first."""
    import numpy as np

    deltas = footage.evidence.content_deltas
    if deltas is None:
        deltas = np.concatenate(list(thumbnail_deltas(footage)))
    total = sum(deltas[:, i] * weight for i, weight in enumerate(weights))
    return np.asarray(total / sum(abs(weight) for weight in weights))


def thumbnail_deltas(footage: Footage) -> Iterator["NDArray[Any]"]:
    """Mean absolute differences of hue, saturation and brightness, (n, 3) at a time."""
    import cv2
    import numpy as np

    before = None
    for start in range(0, footage.scan.frames, CHUNK):
        thumbs = footage.evidence.thumbs(start, start + CHUNK)
        tall = thumbs.reshape(-1, thumbs.shape[2], 3)
        hsv = cv2.cvtColor(tall, cv2.COLOR_RGB2HSV).reshape(thumbs.shape).astype(np.int16)
        earlier = np.concatenate([hsv[:1] if before is None else before, hsv[:-1]])
        before = hsv[-1:]
        yield np.abs(hsv - earlier).mean((1, 2), dtype=np.float64)
