"""Detect: where the shots of a video begin and end. A detector is one file in `builder/detectors`; none decodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from builder.frames import Footage
from builder.records import Scanned, Shots
from builder.stage import Item, Stage

CUT, DISSOLVE, FADE, UNSEEN = "cut", "dissolve", "fade", ""


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where one shot gives way to the next: frames start <= f < end are in both or in neither; none for a hard cut.

    `kind` is CUT, DISSOLVE or FADE, or UNSEEN where a length was reached and no transition was seen. `score` is the
    detector's confidence, 0..1.
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
    version: ClassVar[int] = 2
    wants: ClassVar[tuple[str, ...]] = ()  # what `scan` is to keep beside the usual: "content"

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
        return self.between(footage, self.boundaries(footage))

    # -- given
    def between(self, footage: Footage, boundaries: Sequence[Boundary], end: int | None = None) -> Shots:
        """The spans between boundaries; the last one goes to frame `end`, or to the end of the video.

        Boundaries beside frames that were not decoded are not believed, nor such that leave no frame to any shot: a
        video is at least one shot.
        """
        if footage.scan.unseen_frames:
            seen = footage.evidence.seen
            boundaries = [b for b in boundaries if b.kind == UNSEEN or seen[b.start - 1 : b.end + 1].all()]
        before = [Boundary(0, 0, UNSEEN), *boundaries]
        ends = [*(b.start for b in before[1:]), footage.scan.frames if end is None else end]
        spans = [(b, stop) for b, stop in zip(before, ends, strict=True) if b.end < stop] or [(before[0], ends[-1])]
        return Shots(
            footage.scan.video_id,
            self.plugin,
            starts=tuple(b.end for b, _ in spans),
            ends=tuple(stop for _, stop in spans),
            kinds=tuple(b.kind for b, _ in spans),
            scores=tuple(b.score for b, _ in spans),
            seen_on=self.seen_on(footage),
        )

    def each(self, item: Item[Scanned]) -> Sequence[Shots]:
        return [self.shots(Footage(item.row, self.context.storage))]
