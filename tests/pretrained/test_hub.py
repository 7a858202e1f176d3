"""Which version of a model is meant."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.errors import RunError
from builder.pretrained.hub import folder_revision, resolve

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ASK = "import sys; from builder.pretrained.hub import resolve; print(resolve(*sys.argv[1:]))"


def ask(model: str, revision: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Resolve in a process of its own: huggingface_hub reads its environment once."""
    environment = {**os.environ, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", ASK, model, revision]
    root = Path(__file__).parents[2]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)


def model_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(5 << 20))
    return folder


def test_a_commit_is_itself() -> None:
    assert resolve("someone/model", COMMIT) == COMMIT


def test_a_branch_is_what_was_downloaded(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "models--someone--model"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    (repo / "snapshots" / COMMIT).mkdir(parents=True)
    (repo / "snapshots" / COMMIT / "config.json").write_text("{}")
    assert ask("someone/model", "main", tmp_path).stdout.strip() == COMMIT


def test_a_model_that_cannot_be_had_says_how_to_get_it(tmp_path: Path) -> None:
    refused = ask("someone/other", "main", tmp_path)
    assert refused.returncode != 0
    assert "hf download someone/other --revision main" in refused.stderr


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    assert "RunError: cannot load the model no such model" in ask("no such model", "main", tmp_path).stderr
    with pytest.raises(RunError, match=r"holds no model"):
        resolve(str(tmp_path / "nothing"), "main")


@pytest.mark.parametrize("where", [0, -1])
def test_a_folder_is_known_by_its_content(tmp_path: Path, where: int) -> None:
    folder = model_folder(tmp_path / "model")
    before = folder_revision(folder)
    weights = bytearray(5 << 20)
    weights[where] = 1
    (folder / "model.safetensors").write_bytes(weights)
    assert folder_revision(folder) != before
    (folder / "model.safetensors").write_bytes(bytes(5 << 20))
    assert folder_revision(folder) == before
    (folder / "tokenizer.json").write_text("{}")
    assert folder_revision(folder) != before


def test_a_folder_keeps_its_name_wherever_it_lies(tmp_path: Path) -> None:
    here, there = model_folder(tmp_path / "here"), model_folder(tmp_path / "there")
    assert folder_revision(here) == folder_revision(there)
