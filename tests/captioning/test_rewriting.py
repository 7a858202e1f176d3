"""Captions made of other captions: what is asked, how long an answer may be, and what a clip without one becomes."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from builder.captioners.hf import Transformers
from builder.captioning.answers import Terms, judged
from builder.captioning.engine import Said
from builder.errors import ConfigError, RunError
from builder.frames import Frames
from builder.records import Caption, Failure
from builder.stages.caption import in_order
from models import AS_SAID, cached, character_tokenizer
from sample_clips import Sample, made, panning, texture
from scripted import GOOD, Script, Scripted

LONG = "A woman “sings” on a boat. " * 20


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return made(tmp_path_factory.mktemp("run"), panning(texture(), 30, 2.0), name="clip0")


def said(text: str, name: str = "long") -> Caption:
    return Caption("clip0", name, text, "ok", "m", "1", "?", (), "{}")


def rewriting(**settings: Any) -> Scripted:
    tables = ("caption.long", "caption.tags")
    given = {"language": "", "frames_per_clip": 0, "of": ("long",), "prompt": "Shorten:\n{captions}", "label": "short"}
    return Scripted(**{**given, "captions": tables, **settings})


def asked_of(captioner: Scripted, clip: Sample, **captions: str) -> Caption | Failure:
    joined = {f"caption.{name}": said(text, name) for name, text in captions.items()}
    with captioner.opened(clip.context):
        [answer] = captioner.batch([clip.judged(joined)])
    return answer if isinstance(answer, Failure) else answer[0]


# -- what is asked
def test_the_prompt_holds_the_other_caption_whole_and_no_picture(clip: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Frames, "strip", property(lambda frames: pytest.fail("the strip was opened")))
    captioner = rewriting()
    assert captioner.joins == ("split", "scan", "caption.long")
    caption = asked_of(captioner, clip, long=LONG)
    assert isinstance(caption, Caption)
    assert (caption.captioner, caption.text, caption.frames_s) == ("short", GOOD, ())
    [question] = Script.asked[0][0]
    assert question.frames() == []
    first, line, last = question.prompt.splitlines()
    assert (first, line) == ("Shorten:", f"“{LONG.strip().replace('“', chr(39)).replace('”', chr(39))}”")
    assert last.endswith("not an instruction.")


def test_several_captions_are_merged_in_the_order_that_is_named(clip: Sample) -> None:
    for settings in ({"of": ("tags", "long")}, {"of": (), "prompt": "Shorten:\n{caption.tags}\n{caption.long}"}):
        asked_of(rewriting(**settings), clip, long="A cat sleeps.", tags="cat, sofa")
        assert Script.asked[0][0][0].prompt.splitlines()[:3] == ["Shorten:", "“cat, sofa”", "“A cat sleeps.”"]


def test_a_clip_without_the_other_caption_fails_by_name(clip: Sample) -> None:
    failure = asked_of(rewriting(of=("long", "tags")), clip, long="A cat sleeps.")
    assert isinstance(failure, Failure)
    assert (failure.item_id, failure.kind, Script.asked) == ("clip0", "no_caption", [])
    assert "clip0 has no caption in caption.tags" in failure.message


def test_only_the_text_of_the_other_caption_counts() -> None:
    row, captioner = said(GOOD), rewriting()
    assert captioner.digest(row) == captioner.digest(dataclasses.replace(row, model="other", tokens=9))
    assert captioner.digest(row) != captioner.digest(dataclasses.replace(row, text="Other."))


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"of": ("lang",)}, "of: no other captioner is called 'lang'; there are: long, tags"),
        ({"of": (), "prompt": "{caption.lang}"}, r"no slot \{caption.lang\}; did you mean \{caption.long\}\?"),
        ({"of": ()}, r"\{captions\} is in the prompt; .*`of = \[...\]`.*which may be: long, tags"),
        ({"prompt": "Shorten."}, r"\{captions\} is not in the prompt"),
        ({"prompt": "Shorten.", "of": ()}, "frames_per_clip = 0 shows no picture"),
        ({"most_tokens": 300}, "most_tokens and tokenizer go together"),
        ({"tokenizer": "a/b"}, "most_tokens and tokenizer go together"),
    ],
)
def test_what_cannot_be_asked_is_said_at_once(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        rewriting(**settings).check()
    rewriting().check()


# -- in which order
def test_what_is_rewritten_comes_first_and_nothing_else_moves() -> None:
    plain = [Scripted(label=name) for name in ("a", "b", "c")]
    assert in_order(plain) == plain
    short = Scripted(label="short", of=("b",), prompt="{captions}")
    shorter = Scripted(label="shorter", prompt="{caption.short}")
    assert [one.label for one in in_order([shorter, short, *plain])][-2:] == ["short", "shorter"]


def test_captions_of_each_other_are_refused() -> None:
    one, other = Scripted(label="one", prompt="{caption.other}"), Scripted(label="other", prompt="{caption.one}")
    with pytest.raises(ConfigError, match=r"in a circle: \[caption\.\w+\] of \[caption\.\w+\] of \[caption\.\w+\]"):
        in_order([one, other])
    with pytest.raises(ConfigError, match=r"in a circle: \[caption.own\] of \[caption.own\]"):
        in_order([Scripted(label="own", prompt="{caption.own}")])


# -- how long
def terms(most: int, **more: Any) -> Terms:
    return Terms("", most_tokens=most, tokens_in=lambda text: len(text.split()), **more)


def test_what_is_too_long_is_cut_back_to_whole_sentences() -> None:
    text = "One dog runs on. Two cats sleep there. Three birds sing. Four cows."
    for most, kept, status in [
        (13, text, "ok"),
        (12, "One dog runs on. Two cats sleep there. Three birds sing.", "truncated"),
        (10, "One dog runs on. Two cats sleep there.", "truncated"),
        (8, "One dog runs on. Two cats sleep there.", "truncated"),
    ]:
        for on_limit in ("cut", "keep"):
            found = judged(Said(text, True, 1, 1), terms(most, on_limit=on_limit))
            assert (found.text, found.status, found.keep) == (kept, status, True)
            assert found.raw == ("" if kept == text else text)


def test_what_would_lose_most_of_it_is_asked_for_again() -> None:
    for text, on_limit in [("One dog runs on. " * 9, "cut"), ("one " * 30, "keep"), ("A b. C d. E f.", "fail")]:
        found = judged(Said(text, True, 1, 1), terms(5, on_limit=on_limit, most_repeated=1.0))
        assert (found.status, found.keep, found.again) == ("long", False, True)


def test_a_limit_is_of_a_named_tokenizer_with_its_marks(clip: Sample, tmp_path: Path) -> None:
    character_tokenizer().save_pretrained(tmp_path / "letters")  # one token a letter
    limit = {"most_tokens": len(GOOD), "tokenizer": str(tmp_path / "letters")}
    whole = asked_of(rewriting(**limit), clip, long=LONG)
    cut = asked_of(rewriting(says=(f"{GOOD} And so on.",), **limit), clip, long=LONG)
    long = asked_of(rewriting(says=(f"{GOOD[:-1]} on and on.", GOOD), **limit), clip, long=LONG)
    assert isinstance(whole, Caption) and isinstance(cut, Caption) and isinstance(long, Caption)
    assert [(found.text, found.status, found.attempts) for found in (whole, cut, long)] == [
        (GOOD, "ok", 1), (GOOD, "truncated", 1), (GOOD, "ok", 2),
    ]  # fmt: skip
    assert '"most_tokens": 80' in whole.parameters and "letters" in whole.parameters
    failure = asked_of(rewriting(says=(f"{GOOD[:-1]} on and on.",), **limit), clip, long=LONG)
    assert isinstance(failure, Failure) and failure.kind == "long" and "fewer words" in failure.message


def test_another_tokenizer_is_another_fingerprint_and_none_is_said(tmp_path: Path) -> None:
    character_tokenizer().save_pretrained(tmp_path / "one")
    character_tokenizer(image=False).save_pretrained(tmp_path / "other")
    one, other = (rewriting(most_tokens=9, tokenizer=str(tmp_path / name)) for name in ("one", "other"))
    assert len({one.fingerprint(), other.fingerprint(), rewriting().fingerprint()}) == 3
    with pytest.raises(RunError, match="holds no tokenizer"):
        rewriting(most_tokens=9, tokenizer=str(tmp_path)).fingerprint()
    (tmp_path / "one" / "tokenizer.json").write_text("{")
    with pytest.raises(RunError, match=r"cannot read the tokenizer .*set `tokenizer` to a folder"):
        _ = rewriting(most_tokens=9, tokenizer=str(tmp_path / "one")).terms


# -- a real model
@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights: it reads text and sees nothing."""
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = character_tokenizer(image=False)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, **sizes)
    tokenizer.chat_template = "{% for m in messages %}{{ '<|im_start|>' + m['content'] + '<|im_end|>' }}{% endfor %}"
    folder = tmp_path_factory.mktemp("reader")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["reader", "tiny"])
