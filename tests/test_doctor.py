"""doctor: what it says of this installation is true, and what it is there to find, it finds."""

import importlib
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from builder import doctor
from builder.doctor import EXTRAS, Check, decoder, guarded
from builder.errors import RunError
from small_dataset import REPOSITORY

SECRET = "hf_thisisasecretthatnobodymaysee"


def python(code: str, path: list[Path]) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def found() -> dict[str, Check]:
    """In a process without this one's `tests/shards`, which the path of the tests puts in the way of `shards`."""
    code = """
import dataclasses, json
from builder.doctor import checks
print(json.dumps([dataclasses.asdict(check) for check in checks()]))
"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", SECRET)
        values = json.loads(python(code, [REPOSITORY]))
    return {value["name"]: Check(**value) for value in values}


def test_this_installation_can_build(found: dict[str, Check]) -> None:
    assert [check for check in found.values() if not check.ok and not check.optional] == []
    assert f"av {version('av')}" in found["extra build"].detail
    assert found["packages"].detail == f"builder and shards come from {REPOSITORY}"
    assert "cv2 is " in found["opencv"].detail
    assert "GB free" in found["disk"].detail


def test_the_token_is_found_and_never_shown(found: dict[str, Check]) -> None:
    assert found["Hub token"].ok
    assert SECRET[3:10] not in str(found)


def test_what_is_missing_comes_with_the_command_that_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "ocr", ("paddleocr", "no_such_module"))
    check = doctor.extra("ocr")
    assert (check.ok, check.optional) == (False, True)
    assert check.detail == "missing: no_such_module; run: pip install 'open-sora-dataset[ocr]'"


def test_a_module_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "__init__.py").write_text("")
    code = "from builder.doctor import guarded, packages; print(guarded('packages', packages))"
    said = python(code, [tmp_path, REPOSITORY])
    assert "ok=False" in said
    assert f"shards is {tmp_path}/shards/__init__.py, not in {REPOSITORY}" in said
    assert "ok=True" in python(code, [REPOSITORY])


def test_a_decoder_that_is_there_and_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brokendecoder.py").write_text("raise OSError('libnvrtc.so.13: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    importlib.invalidate_caches()
    check = decoder("brokendecoder")
    assert (check.ok, check.optional) == (False, True)
    assert "OSError: libnvrtc.so.13" in check.detail


def test_a_check_that_raises_is_a_failed_check() -> None:
    def broken() -> tuple[bool, str]:
        raise ImportError("a b c\nd")

    def told() -> tuple[bool, str]:
        raise RunError("weights are missing; run: x")

    assert guarded("x", broken) == Check("x", False, "ImportError: a b c")
    assert guarded("x", told, optional=True) == Check("x", False, "weights are missing; run: x", optional=True)


def test_nothing_heavy_is_imported_for_it() -> None:
    code = "import sys, builder.doctor; print([m for m in ('torch', 'cv2', 'datasets', 'av') if m in sys.modules])"
    assert python(code, [REPOSITORY]) == "[]\n"
