"""The engine `transformers`, on small models in the true architectures."""

import logging
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.captioning.engine import Question, Said, Sampling
from builder.captioning.inputs import ALONG_TEXT, ONE_PICTURE, Preparer, side_by_side
from builder.captioning.local_model import LocalModel, Pace
from builder.errors import ItemError, RunError
from builder.pretrained.vision_language import Wanted, load
from captioning_questions import clip
from vision_models import KINDS, made_model

pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

WITHOUT = {"smolvlm": "num2words"}  # packages that a processor will not start without
SHORT = Sampling(max_new_tokens=12)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("models")
    return lambda kind: made_model(kind, folder)


def kinds() -> list[Any]:
    def marks(kind: str) -> list[Any]:
        missing = WITHOUT.get(kind)
        wanted = bool(missing) and find_spec(str(missing)) is None
        return [pytest.mark.skipif(wanted, reason=f"its processor will not start without {missing}")]

    return [pytest.param(kind, marks=marks(kind)) for kind in KINDS]


def engine(folder: Path, **pace: Any) -> LocalModel:
    return LocalModel(load(Wanted(str(folder), "folder"), "cpu"), Pace(**pace))


def clips(kind: str) -> list[Question]:
    """Of several shapes, lengths and prompts."""
    one = kind in ("florence2", "blip_2")
    asked = [clip(0), clip(1, 1), clip(2, 3, 160, 90), clip(3, 2, 60, 240, "And here, what do you see?"), clip(4)]
    return [clip(n, 1, prompt="What happens?" + "?" * n) for n in range(5)] if one else asked


def texts(said: Sequence[Said | ItemError]) -> list[str]:
    return [str(one) if isinstance(one, ItemError) else one.text for one in said]


@pytest.mark.parametrize("kind", kinds())
def test_a_batch_says_what_each_clip_alone_would(kind: str, models: Callable[[str], Path]) -> None:
    together, alone, asked = engine(models(kind)), engine(models(kind), at_once=1), clips(kind)
    said = together.say(asked, SHORT)
    assert said == alone.say(asked, SHORT)
    assert [said[n] for n in (3, 0)] == together.say([asked[3], asked[0]], SHORT)
    assert len(set(texts(said))) >= 2
    assert all(isinstance(one, Said) and one.tokens_out <= 12 for one in said)


@pytest.mark.parametrize("kind", kinds())
def test_inputs_are_those_that_the_processor_makes_of_the_batch(kind: str, models: Callable[[str], Path]) -> None:
    from PIL import Image

    loaded = load(Wanted(str(models(kind)), "folder"), "cpu")
    left = kind != "florence2"
    loaded.processor.tokenizer.padding_side = "left" if left else "right"
    preparer = Preparer(loaded.processor, loaded.network.config.model_type, torch.float32)
    asked = clips(kind)
    ready = [preparer.prepare(question, question.frames()) for question in asked]
    assert [one.tokens for one in ready] == [preparer.tokens(q, q.frames()) for q in asked]
    assert all(one.inputs["attention_mask"].all() for one in ready)
    ours = side_by_side(ready, loaded.processor.tokenizer.pad_token_id, left)
    pictures = [[Image.fromarray(image) for image in question.frames()] for question in asked]
    written = [preparer.written(q.prompt, len(q.frames())) for q in asked]
    theirs = loaded.processor(images=pictures, text=written, padding=True, return_tensors="pt")
    assert set(ours) == set(theirs)
    for name in ours:
        if name in ALONG_TEXT:  # BLIP-2's pads between picture and text
            assert told(ours, name) == told(theirs, name)
        else:
            assert torch.equal(ours[name], theirs[name])


def told(inputs: Any, name: str) -> list[Any]:
    pairs = zip(inputs[name], inputs["attention_mask"].bool(), strict=True)
    return [values[mask].tolist() for values, mask in pairs]


