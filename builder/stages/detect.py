"""Detect: where the shots of a video begin and end. A detector is one file in `builder/detectors`; none decodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from builder.frames import Footage
from builder.records import Scanned, Shots
from builder.stage import Item, Stage

CUT, DISSOLVE, FADE = "cut", "dissolve", "fade"


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where one shot gives way to the next: frames start <= f < end are in both or in neither; none for a hard cut.

    `score` is the detector's confidence, 0..1.
    """

    start: int
    end: int
    kind: str = CUT
    score: float = 1.0

    @property
    def frame(self) -> int:
        """The first frame of the new shot; of a gradual transition its middle."""
        return (self.start + self.end) // 2


class Detector(Stage[Scanned, Shots]):
    """Base of detectors: give `plugin` and `boundaries`, or `shots` where shots are no partition of the video."""

    name: ClassVar[str] = "detect"
    plugin: ClassVar[str]
    reads: ClassVar[str] = "scan"
    writes: ClassVar[type[Shots]] = Shots
    grain: ClassVar[str] = "video"

    # -- required
    def boundaries(self, footage: Footage) -> Sequence[Boundary]:
        """Rising and apart: 0 <= start <= end of one <= start of the next <= frames, each with 0 < frame < frames."""
        raise NotImplementedError(f"{type(self).__name__} does not define boundaries")

    # -- optional
    def seen_on(self, footage: Footage) -> str:
        """What was looked at, where the detector has a choice: so that a row can say so."""
        return ""

    def shots(self, footage: Footage) -> Shots:
        """The spans between the boundaries. May raise Filtered when there is no shot to keep."""
        before = [Boundary(0, 0, ""), *self.boundaries(footage)]
        ends = [*(b.start for b in before[1:]), footage.scan.frames]
        spans = [(b, end) for b, end in zip(before, ends, strict=True) if b.end < end]
        return Shots(
            footage.scan.video_id,
            self.plugin,
            starts=tuple(b.end for b, _ in spans),
            ends=tuple(end for _, end in spans),
            kinds=tuple(b.kind for b, _ in spans),
            scores=tuple(b.score for b, _ in spans),
            seen_on=self.seen_on(footage),
        )

    # -- given
    def each(self, item: Item[Scanned]) -> Sequence[Shots]:
        return [self.shots(Footage(item.row, self.context.storage))]
