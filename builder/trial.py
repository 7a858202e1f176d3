"""What `osd-build caption` does with --show or --estimate: it tries captioners, and keeps nothing."""

from pathlib import Path

from builder.captions import Choice, show
from builder.errors import ConfigError
from builder.execute import OK, SOME_FAILED


def try_out(path: Path, choice: Choice, clips: int, preview: Path | None, estimate: bool) -> int:
    """Print captions of a few clips of a run or a video, or how long a run would take. Returns the exit code.

    Raises:
        ConfigError: the two do not go together, or with what `path` is.
    """
    if not path.exists():
        raise ConfigError(f"there is no {path}; name a run folder, or with --show a video file")
    if not estimate:
        tried = show(path, choice, clips, preview)
        for one in tried:
            print(one.to_text())  # noqa: T201
        return SOME_FAILED if any(one.failed for one in tried) else OK
    if preview:
        raise ConfigError("--preview goes with --show, not with --estimate")
    if path.is_file() and path.suffix != ".toml":
        raise ConfigError(f"--estimate needs a run, and {path} is a file; for a video there is --show")
    from builder.captioning.estimate import estimates

    for found in estimates(path, choice):
        print(found.to_text(), flush=True)  # noqa: T201
    return OK
