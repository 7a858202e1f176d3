"""Scan: the one decode pass over each video. It keeps evidence that any detector can read, and a strip of frames."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from builder.records import Record, Scanned, SourceVideo
from builder.stage import Item, Resources, Stage, execution, settings
from builder.stages.fetch import open_media, shown_path, telling_of
from builder.storage import Storage


@settings
class Scan(Stage[SourceVideo, Scanned]):
    """Decode each video once.

    `strip_fps` frames a second are kept as pictures, plus one wherever the picture changes, of at most
    `strip_short_side` pixels. A video that takes longer than `wall_s` is a failure.
    """

    name: ClassVar[str] = "scan"
    reads: ClassVar[str] = "merge"
    writes: ClassVar[type[Scanned]] = Scanned
    grain: ClassVar[str] = "video"
    needs: ClassVar[Resources] = Resources(memory_bytes=2 << 30)

    strip_fps: Annotated[float, Field(gt=0, le=30)] = 2.0
    strip_short_side: Annotated[int, Field(ge=64)] = 480
    max_pixels: Annotated[int, Field(ge=1)] = 8192 * 4320
    wall_s: float = execution(default=3600.0)

    def digest(self, row: Record) -> str:
        """The bytes, which the id stands for: a licence or title set right decodes nothing again."""
        return row.id

    def files(self, row: Scanned) -> Sequence[str]:
        return row.evidence, row.strip

    def each(self, item: Item[SourceVideo]) -> Sequence[Scanned]:
        from builder.media.decode import ScanSettings, scan

        storage, video = self.context.storage, item.row
        limits = ScanSettings(
            strip_fps=self.strip_fps, strip_short_side=self.strip_short_side, max_pixels=self.max_pixels
        )
        with storage.scratch(".evidence") as evidence, storage.scratch(".strip") as strip:
            source = open_media(video, self.context)
            with telling_of(source, shown_path(video)):
                allowed = {"wall_s": self.wall_s, "cpu_s": self.wall_s}
                facts = self.context.guard.call(scan, source, evidence, strip, limits, **allowed)
            kept = {
                kind: keep(storage, kind, video.video_id, path)
                for kind, path in (("evidence", evidence), ("strips", strip))
            }
        return [
            Scanned(
                video_id=video.video_id,
                frames=facts.frames,
                width=facts.width,
                height=facts.height,
                fps=facts.fps,
                duration_s=facts.duration_s,
                start_pts=facts.start_pts,
                end_pts=facts.end_pts,
                time_base=facts.time_base,
                vfr=facts.vfr,
                decode_errors=facts.decode_errors,
                strip_frames=facts.strip_frames,
                evidence=kept["evidence"],
                strip=kept["strips"],
            )
        ]


def keep(storage: Storage, kind: str, video_id: str, path: Path) -> str:
    """Put a file where its name tells its content, so that a row that names it can never mean another."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = f"media/{kind}/{video_id[:2]}/{video_id}-{digest[:8]}.parquet"
    if not storage.exists(name):
        storage.adopt(path, name)
    return name
