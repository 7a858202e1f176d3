"""Hash: what is kept of each clip to find its copies by. Reads the thumbnails that the decode pass kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from builder.frames import Frames
from builder.records import Clip, Record, Scanned
from builder.stage import Item, Stage, settings


@dataclass(frozen=True, slots=True)
class Hashes(Record):
    """What is kept of a clip to find its copies: `moments` as `builder.duplicates.describe` makes them.

    `first` is the number of the first moment in the video; `picture` the share of the frame inside black bars, 0 ... 1.
    """

    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    video_id: str
    first: int
    moments: bytes
    picture: float


@settings
class Hash(Stage[Clip, Hashes]):
    """Hashes of the picture every quarter of a second; `[dedupe]` makes use of them."""

    name: ClassVar[str] = "hash"
    reads: ClassVar[str] = "split"
    writes: ClassVar[type[Hashes]] = Hashes
    grain: ClassVar[str] = "clip"

    @property
    def joins(self) -> tuple[str, ...]:
        return ("scan",)

    def each(self, item: Item[Clip]) -> Sequence[Hashes]:
        import numpy as np

        from builder.duplicates.describe import describe

        clip, scan = item.row, item.get(Scanned)
        frames = Frames(clip, scan, self.context.storage)
        numerator, denominator = (int(n) for n in scan.time_base.split("/"))
        pts = np.append(frames.evidence.pts[clip.start_frame : clip.end_frame], clip.end_pts)
        found = describe(frames.thumbs(), (pts - scan.start_pts) * numerator / denominator)
        return [Hashes(clip.clip_id, clip.video_id, found.first, found.moments.tobytes(), found.picture)]