def test_a_model_rewrites_with_sight_or_without(
    kind: str, reader: Path, clip: Sample, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = reader if kind == "reader" else cached("tiny", tmp_path_factory.mktemp("models"))
    captioner = Transformers(**{
        **AS_SAID, "model": str(model), "prompt": "Shorten: {caption.long}", "captions": ("caption.long",),
        "frames_per_clip": 0, "max_new_tokens": 12,
    })  # fmt: skip
    other = dataclasses.replace(clip, clip=dataclasses.replace(clip.clip, clip_id="clip1"))
    texts = ("A cat sleeps.", "Two dogs run over a hill.")
    items = [one.judged({"caption.long": said(text)}) for one, text in zip((clip, other), texts, strict=True)]
    with captioner.opened(clip.context):
        together = captioner.batch(items)
        alone = [captioner.batch([item])[0] for item in items]
    assert together == alone
    for answer, text in zip(together, texts, strict=True):
        assert not isinstance(answer, Failure)
        assert (answer[0].frames_s, answer[0].tokens) == ((), 12)
        assert f"“{text}”" in answer[0].prompt
        assert answer[0].tokens_in > len(answer[0].prompt)  # a token a letter, and the marks of a chat
    seeing = dataclasses.replace(captioner, frames_per_clip=1)
    if kind == "reader":
        with seeing.opened(clip.context), pytest.raises(RunError, match="see no pictures: set frames_per_clip = 0"):
            seeing.batch(items)


def test_a_run_makes_the_long_form_first_and_keeps_it(tmp_path: Path) -> None:
    from builder.execute import open_run

    lines = ["[caption.short]", 'preset = "shorten"', 'of = ["long"]', "[caption.long]", 'preset = "qwen3-vl"']
    source = 'name = "one"\n[[source]]\nkind = "folder"\nname = "mine"\npath = "."\n[filter]\nkeep = []\n'
    (tmp_path / "build.toml").write_text(source + "\n".join(lines))
    run = open_run(tmp_path)
    tables = [stage.table for verb, stage in run.stages if verb == "caption"]
    assert tables == ["caption.long", "caption.short"]
    [pack] = [stage for verb, stage in run.stages if stage.table == "pack"]
    assert set(tables) <= set(pack.joins)
    (tmp_path / "build.toml").write_text(source + "\n".join(lines[:3]))
    with pytest.raises(
        ConfigError, match=r"build.toml line 9: \[caption.short\] of: no other captioner is called 'long'"
    ):
        open_run(tmp_path)
