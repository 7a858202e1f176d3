"""What `osd-build shots` does: the boundaries of single videos, outside of any run. Nothing is left behind."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from builder.media.decode import ScanSettings

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
    settings = ScanSettings(content="content" in detector.wants, key_frames_first=key_frames_first)
    with TemporaryDirectory(prefix="osd-build-shots-") as folder:
        context = Context(Storage(Path(folder)), base=Path.cwd(), device=device_for(detector))
        try:
            with detector.opened(context):
                for number, video in enumerate(videos, 1):
                    decode = partial(scanned, number, video, settings, context)
                    yield one(video, decode, detector, context, sheet_name(preview, number, len(videos)))
        finally:
            context.close()


def one(
    video: Path, decode: Callable[[], Scanned], detector: Detector, context: Context, sheet: Path | None
) -> Report | Failure:
    try:
        scan = decode()
        [answer] = detector.batch([Item(scan, "")])
    except ItemError as error:
        return Failure(str(video), error.kind, error.message)
    except OSError as error:
        return Failure(str(video), "unreadable", f"{video}: {error.strerror or error}")
    if isinstance(answer, Failure):
        return Failure(str(video), answer.kind, f"{video}: {answer.message}", filtered=answer.filtered)
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


def scanned(number: int, video: Path, settings: "ScanSettings", context: Context) -> Scanned:
    """The decode pass, in the guarded child."""
    from builder.media.decode import scan

    names = [f"{number}.evidence", f"{number}.strip"]
    paths = [context.storage.path(name) for name in names]
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


def check_preview(preview: Path, videos: Sequence[Path]) -> None:
    """Refuse what could overwrite something else than an earlier preview."""
    if preview.suffix.lower() != ".png":
        raise ConfigError(f"--preview {preview}: a PNG is drawn; give a name that ends in .png")
    if not preview.parent.is_dir():
        raise ConfigError(f"--preview {preview}: there is no folder {preview.parent}; make it first")
    for number, video in enumerate(videos, 1):
        sheet = sheet_name(preview, number, len(videos))
        if sheet and sheet.exists() and video.exists() and sheet.samefile(video):
            raise ConfigError(f"--preview {preview} would overwrite {video}; give another name")


def sheet_name(preview: Path | None, number: int, count: int) -> Path | None:
    """`out.png`, or of several videos `out-1.png` and so on, in their order."""
    return preview.with_stem(f"{preview.stem}-{number}") if preview and count > 1 else preview
