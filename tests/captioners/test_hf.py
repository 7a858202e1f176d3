"""The transformers captioner, on models in the true LLaVA architecture."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.captioners.hf import Transformers
from builder.errors import ConfigError, RunError
from builder.records import Caption, Failure
from builder.stage import Item
from models import AS_SAID, ASSETS, cached, smollm_wheel
from sample_clips import Sample, made, panning, texture

pytest.importorskip("transformers")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cached("tiny", tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Five clips of one run; the last one is so short that it has a single picture."""
    folder = tmp_path_factory.mktemp("run")
    lengths = (50, 60, 70, 80, 5)
    return [made(folder, panning(texture(seed=n), m, 2.0), name=f"clip{n}") for n, m in enumerate(lengths)]


def asking(**settings: Any) -> Transformers:
    return Transformers(**{**AS_SAID, **settings})


def captions(captioner: Transformers, clips: Sequence[Sample]) -> list[Caption]:
    """In batches as the engine cuts them."""
    items = [clip.judged() for clip in clips]
    found: list[Caption] = []
    with captioner.opened(clips[0].context):
        for start in range(0, len(items), captioner.batch_size):
            for answer in captioner.batch(items[start : start + captioner.batch_size]):
                assert not isinstance(answer, Failure), answer
                found += answer
    return found


def edited(model: Path, target: Path, name: str, **changes: object) -> Path:
    """A copy of the model with some values of a JSON file changed."""
    shutil.copytree(model, target)
    values = json.loads((target / name).read_text())
    (target / name).write_text(json.dumps(values | changes))
    return target


def test_every_clip_gets_its_own_caption(tiny: Path, clips: list[Sample]) -> None:
    found = captions(asking(model=str(tiny), max_new_tokens=24, frames_per_clip=2), clips)
    assert [caption.clip_id for caption in found] == [clip.clip.clip_id for clip in clips]
    assert len({caption.text for caption in found}) >= 3
    assert [len(caption.frames_s) for caption in found] == [2, 2, 2, 2, 1]


def test_how_it_was_made_is_stored(tiny: Path, clips: list[Sample]) -> None:
    captioner = asking(model=str(tiny), max_new_tokens=7, prompt="What is this?")
    [caption] = captions(captioner, clips[:1])
    assert (caption.captioner, caption.model, caption.prompt) == ("transformers", str(tiny), "What is this?")
    assert caption.revision == captioner.identity()["revision"]
    assert caption.revision.startswith("folder-")
    assert caption.frames_s[0] == pytest.approx(1.0, abs=0.6)
    parameters = json.loads(caption.parameters)
    assert (parameters["frames"], parameters["max_new_tokens"], parameters["temperature"]) == (1, 7, 0.0)
    assert parameters["dtype"] == "float32"
    assert (caption.tokens, caption.status) == (7, "truncated")


@pytest.mark.parametrize("frames", [1, 3])
def test_a_batch_says_what_each_clip_alone_would(tiny: Path, clips: list[Sample], frames: int) -> None:
    alone, together = (
        captions(asking(model=str(tiny), max_new_tokens=24, frames_per_clip=frames, batch_size=size), clips)
        for size in (1, 5)
    )
    assert alone == together


def test_the_prompt_matters(tiny: Path, clips: list[Sample]) -> None:
    asked = [asking(model=str(tiny), max_new_tokens=12, prompt=prompt) for prompt in ("What?", "Who is there?")]
    assert captions(asked[0], clips[:1])[0].text != captions(asked[1], clips[:1])[0].text
    assert asked[0].fingerprint() != asked[1].fingerprint()


def test_an_answer_that_ends_is_ok(tiny: Path, clips: list[Sample], tmp_path: Path) -> None:
    [cut] = captions(asking(model=str(tiny), max_new_tokens=12), clips[:1])
    vocabulary = json.loads((tiny / "tokenizer.json").read_text())["model"]["vocab"]
    end = vocabulary[cut.text[3]]
    model = edited(tiny, tmp_path / "ends", "generation_config.json", eos_token_id=[3, end])
    [whole] = captions(asking(model=str(model), max_new_tokens=12), clips[:1])
    assert (cut.status, whole.status) == ("truncated", "ok")
    assert whole.text == cut.text[: cut.text.index(cut.text[3])].strip()
    assert whole.tokens < cut.tokens