@pytest.mark.parametrize("kind", kinds())
def test_what_is_seen_matters(kind: str, models: Callable[[str], Path]) -> None:
    said = texts(engine(models(kind)).say([clip(n, 1) for n in range(6)], SHORT))
    assert len(set(said)) >= 3


def test_a_model_of_one_picture_refuses_more(models: Callable[[str], Path]) -> None:
    assert "florence2" in ONE_PICTURE
    with pytest.raises(RunError, match="frames_per_clip = 1"):
        engine(models("florence2")).say([clip(0, 2)], SHORT)


def test_a_clip_without_frames_fails_alone(models: Callable[[str], Path]) -> None:
    def gone() -> list[Any]:
        raise ItemError("no_frames", "there are none")

    model, good = engine(models("llava")), [clip(0), clip(1)]
    first, failure, last = model.say([good[0], Question("bad", "?", gone), good[1]], SHORT)
    assert isinstance(failure, ItemError) and failure.kind == "no_frames"
    assert [first, last] == model.say(good, SHORT)


def test_what_the_processor_refuses_fails_alone(models: Callable[[str], Path]) -> None:
    model = engine(models("qwen2_5_vl"))  # whose processor takes no strips of 200 to 1
    thread = Question("thread", "?", lambda: [np.zeros((2, 2000, 3), np.uint8)])
    good, failure = model.say([clip(0), thread], SHORT)
    assert isinstance(good, Said)
    assert isinstance(failure, ItemError) and failure.kind == "unfit_frames" and "thread" in failure.message


