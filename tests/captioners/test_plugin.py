"""A captioner of somebody else: one file in a package that pip has installed, which implements `engine` alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.records import Caption
from builder.storage import Storage
from builder.table import Table
from command_line import SETTINGS
from made_video import Made, write
from small_dataset import REPOSITORY

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "their-captioner"
version = "1.0"

[project.entry-points."open_sora_dataset.captioners"]
brightness = "their_captioner:Brightness"
"""
CAPTIONER = '''
"""A captioner that says how bright a clip is."""

from collections.abc import Sequence
from typing import ClassVar

from builder.captioning.asking import Asking
from builder.captioning.engine import Engine, Question, Said, Sampling
from builder.errors import ItemError
from builder.stage import settings


@settings
class Brightness(Asking):
    """Asks nobody: it takes the mean of the pictures."""

    plugin: ClassVar[str] = "brightness"
    unit: str = "levels"

    def engine(self) -> Engine:
        return Eye(self.unit)


class Eye:
    dtype = ""

    def __init__(self, unit: str) -> None:
        self.unit = unit

    def say(self, questions: Sequence[Question], sampling: Sampling) -> list[Said | ItemError]:
        return [self.look(question) for question in questions]

    def look(self, question: Question) -> Said | ItemError:
        mean = sum(float(picture.mean()) for picture in question.frames())
        return Said(f"The picture has a brightness of about {mean:.0f} {self.unit}.", True, 0, 9)

    def close(self) -> None:
        pass
'''
BUILD = """
import sys
from pathlib import Path
from builder.execute import execute
if __name__ == "__main__":
    sys.exit(execute(Path(sys.argv[1]), ("crawl", "split", "filter", "caption")))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    project, target = folder / "project", folder / "site"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "their_captioner.py").write_text(CAPTIONER)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "--target", target, project], capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr or "BackendUnavailable" in done.stderr:
        pytest.skip("needs pip and setuptools")
    assert done.returncode == 0, done.stderr
    return target


def build(run: Path, installed: Path) -> subprocess.CompletedProcess[str]:
    script = run.with_name("build.py")
    script.write_text(BUILD)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), str(REPOSITORY)]), "COLUMNS": "200"}
    return subprocess.run([sys.executable, script, run], env=environment, capture_output=True, text=True, check=False)


def test_it_captions_beside_another_one(installed: Path, tmp_path: Path) -> None:
    run, videos = tmp_path / "run", tmp_path / "videos"
    run.mkdir()
    videos.mkdir()
    for n in range(2):
        write(videos / f"{n}.mp4", Made(frames=20 + n))
    more = '[caption.brightness]\n[caption.second]\nengine = "brightness"\nunit = "steps"\nframes_per_clip = 2\n'
    (run / "build.toml").write_text(SETTINGS.format(videos=videos) + more)
    done = build(run, installed)
    assert done.returncode == 0, done.stderr
    tables: dict[str, Table[Caption]] = {
        name: Table(Storage(run), f"caption.{name}", Caption) for name in ("describe", "brightness", "second")
    }
    rows = {name: table.rows() for name, table in tables.items()}
    assert [len(found) for found in rows.values()] == [2, 2, 2]
    assert all(row.text.startswith("The picture has a brightness") for row in rows["brightness"] + rows["second"])
    assert {(row.captioner, row.status, row.tokens) for row in rows["second"]} == {("second", "ok", 9)}
    assert {len(row.frames_s) for row in rows["brightness"]} == {1}


def test_a_wrong_name_or_setting_is_told_with_what_there_is(installed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for section, said in (
        ("[caption.brightnes]", "did you mean 'brightness'?"),
        ("[caption.brightness]\nunits = 3", "did you mean 'unit'?"),
    ):
        (run / "build.toml").write_text(SETTINGS.format(videos=tmp_path) + section)
        done = build(run, installed)
        assert done.returncode != 0 and "ConfigError" in done.stderr and said in done.stderr
