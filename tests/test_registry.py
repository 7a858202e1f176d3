"""Plug-ins are found by being there: in the folder, or in an installed package that names them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder import registry
from builder.errors import ConfigError
from builder.stages.caption import Captioner
from builder.stages.detect import Detector
from builder.stages.find import Source
from builder.stages.score import Scorer
from small_dataset import REPOSITORY

SCORER = '''
"""A scorer of somebody else."""
from dataclasses import dataclass
from typing import ClassVar

from builder.records import Score
from builder.stage import settings
from builder.frames import Frames
from builder.stages.score import Scorer


@dataclass(frozen=True, slots=True)
class LengthScore(Score):
    """`frames`: how many."""

    frames: float


@settings
class Length(Scorer[LengthScore]):
    """Counts."""

    plugin: ClassVar[str] = "{name}"
    writes: ClassVar[type[LengthScore]] = LengthScore

    def score(self, frames: Frames) -> LengthScore:
        return LengthScore(frames.clip.clip_id, float(frames.clip.frames))
'''


@pytest.mark.parametrize(
    ("folder", "base", "some"),
    [
        ("sources", Source, {"folder", "urls"}),
        ("detectors", Detector, {"adaptive", "fixed"}),
        ("scorers", Scorer, {"text", "motion", "sharpness", "brightness"}),
        ("captioners", Captioner, {"describe", "transformers"}),
    ],
)
def test_what_is_there_is_found(folder: str, base: type, some: set[str]) -> None:
    found = registry.discover(folder, base)
    assert some <= found.keys()
    assert list(found) == sorted(found)
    assert all(issubclass(plugin, base) and plugin is not base for plugin in found.values())
    assert {name: registry.find(folder, base, name) for name in found} == found


@pytest.mark.parametrize("name", ["folder", "adaptive", ""])
def test_an_unknown_name_lists_all(name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"no scorer is called .* There are: .*brightness, .*motion, .*sharpness, .*text"
    ):
        registry.find("scorers", Scorer, name)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(ConfigError, match=r"no scorer is called 'sharpnes'; did you mean 'sharpness'\?"):
        registry.find("scorers", Scorer, "sharpnes")
    with pytest.raises(ConfigError) as caught:
        registry.find("scorers", Scorer, "zzz")
    assert "did you mean" not in str(caught.value)


def test_a_scorer_of_another_package(tmp_path: Path) -> None:
    """Installed packages are folders with metadata: no more is made here than an installer makes."""
    (tmp_path / "their_scorer.py").write_text(SCORER.format(name="length"))
    metadata = tmp_path / "their_scorer-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-scorer\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[open_sora_dataset.scorers]\nlength = their_scorer:Length\n")
    run = tmp_path / "run"
    run.mkdir()
    (run / "build.toml").write_text(
        '[[source]]\nkind = "folder"\npath = "x"\n[score.length]\n[filter]\nkeep = ["length.frames >= 9"]\n'
    )
    code = "import sys; from pathlib import Path; from builder.execute import open_run\n"
    code += "print([s.table for _, s in open_run(Path(sys.argv[1])).stages if s.name == 'score'])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])}
    done = subprocess.run(
        [sys.executable, "-c", code, run], env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "'score.length'" in done.stdout, done.stderr
