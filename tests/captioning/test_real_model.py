"""A real model through all of it: slots in, judged answers out, the same every time."""

import pytest

from builder.captioners.hf import Transformers
from builder.captioning.answers import judged
from builder.captioning.engine import Said
from builder.records import Caption, Failure
from judged_run import video_of
from models import AS_SAID, cached
from sample_clips import Sample, made, panning, texture

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return made(tmp_path_factory.mktemp("run"), panning(texture(), 40, 2.0))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(cached("tiny", tmp_path_factory.mktemp("models")))


def outcome(captioner: Transformers, clip: Sample, title: str) -> Caption | Failure:
    with captioner.opened(clip.context):
        [answer] = captioner.batch([clip.judged({"merge": video_of(clip.clip, title=title)})])
    return answer if isinstance(answer, Failure) else answer[0]


def test_the_model_reads_what_the_slots_are_filled_with(tiny: str, clip: Sample) -> None:
    captioner = Transformers(**AS_SAID, model=tiny, prompt="Of {title}:", max_new_tokens=24)
    first, second, again = (outcome(captioner, clip, title) for title in ("a walk", "a very long swim", "a walk"))
    assert isinstance(first, Caption) and isinstance(second, Caption)
    assert first == again
    assert first.text != second.text
    assert first.prompt.startswith("Of “a walk”:\n") and second.tokens_in > first.tokens_in > len(first.prompt)
    assert (first.engine, first.prompt_hash, first.attempts) == ("transformers", second.prompt_hash, 1)


def test_what_it_says_is_judged_as_anything_is(tiny: str, clip: Sample) -> None:
    """Random weights say no sentence; whatever becomes of that, no row is empty, and it comes out the same again."""
    strict = Transformers(model=tiny, language="", max_new_tokens=40, tries=2)
    kept = outcome(Transformers(**AS_SAID, model=tiny, max_new_tokens=40), clip, "")
    assert isinstance(kept, Caption)
    first = judged(Said(kept.raw or kept.text, kept.status == "ok", 0, 0), strict.terms)
    found = outcome(strict, clip, "")
    if first.keep:
        assert isinstance(found, Caption) and (found.status, found.text) == (first.status, first.text)
    elif isinstance(found, Failure):
        assert found.kind in ("empty", "repeated", "refused", "truncated")
    else:
        assert found.attempts == 2 and found.text
    assert outcome(strict, clip, "") == found
