"""Detect: where the shots of a video begin and end. A detector is one file in `builder/detectors`; none decodes."""

from collections.abc import Sequence
from typing import ClassVar

from builder.frames import open_evidence
from builder.media.evidence import Evidence
from builder.records import Scanned, Shots
from builder.stage import Item, Stage


class Detector(Stage[Scanned, Shots]):
    """Base of detectors: give `plugin` and `cuts`."""

    name: ClassVar[str] = "detect"
    plugin: ClassVar[str]
    reads: ClassVar[str] = "scan"
    writes: ClassVar[type[Shots]] = Shots
    grain: ClassVar[str] = "video"

    # -- required
    def cuts(self, evidence: Evidence, scan: Scanned) -> Sequence[int]:
        """First frames of every shot but the first, rising, each in 1 ... frames - 1."""
        raise NotImplementedError(f"{type(self).__name__} does not define cuts")

    # -- given
    def each(self, item: Item[Scanned]) -> Sequence[Shots]:
        evidence = open_evidence(self.context.storage, item.row.evidence)
        edges = (0, *(int(c) for c in self.cuts(evidence, item.row)), item.row.frames)
        return [Shots(item.row.video_id, self.plugin, starts=edges[:-1], ends=edges[1:])]
