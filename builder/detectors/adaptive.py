"""PySceneDetect's AdaptiveDetector, fed with the 48x27 thumbnails of the decode pass instead of decoded frames.

A frame whose HSV difference stands out from its neighbours' begins a new shot; a pan raises all of them and does not.
The thumbnails are smaller than what PySceneDetect's own command computes on, so scores differ a little from it.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, ClassVar

from pydantic import Field

from builder.frames import Footage
from builder.stage import settings
from builder.stages.detect import Boundary, Detector

CHUNK = 1024  # thumbnails in memory at a time


@settings
class Adaptive(Detector):
    """Hard cuts. `threshold` is the ratio to the neighbours' difference, `min_content` the least difference (0-255)."""

    plugin: ClassVar[str] = "adaptive"

    threshold: Annotated[float, Field(gt=0)] = 3.0
    min_content: Annotated[float, Field(ge=0)] = 15.0
    window: Annotated[int, Field(ge=1)] = 2
    min_frames: Annotated[int, Field(ge=1)] = 1

    def boundaries(self, footage: Footage) -> Sequence[Boundary]:
        from scenedetect import AdaptiveDetector, FrameTimecode

        detector = AdaptiveDetector(
            adaptive_threshold=self.threshold,
            min_content_val=self.min_content,
            window_width=self.window,
            min_scene_len=self.min_frames,
        )
        scan, evidence = footage.scan, footage.evidence
        rate = Fraction(scan.fps).limit_denominator(100_000)
        found: set[int] = set()
        for start in range(0, scan.frames, CHUNK):
            thumbs = evidence.thumbs(start, min(start + CHUNK, scan.frames))[..., ::-1]
            for offset, thumb in enumerate(thumbs):
                cuts = detector.process_frame(FrameTimecode(start + offset, rate), thumb)
                found |= {cut.frame_num for cut in cuts}
        return [Boundary(cut, cut) for cut in sorted(found) if 0 < cut < scan.frames]
