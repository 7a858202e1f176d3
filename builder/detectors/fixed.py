"""Spans of one length, for footage without transitions. Frames keep their number and their time."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from builder.errors import ConfigError, Filtered
from builder.frames import Footage
from builder.records import Shots
from builder.stage import settings
from builder.stages.detect import UNSEEN, Boundary, Detector

PRESETS = {"no_transition": 64}  # frames; what Open-Sora-Dataset v1.0.0 cut footage without transitions into


@settings
class Fixed(Detector):
    """A new clip every `frames` frames, or every `seconds`, wherever shots may end; by default `preset` says how many.

    `tail` says what becomes of a shorter rest at the end: kept as it is, dropped, or merged into the span before it.
    """

    plugin: ClassVar[str] = "fixed"

    preset: Literal["no_transition"] = "no_transition"
    frames: Annotated[int, Field(ge=1)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    tail: Literal["keep", "drop", "merge"] = "keep"

    def __post_init__(self) -> None:
        if self.frames and self.seconds:
            raise ConfigError(f"frames = {self.frames} and seconds = {self.seconds:g}: give one of the two")

    def length(self, fps: float) -> int:
        """In frames; of `seconds` the nearest number that the video's mean rate allows."""
        return max(1, round(self.seconds * fps)) if self.seconds else self.frames or PRESETS[self.preset]

    def boundaries(self, footage: Footage) -> Sequence[Boundary]:
        length, frames = self.length(footage.scan.fps), footage.scan.frames
        at = list(range(length, frames, length))
        if self.tail == "merge" and at and frames - at[-1] < length:
            at.pop()
        return [Boundary(frame, frame, UNSEEN) for frame in at]

    def shots(self, footage: Footage) -> Shots:
        found, frames = self.boundaries(footage), footage.scan.frames
        length = self.length(footage.scan.fps)
        if self.tail != "drop" or frames % length == 0:
            return self.between(footage, found)
        if not found:
            raise Filtered("too_short", f"{footage.scan.video_id} has {frames} frames, less than one span of {length}")
        *kept, rest = found
        return self.between(footage, kept, end=rest.start)
