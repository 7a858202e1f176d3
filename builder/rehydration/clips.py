"""The clips of links, cut again: metadata as the links have them, except for what the cut itself decides."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from builder.errors import ItemError
from builder.frames import Timeline
from builder.loose_videos import scanned
from builder.stage import Context
from builder.storage import sha256_of
from shards.read_links import Linked
from shards.write import Sample

if TYPE_CHECKING:
    from builder.media.cut import CutFacts, CutSettings

MADE = ("duration_s", "fps", "frames", "width", "height")
CODED = re.compile(r"\bpreset=(\w+) crf=(\d+)\b")  # in cut_settings
WALL_S = 600.0


@dataclass
class Cutter:
    """`context` has the guarded decoder; `same` counts clips whose bytes are those that were packed once."""

    context: Context
    same: int = 0

    def cut(self, linked: Linked, source: Path, target: Path) -> Sample:
        """Raises ItemError for a clip that this source does not give."""
        facts = self._cut(linked.metadata, source, target)
        if sha256_of(target) == linked.mp4_sha256:
            self.same += 1
            return Sample(linked.key, linked.metadata, target, linked.captions)
        made = {name: getattr(facts, name) for name in MADE}
        ways = {"cut": facts.method, "cut_settings": facts.settings}
        metadata = {**linked.metadata, **made, **ways, **lost(linked.metadata, facts)}
        return Sample(linked.key, metadata, target, linked.captions)

    def _cut(self, metadata: Mapping[str, Any], source: Path, target: Path) -> "CutFacts":
        from builder.media.again import Frames, cut_again

        times = Frames(*(metadata[name] for name in ("start_frame", "end_frame", "start_s", "end_s")))
        settings = settings_of(metadata)
        guard = self.context.guard
        facts = guard.call(cut_again, source, target, times, settings, wall_s=WALL_S, cpu_s=WALL_S)
        return facts or self._cut_by_decoding(source, target, (times.start, times.end), settings)

    def _cut_by_decoding(
        self, source: Path, target: Path, frames: tuple[int, int], settings: "CutSettings"
    ) -> "CutFacts":
        """As `scan` and `pack` do: all of it is decoded to know when each frame is shown."""
        from builder.media.cut import Span, cut
        from builder.media.decode import ScanSettings

        scan = scanned(1, source, ScanSettings(), self.context)
        timeline = Timeline(scan, self.context.storage)
        for name in (scan.evidence, scan.strip):
            self.context.storage.remove(name)
        start, end = frames
        if not 0 <= start < end <= scan.frames:
            raise ItemError("other_frames", f"{source} has {scan.frames} frames; the clip is of {start} to {end}")
        span = Span(int(timeline.pts[start]), int(timeline.pts[end]), end - start)
        return self.context.guard.call(cut, source, target, span, settings, wall_s=WALL_S, cpu_s=WALL_S)


def settings_of(metadata: Mapping[str, Any]) -> "CutSettings":
    """As it was cut: what was copied is again without any loss, what was encoded is encoded as `cut_settings` say."""
    from builder.media.cut import CutSettings

    coded = CODED.search(metadata["cut_settings"])
    how = {"preset": coded[1], "crf": int(coded[2])} if coded else {}
    return CutSettings(mode="auto" if metadata["cut"] == "copy" else "encode", max_loss_s=0.0, **how)  # type: ignore[arg-type]


def lost(metadata: Mapping[str, Any], facts: "CutFacts") -> dict[str, Any]:
    """The span and what it lacks, should a copy still begin later or end earlier than the one before."""
    return {
        "start_s": metadata["start_s"] + facts.head_s,
        "end_s": metadata["end_s"] - facts.tail_s,
        "start_frame": metadata["start_frame"] + facts.head_frames,
        "end_frame": metadata["end_frame"] - facts.tail_frames,
        "lost_s": metadata["lost_s"] + facts.head_s + facts.tail_s,
    }


def scratch_context() -> tuple[Context, "TemporaryDirectory[str]"]:
    from builder.storage import Storage

    folder = TemporaryDirectory(prefix="osd-build-")
    return Context(Storage(Path(folder.name))), folder
