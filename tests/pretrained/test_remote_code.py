"""Code that comes with a model, and weights that are code."""

import json
import shutil
from pathlib import Path

import pytest

from builder.captioners.hf import Transformers
from builder.errors import ConfigError, RunError
from builder.pretrained.remote_code import code_sha256, pinned
from builder.pretrained.vision_language import Wanted, load
from models import cached

pytest.importorskip("transformers")

MODELING = """
import pathlib
from transformers import LlavaForConditionalGeneration

pathlib.Path(__file__).with_name("ran").touch()
pathlib.Path({mark!r}).touch()


class Ours(LlavaForConditionalGeneration):
    pass
"""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cached("tiny", tmp_path_factory.mktemp("models"))


@pytest.fixture
def coded(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model with code of its own, which leaves a mark when it runs."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "coded"
    shutil.copytree(tiny, folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_ours.Ours"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_ours.py").write_text(MODELING.format(mark=str(tmp_path / "ran")))
    return folder


def test_code_of_a_model_does_not_run_unasked(coded: Path, tmp_path: Path) -> None:
    network = load(Wanted(str(coded), "folder"), "cpu").network
    assert type(network).__name__ == "LlavaForConditionalGeneration"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("revision", ["main", "v1.0", "0123abc", "0" * 64])
def test_a_folder_with_code_needs_the_hash_of_that_code(coded: Path, tmp_path: Path, revision: str) -> None:
    captioner = Transformers(model=str(coded), trust_remote_code=True, revision=revision)
    with pytest.raises(ConfigError, match=f"coded.*{code_sha256(coded)}"):
        captioner.fingerprint()
    assert not (tmp_path / "ran").exists()


def test_pinned_code_runs_and_changed_code_does_not(coded: Path, tmp_path: Path) -> None:
    held = code_sha256(coded)
    version = pinned(str(coded), held, trusted=True)
    assert held[:16] in version
    load(Wanted(str(coded), version, trusted=True), "cpu")
    assert (tmp_path / "ran").exists()
    with (coded / "modeling_ours.py").open("a") as file:
        file.write("# harmless\n")
    with pytest.raises(ConfigError, match="read its"):
        pinned(str(coded), held, trusted=True)


@pytest.mark.parametrize("revision", ["main", "refs/pr/3", "0123abc", "A" * 40, "g" * 40])
def test_a_hub_model_with_code_needs_a_commit(revision: str) -> None:
    with pytest.raises(ConfigError, match=r"some/model.*40 hex digits"):
        pinned("some/model", revision, trusted=True)


def test_code_of_another_repository_is_refused(coded: Path) -> None:
    config = json.loads((coded / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "other/repo--modeling_ours.Ours"}
    (coded / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"another repository .other/repo."):
        load(Wanted(str(coded), "folder", trusted=True), "cpu")


def test_weights_as_pickles_are_refused_with_what_to_do(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(tiny, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(RunError, match=r"old.*pytorch_model.bin.*may run code.*convert"):
        load(Wanted(str(folder), "folder"), "cpu")


def test_the_printed_conversion_works(tiny: Path, tmp_path: Path) -> None:
    import shlex
    import subprocess
    import sys

    import torch
    from safetensors.torch import load_file

    from builder.pretrained.vision_language import CONVERT

    weights = load_file(tiny / "model.safetensors")
    torch.save(weights, tmp_path / "pytorch_model.bin")
    words = shlex.split(CONVERT.replace("FILES", str(tmp_path / "pytorch_model.bin")))
    subprocess.run([sys.executable, *words[1:]], check=True)
    found = load_file(tmp_path / "pytorch_model.safetensors")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in found)


def test_a_dtype_may_be_chosen(tiny: Path) -> None:
    import torch

    assert load(Wanted(str(tiny), "folder", dtype="bfloat16"), "cpu").network.dtype == torch.bfloat16
    assert load(Wanted(str(tiny), "folder"), "cpu").network.dtype == torch.float32
    chosen = Transformers(model=str(tiny), dtype="bfloat16")
    assert chosen.fingerprint() != Transformers(model=str(tiny)).fingerprint()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_broken_file_is_a_message(tiny: Path, tmp_path: Path, name: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny, broken)
    (broken / name).write_bytes((broken / name).read_bytes()[:60])
    with pytest.raises(RunError, match=r"cannot load the model .*broken.*all its files"):
        load(Wanted(str(broken), "folder"), "cpu")
