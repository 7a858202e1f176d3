"""Scan: the one decode pass over each video. It keeps evidence that any detector can read, and a strip of frames."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, ClassVar

from pydantic import Field

from builder.errors import RunError
from builder.records import Record, Scanned, SourceVideo
from builder.stage import Item, Resources, Stage, execution, settings
from builder.stages.fetch import open_media, shown_path, telling_of
from builder.storage import telling_of_full_disk


@settings
class Scan(Stage[SourceVideo, Scanned]):
    """Decode each video once.

    `strip_fps` frames a second are kept as pictures, plus one wherever the picture changes, of at most
    `strip_short_side` pixels on the short side, in true shape and colours (HDR tone-mapped, interlaced lines blended).
    A video that breaks off yields its good head; one with a frame of more than `max_pixels`, or that takes longer than
    `wall_s`, is a failure. With `key_frames_first` key frames are decoded, and what lies between two only if they are
    not alike: for footage that is mostly of one shot. Scorers that need every frame fail by name on what was not
    decoded. With `content`, PySceneDetect's own statistic is taken as well (about as dear as decoding small video), so
    that its detectors give what its command gives. With `scratch`, a folder on a fast disk, a video is copied there
    while it is decoded: a folder source may lie on a slow network.
    """

    name: ClassVar[str] = "scan"
    reads: ClassVar[str] = "merge"
    writes: ClassVar[type[Scanned]] = Scanned
    grain: ClassVar[str] = "video"
    version: ClassVar[int] = 3
    needs: ClassVar[Resources] = Resources(memory_bytes=2 << 30)

    strip_fps: Annotated[float, Field(gt=0, le=30)] = 2.0
    strip_short_side: Annotated[int, Field(ge=64)] = 480
    max_pixels: Annotated[int, Field(ge=1)] = 8192 * 4320
    key_frames_first: bool = False
    wall_s: float = execution(default=3600.0)
    scratch: str = execution(default="")
    content: bool = execution(default=False)

    def digest(self, row: Record) -> str:
        """The bytes, which the id stands for: a licence or title set right decodes nothing again."""
        return row.id

    def files(self, row: Scanned) -> Mapping[str, int]:
        return {row.evidence: 0, row.strip: 0}

    def each(self, item: Item[SourceVideo]) -> Sequence[Scanned]:
        from builder.media.decode import ScanSettings, scan

        storage, video = self.context.storage, item.row
        limits = ScanSettings(
            strip_fps=self.strip_fps,
            strip_short_side=self.strip_short_side,
            max_pixels=self.max_pixels,
            key_frames_first=self.key_frames_first,
            content=self.content,
        )
        with ExitStack() as stack:
            evidence = stack.enter_context(storage.scratch(".evidence"))
            strip = stack.enter_context(storage.scratch(".strip"))
            source = stack.enter_context(self._at_hand(open_media(video, self.context), bool(video.root)))
            with telling_of(source, shown_path(video)):
                allowed = {"wall_s": self.wall_s, "cpu_s": self.wall_s}
                facts = self.context.guard.call(scan, source, evidence, strip, limits, **allowed)
            stem = f"{video.video_id[:2]}/{video.video_id}"
            names = [
                storage.adopt_by_content(path, f"media/{kind}/{stem}")
                for kind, path in (("evidence", evidence), ("strips", strip))
            ]
        return [Scanned(video.video_id, **vars(facts), evidence=names[0], strip=names[1])]

    @contextmanager
    def _at_hand(self, path: Path, is_theirs: bool) -> Iterator[Path]:
        """A user's file, or for a while a copy of it in `scratch`; our own downloads are at hand already."""
        if not (self.scratch and is_theirs):
            yield path
            return
        folder = self.context.base / Path(self.scratch).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"scan.scratch {self.scratch!r} cannot be made ({error.strerror}); name another") from error
        with telling_of_full_disk(folder), TemporaryDirectory(prefix="osd-build-", dir=folder) as copied:
            yield Path(shutil.copyfile(path, Path(copied) / f"video{path.suffix}"))
