"""Files that all processes share: one at a time, whole after a kill, gone when nobody needs them."""

import json
import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builder.web import state
from builder.web.state import locked, shared_folder, slot, temporary_folder, tidy


def test_changes_are_made_one_after_the_other(tmp_path: Path) -> None:
    def add(_: int) -> None:
        with locked(tmp_path / "deep" / "count.json") as known:
            known["count"] = known.get("count", 0) + 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(400)))
    assert json.loads((tmp_path / "deep" / "count.json").read_text()) == {"count": 400}


def test_a_change_that_fails_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with locked(path) as known:
        known["a"] = 1
    with pytest.raises(KeyError), locked(path) as known:
        known["a"] = known["b"]
    with locked(path) as known:
        assert known == {"a": 1}


def test_a_file_never_becomes_shorter(tmp_path: Path) -> None:
    """Else a kill between the two calls that this takes would leave the end of the old text behind the new one."""
    path = tmp_path / "a.json"
    with locked(path) as known:
        known["a"] = "a" * 100
    before = path.stat().st_size
    with locked(path) as known:
        known.clear()
    assert path.stat().st_size == before
    with locked(path) as known:
        assert known == {}


def test_a_slot_is_held_once(tmp_path: Path) -> None:
    with slot(tmp_path / "a") as first, slot(tmp_path / "a") as second, slot(tmp_path / "b") as other:
        assert (first, second, other) == (True, False, True)
    with slot(tmp_path / "a") as again:
        assert again
    with pytest.raises(BlockingIOError), slot(tmp_path / "a"):
        raise BlockingIOError  # of somebody else


def test_a_file_that_is_removed_is_still_held_once(tmp_path: Path) -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def hold(seed: int) -> None:
        nonlocal inside, most
        chooser = random.Random(seed)
        for _ in range(200):
            with slot(tmp_path / "a") as free:
                if free:
                    with lock:
                        inside += 1
                        most = max(most, inside)
                    with lock:
                        inside -= 1
                    if chooser.random() < 0.5:
                        (tmp_path / "a").unlink()  # the last thing that its holder may do

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, range(8)))
    assert most == 1


def test_only_old_files_that_nobody_holds_are_removed(tmp_path: Path) -> None:
    for name in ("old", "held", "new"):
        with slot(tmp_path / name):
            pass
        if name != "new":
            os.utime(tmp_path / name, (0, 0))
    with slot(tmp_path / "held"):
        tidy(tmp_path, 60)
    assert {p.name for p in tmp_path.iterdir()} == {"held", "new", "tidied.json"}
    tidy(tmp_path, 60)  # once is enough
    assert (tmp_path / "held").exists()


def test_where_nothing_can_be_written_a_temporary_folder_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OSD_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shared_folder.cache_clear()
    assert shared_folder() == tmp_path / f"open-sora-dataset-{os.getuid()}"
    assert shared_folder().stat().st_mode & 0o777 == 0o700


def without_a_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_a_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OSD_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", without_a_home)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shared_folder.cache_clear()
    assert shared_folder().parent == tmp_path


def link(path: Path) -> None:
    path.symlink_to(path.parent)


@pytest.mark.parametrize("occupy", [link, Path.touch])
def test_the_temporary_folder_is_not_somebody_else_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, occupy: Callable[[Path], None]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    occupy(tmp_path / f"open-sora-dataset-{os.getuid()}")
    folder = temporary_folder()
    assert folder.is_dir() and not folder.is_symlink()
    assert folder.name != f"open-sora-dataset-{os.getuid()}"


def test_a_system_that_does_not_tell_when_it_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "BOOT", tmp_path / "none")
    assert state.boot.__wrapped__() == ""
    assert state.boot() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