@pytest.mark.parametrize("room", [3, 2, 1])
def test_what_does_not_fit_is_asked_in_halves(
    room: int, models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, asked = engine(models("llava")), [clip(n) for n in range(7)]
    wanted, shown = model.say(asked, SHORT), []
    generate = model._network.generate

    def small(**inputs: Any) -> Any:
        shown.append(len(inputs["input_ids"]))
        if shown[-1] > room:
            raise torch.OutOfMemoryError("tried to allocate 1 TiB")
        return generate(**inputs)

    monkeypatch.setattr(model._network, "generate", small)
    with caplog.at_level(logging.WARNING):
        assert model.say(asked, SHORT) == wanted
    assert "at_once" in caplog.text
    before, shown[:] = len(shown), []
    assert model.say(asked, SHORT) == wanted
    assert max(shown) <= room and len(shown) < before  # it has learnt


def test_a_clip_that_never_fits_fails_alone(models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = engine(models("llava"))
    generate = model._network.generate

    def never(**inputs: Any) -> Any:
        if inputs["input_ids"].shape[1] > 80:
            raise torch.OutOfMemoryError("tried to allocate 1 TiB")
        return generate(**inputs)

    monkeypatch.setattr(model._network, "generate", never)
    small, large = model.say([clip(0, 1), clip(1, 6)], SHORT)
    assert isinstance(small, Said)
    assert isinstance(large, ItemError) and (large.kind, large.retryable) == ("out_of_memory", True)


def test_samples_are_each_clips_own(models: Callable[[str], Path]) -> None:
    model, asked = engine(models("llava")), [clip(n) for n in range(4)]
    warm = Sampling(max_new_tokens=12, temperature=1.0, top_p=0.9, seed=1)
    said = model.say(asked, warm)
    assert said == model.say(asked, warm) == [model.say([one], warm)[0] for one in asked]
    assert texts(said) != texts(model.say(asked, Sampling(max_new_tokens=12, temperature=1.0, top_p=0.9, seed=2)))
    assert texts(said) != texts(model.say(asked, SHORT))


def test_samples_follow_the_models_chances() -> None:
    from builder.captioning.sampling import Noise

    chances = torch.tensor([0.5, 0.3, 0.15, 0.05])
    noise = Noise(0, [str(n) for n in range(4000)], "cpu")
    drawn = noise(torch.zeros(4000, 1), chances.log().expand(4000, 4)).argmax(1)
    found = torch.bincount(drawn, minlength=4) / 4000
    assert torch.allclose(found, chances, atol=0.03)  # 4 standard deviations


def test_a_penalty_for_repeating_is_heard(models: Callable[[str], Path]) -> None:
    model = engine(models("llava"))
    plain, varied = (model.say([clip(0)], Sampling(max_new_tokens=40, repetition_penalty=p))[0] for p in (1.0, 3.0))
    assert isinstance(plain, Said) and isinstance(varied, Said)
    assert len(set(varied.text)) > len(set(plain.text))


def test_frames_are_read_ahead_by_threads_and_not_before_they_are_asked_for(models: Callable[[str], Path]) -> None:
    readers: set[str] = set()

    def read() -> list[Any]:
        readers.add(threading.current_thread().name)
        return clip(0, 1).frames()

    asked = [Question(f"clip{n}", "?", read) for n in range(8)]
    model = engine(models("llava"), readers=3, at_once=2)
    assert not readers
    said = model.say(asked, SHORT)
    assert len(set(texts(said))) == 1
    assert threading.main_thread().name not in readers


def test_a_cache_of_fixed_size_changes_no_answer(models: Callable[[str], Path]) -> None:
    plain, fixed = engine(models("qwen2_5_vl")), engine(models("qwen2_5_vl"), static_cache=True)
    asked = clips("qwen2_5_vl")
    assert texts(plain.say(asked, SHORT)) == texts(fixed.say(asked, SHORT))


def test_the_language_model_is_spread_over_cpu_and_disk(models: Callable[[str], Path]) -> None:
    whole, asked = engine(models("llava")), [clip(0), clip(1)]
    memory = {"cpu": "200KB"}  # of 270
    loaded = load(Wanted(str(models("llava")), "folder", spread="auto", memory=memory), "cpu")
    assert {"cpu", "disk"} <= {str(place) for place in loaded.network.hf_device_map.values()}
    assert loaded.disk is not None
    model = LocalModel(loaded, Pace())
    assert model.say(asked, SHORT) == whole.say(asked, SHORT)
    model.close()
    assert not Path(loaded.disk.name).exists()


def test_a_model_that_one_device_does_not_hold_is_a_message(
    models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(network: Any, device: str) -> Any:
        raise torch.OutOfMemoryError("tried to allocate 1 TiB")

    monkeypatch.setattr("transformers.LlavaForConditionalGeneration.to", full)
    with pytest.raises(RunError, match=r"takes 0.0 GB.*device_map"):
        load(Wanted(str(models("llava")), "folder"), "cpu")


@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl", "internvl"])
def test_each_picture_is_looked_at_once(kind: str, models: Callable[[str], Path]) -> None:
    model, shown = engine(models(kind)), []
    parts = dict(model._network.model.named_children())
    sight = parts.get("vision_tower") or parts["visual"]
    sight.register_forward_pre_hook(lambda part, inputs, named: shown.append(1), with_kwargs=True)
    model.say(clips(kind)[:3], Sampling(max_new_tokens=30))
    assert len(shown) <= 3  # in 30 steps
    assert shown


def test_what_is_read_ahead_is_bounded(models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """At most two groups of clips are prepared: the one at hand and the next."""
    model, held, most = engine(models("llava"), at_once=2), [0], [0]
    prepare, answers = model._inputs.prepare, model._answers

    def counted(*asked: Any) -> Any:
        held[0] += 1
        most[0] = max(most[0], held[0])
        return prepare(*asked)

    def done(ready: list[Any], sampling: Sampling) -> Any:
        found = answers(ready, sampling)
        held[0] -= len(ready)
        return found

    monkeypatch.setattr(model._inputs, "prepare", counted)
    monkeypatch.setattr(model, "_answers", done)
    model.say([clip(n) for n in range(12)], SHORT)
    assert held == [0]
    assert 2 < most[0] <= 4
