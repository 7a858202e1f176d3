"""What `osd-build shots` does: the boundaries of single videos, outside of any run. Nothing is left behind."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from builder import registry
from builder.config import Config, apply
from builder.errors import ConfigError, ItemError
from builder.figures import one_line
from builder.frames import Footage, Timeline
from builder.pipeline import DEFAULT_PLUGINS
from builder.records import Failure, Scanned, Shots
from builder.stage import Context, Item, Stage
from builder.stages.detect import CUT, Detector
from builder.storage import Storage

LONGEST_S = 3600.0  # for one video, as `scan` has it


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


def find_shots(videos: Sequence[Path], detector: Detector, preview: Path | None = None) -> Iterator[Report | Failure]:
    """A report or a failure for each video, in order; with `preview` a contact sheet of each is drawn."""
    with TemporaryDirectory(prefix="osd-build-shots-") as folder:
        context = Context(Storage(Path(folder)), base=Path.cwd(), device=device_for(detector))
        try:
            with detector.opened(context):
                for number, video in enumerate(videos, 1):
                    yield one(number, video, detector, context, sheet_name(preview, number, len(videos)))
        finally:
            context.close()


def one(number: int, video: Path, detector: Detector, context: Context, sheet: Path | None) -> Report | Failure:
    try:
        scan = scanned(number, video, "content" in detector.wants, context)
        [answer] = detector.batch([Item(scan, "")])
    except ItemError as error:
        return Failure(str(video), error.kind, error.message)
    except OSError as error:
        return Failure(str(video), "unreadable", f"{video}: {error.strerror or error}")
    if isinstance(answer, Failure):
        return Failure(str(video), answer.kind, answer.message, filtered=answer.filtered)
    footage = Footage(scan, context.storage)
    boundaries = told(answer[0], Timeline(scan, context.storage))
    if sheet:
        from builder.contact_sheet import draw

        marks = [(b.frame, f"{b.kind} {b.frame}") for b in boundaries]
        draw(footage, marks, video.name, sheet)
    for name in (scan.evidence, scan.strip):
        context.storage.remove(name)
    note = "" if scan.complete else f"only its first {scan.duration_s:.2f} s are there ({scan.lost})"
    return Report(str(video), scan.fps, scan.frames, boundaries, note)


def scanned(number: int, video: Path, content: bool, context: Context) -> Scanned:
    """The decode pass, in the guarded child."""
    from builder.media.decode import ScanSettings, scan

    names = [f"{number}.evidence", f"{number}.strip"]
    paths = [context.storage.path(name) for name in names]
    settings = ScanSettings(content=content)
    facts = context.guard.call(scan, video.absolute(), *paths, settings, wall_s=LONGEST_S, cpu_s=LONGEST_S)
    return Scanned(str(number), **vars(facts), evidence=names[0], strip=names[1])


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


def device_for(*stages: Stage[Any, Any]) -> str:
    if not any(stage.needs.gpus for stage in stages):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def sheet_name(preview: Path | None, number: int, count: int) -> Path | None:
    """`out.png`, or of several videos `out-1.png` and so on, in their order."""
    return preview.with_stem(f"{preview.stem}-{number}") if preview and count > 1 else preview
