"""What `osd-build shots` does: the boundaries of single videos, outside of any run. Nothing is left behind."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builder import registry
from builder.config import Config, apply
from builder.errors import ConfigError
from builder.figures import one_line
from builder.frames import Footage, Timeline
from builder.loose_videos import check_preview, look_at, sheet_name, shots_of, told_short
from builder.pipeline import DEFAULT_PLUGINS
from builder.records import Failure, Scanned, Shots
from builder.stages.detect import CUT, Detector


@dataclass(frozen=True)
class Told:
    """One boundary: `frame` is the first of the new shot, of a gradual transition its middle; `score` 0..1."""

    frame: int
    time_s: float
    kind: str
    score: float


@dataclass(frozen=True)
class Report:
    """What was found in one video. `note` tells of a file that breaks off."""

    video: str
    fps: float
    frames: int
    boundaries: Sequence[Told]
    note: str = ""
    failed: bool = False

    def to_json(self) -> str:
        """One line."""
        boundaries = [asdict(boundary) for boundary in self.boundaries]
        return json.dumps({"video": self.video, "fps": self.fps, "frames": self.frames, "boundaries": boundaries})

    def to_text(self) -> str:
        count = len(self.boundaries)
        head = f"{one_line(self.video)}: {self.frames} frames, {self.fps:.6g} fps, boundaries: {count}"
        rows = [f"{b.frame:>9}  {b.time_s:>10.3f}  {b.kind:<8}  {b.score:.2f}" for b in self.boundaries]
        return "\n".join([head, *([f"{'frame':>9}  {'seconds':>10}  {'kind':<8}  score"] if rows else []), *rows])


def make_detector(name: str, settings: Sequence[str]) -> Detector:
    """The detector `name` (the usual one when it is empty) with its settings, each KEY=VALUE.

    Raises:
        ConfigError: there is no such detector, or it has no such setting.
    """
    overrides = tuple(f"detect.{setting}" for setting in settings)
    values: dict[str, Any] = {}
    for setting, override in zip(settings, overrides, strict=True):
        if "=" not in setting:
            raise ConfigError(f"--set {setting}: write KEY=VALUE, for example --set threshold=30")
        apply(values, override)
    found: type[Detector] = registry.find("detectors", Detector, name or str(DEFAULT_PLUGINS["detectors"]))
    return Config(Path("the command line"), values, "", overrides).build(found, "detect", values.get("detect", {}))


def find_shots(
    videos: Sequence[Path], detector: Detector, preview: Path | None = None, key_frames_first: bool = False
) -> Iterator[Report | Failure]:
    """A report or a failure for each video, in order; with `preview` a contact sheet of each is drawn.

    `key_frames_first` as in `[scan]`.

    Raises:
        ConfigError: `preview` is no name for a PNG.
    """
    from builder.media.decode import ScanSettings

    if preview:
        check_preview(preview, videos)

    def look(number: int, video: Path, scan: Scanned) -> Report:
        storage = detector.context.storage
        boundaries = told(shots_of(scan, detector), Timeline(scan, storage))
        if preview:
            from builder.contact_sheet import draw

            marks = [(b.frame, f"{b.kind} {b.frame}") for b in boundaries]
            draw(Footage(scan, storage), marks, video.name, sheet_name(preview, number, len(videos)))
        return Report(str(video), scan.fps, scan.frames, boundaries, told_short(scan))

    settings = ScanSettings(content="content" in detector.wants, key_frames_first=key_frames_first)
    yield from look_at(videos, settings, [detector], look)


def told(shots: Shots, timeline: Timeline) -> list[Told]:
    """What lies before each shot but one that begins with the video."""
    found = []
    before = 0
    for start, end, kind, score in zip(shots.starts, shots.ends, shots.kinds, shots.scores, strict=True):
        frame = (before + start) // 2
        if frame > 0:
            found.append(Told(frame, round(float(timeline.times_s[frame]), 6), kind or CUT, score))
        before = end
    return found