def test_an_empty_answer_is_a_failure_that_may_be_retried(tiny: Path, clips: list[Sample], tmp_path: Path) -> None:
    everything = list(range(len(json.loads((tiny / "tokenizer.json").read_text())["model"]["vocab"])))
    model = edited(tiny, tmp_path / "mute", "generation_config.json", eos_token_id=everything)
    captioner = asking(model=str(model))
    with captioner.opened(clips[0].context):
        [answer] = captioner.batch([clips[0].judged()])
    assert isinstance(answer, Failure)
    assert (answer.item_id, answer.kind, answer.retryable) == (clips[0].clip.clip_id, "empty", True)


def test_one_bad_clip_spoils_no_batch(tiny: Path, clips: list[Sample]) -> None:
    captioner = asking(model=str(tiny), max_new_tokens=8)
    good = clips[0].judged()
    bad = Item(clips[1].judged().row, "digest", {"split": clips[1].clip})
    with captioner.opened(clips[0].context):
        first, failure, last = captioner.batch([good, bad, clips[2].judged()])
    assert isinstance(failure, Failure)
    assert (failure.item_id, failure.kind) == (clips[1].clip.clip_id, "not_joined")
    assert not isinstance(first, Failure) and first[0].clip_id == clips[0].clip.clip_id
    assert not isinstance(last, Failure) and last[0].clip_id == clips[2].clip.clip_id


def test_without_a_chat_template_the_prompt_is_used_as_it_is(tiny: Path, clips: list[Sample], tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "raw", ignore=shutil.ignore_patterns("*.jinja"))
    captioner = asking(model=str(tmp_path / "raw"), max_new_tokens=8, frames_per_clip=2)
    own = dataclasses.replace(captioner, prompt=f"<image><image>\n{captioner.prompt}")
    assert captions(captioner, clips[:1])[0].text == captions(own, clips[:1])[0].text


def test_other_weights_are_another_fingerprint(tiny: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    before = asking(model=str(copy)).identity()
    assert before == asking(model=str(tiny)).identity()
    other = edited(tiny, tmp_path / "other", "generation_config.json", repetition_penalty=1.5)
    assert asking(model=str(other)).identity() != before


def test_how_it_runs_is_no_part_of_the_fingerprint(tiny: Path) -> None:
    one = asking(model=str(tiny))
    how = {
        "batch_size": 3,
        "cpu_threads": 2,
        "at_once": 2,
        "readers": 1,
        "device_map": "auto",
        "gpus": 2,
        "max_memory": ("0=9GB",),
    }
    assert dataclasses.replace(one, **how).fingerprint() == one.fingerprint()
    assert dataclasses.replace(one, max_new_tokens=3).fingerprint() != one.fingerprint()


def test_a_folder_without_weights_is_named(tiny: Path, clips: list[Sample], tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    captioner = asking(model=str(tmp_path / "bare"))
    with (
        pytest.raises(RunError, match=r"cannot load the model .*bare.*safetensors"),
        captioner.opened(clips[0].context),
    ):
        pass


def test_where_it_runs_is_no_part_of_the_fingerprint() -> None:
    one = Transformers(model="some/model", revision="0" * 40)
    other = dataclasses.replace(one, at_once=2, readers=1, device_map="auto", max_memory=("0=9GB",), static_cache=True)
    assert other.fingerprint() == one.fingerprint()


@pytest.mark.parametrize("told", ["60GB", "gpu=60GB", "0=lots", "0=60GB,1=60GB"])
def test_a_memory_limit_names_a_device_and_a_size(told: str) -> None:
    with pytest.raises(ValueError, match="max_memory"):
        Transformers(max_memory=(told,))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(smollm_wheel() is None, reason="needs the wheel of tests/assets.txt: make test fetches it")
def test_real_language(clips: list[Sample]) -> None:
    model = cached("smollm", ASSETS / "models")
    alone, together = (
        captions(asking(model=str(model), max_new_tokens=24, batch_size=size), clips[:3]) for size in (1, 3)
    )
    assert [caption.text for caption in alone] == [caption.text for caption in together]
    english = {"the", "a", "is", "of", "and", "in", "to", "with"}
    assert all(english & set(caption.text.lower().split()) for caption in alone)
    assert all(caption.tokens <= 24 for caption in alone)


def test_a_spread_model_gets_as_many_gpus_as_it_says(tiny: Path) -> None:
    assert asking(model=str(tiny)).needs.gpus == 1
    spread = asking(model=str(tiny), device_map="auto", gpus=2)
    spread.check()
    assert spread.needs.gpus == 2
    with pytest.raises(ConfigError, match='set device_map = "auto"'):
        asking(model=str(tiny), gpus=2).check()
