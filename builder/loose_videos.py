"""Single videos outside of any run: decoded, looked at, forgotten. Nothing is left behind."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from builder.errors import ConfigError, ItemError
from builder.records import Failure, Scanned, Shots
from builder.stage import Context, Item, Stage
from builder.stages.detect import Detector
from builder.storage import Storage

if TYPE_CHECKING:
    from builder.media.decode import ScanSettings

R = TypeVar("R")
LONGEST_S = 3600.0  # for one video, as `scan` has it


def look_at(
    videos: Sequence[Path],
    settings: "ScanSettings",
    stages: Sequence[Stage[Any, Any]],
    look: Callable[[int, Path, Scanned], R],
) -> Iterator[R | Failure]:
    """What `look` makes of each decoded video, or a failure, in order; `look` is given its number, counted from 1, too.

    `stages` are open meanwhile. An ItemError of `look` is the failure of its video.
    """
    with TemporaryDirectory(prefix="osd-build-") as folder, ExitStack() as stack:
        context = Context(Storage(Path(folder)), base=Path.cwd(), device=device_for(stages))
        stack.callback(context.close)
        for stage in stages:
            stack.enter_context(stage.opened(context))
        for number, video in enumerate(videos, 1):
            try:
                scan = scanned(number, video, settings, context)
                yield look(number, video, scan)
            except ItemError as error:
                named = error.message if str(video) in error.message else f"{video}: {error.message}"
                yield Failure(str(video), error.kind, named)
                continue
            except OSError as error:
                yield Failure(str(video), "unreadable", f"{video}: {error.strerror or error}")
                continue
            for name in (scan.evidence, scan.strip):
                context.storage.remove(name)


def scanned(number: int, video: Path, settings: "ScanSettings", context: Context) -> Scanned:
    """The decode pass, in the guarded child."""
    from builder.media.decode import scan

    names = [f"{number}.evidence", f"{number}.strip"]
    paths = [context.storage.path(name) for name in names]
    facts = context.guard.call(scan, video.absolute(), *paths, settings, wall_s=LONGEST_S, cpu_s=LONGEST_S)
    return Scanned(str(number), **vars(facts), evidence=names[0], strip=names[1])


def shots_of(scan: Scanned, detector: Detector) -> Shots:
    """Raises ItemError, also where the detector leaves nothing on purpose."""
    [answer] = detector.batch([Item(scan, "")])
    if isinstance(answer, Failure):
        raise ItemError(answer.kind, answer.message)
    return answer[0]


def told_short(scan: Scanned) -> str:
    """What to say of a file that breaks off; empty of a whole one."""
    return "" if scan.complete else f"only its first {scan.duration_s:.2f} s are there ({scan.lost})"


def device_for(stages: Sequence[Stage[Any, Any]]) -> str:
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
        if sheet.exists() and video.exists() and sheet.samefile(video):
            raise ConfigError(f"--preview {preview} would overwrite {video}; give another name")


def sheet_name(preview: Path, number: int, count: int) -> Path:
    """`out.png`, or of several videos `out-1.png` and so on, in their order."""
    return preview.with_stem(f"{preview.stem}-{number}") if count > 1 else preview
