"""Fixed-length spans, for footage without transitions: every `frames` frames a new clip, the tail kept by `[split]`."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from builder.frames import Footage
from builder.stage import settings
from builder.stages.detect import Boundary, Detector


@settings
class Fixed(Detector):
    """Cut every `frames` frames, wherever shots may end. 64 is what Open-Sora-Dataset v1.0.0 used."""

    plugin: ClassVar[str] = "fixed"

    frames: Annotated[int, Field(ge=1)] = 64

    def boundaries(self, footage: Footage) -> Sequence[Boundary]:
        return [Boundary(at, at) for at in range(self.frames, footage.scan.frames, self.frames)]
