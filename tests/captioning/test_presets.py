"""Presets, prompt files and slots, as a section of build.toml names them."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.captioning import presets, slots
from builder.captioning.asking import Asking, hash_of
from builder.errors import ConfigError
from builder.execute import open_run

RUN = """
name = "one"
[[source]]
kind = "folder"
name = "mine"
path = "."
[score]
use = ["motion"]
[filter]
keep = []
[caption.dense]
"""
REWRITING = ("merge", "shorten")
NAMES = ("internvl", "llava-1.6-34b", "open-sora-plan-1.3", "qwen2.5-vl-7b", "qwen3-vl", "sharegpt4v-7b", "smolvlm2")
Dense = Callable[..., Asking]


@pytest.fixture
def dense(tmp_path: Path) -> Dense:
    """The captioner of [caption.dense] with these lines."""

    def build(*lines: str) -> Asking:
        (tmp_path / "build.toml").write_text(RUN + "\n".join(lines))
        [found] = [stage for _, stage in open_run(tmp_path).stages if isinstance(stage, Asking)]
        return found

    return build


def test_there_are_those_that_were_asked_for() -> None:
    assert tuple(presets.names()) == tuple(sorted(NAMES + REWRITING))


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_whole_and_fills_a_section(name: str, dense: Dense) -> None:
    file = tomllib.loads((presets.FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    assert file.keys() == {"title", "origin", "missing", "caption"}
    assert file["title"] and file["origin"] and file["missing"]
    found, given = dense(f'preset = "{name}"'), file["caption"]
    assert (found.table, found.plugin) == ("caption.dense", given.pop("engine"))
    assert {key: getattr(found, key) for key in given} == given
    assert given.keys() >= {"model", "prompt", "frames_per_clip", "max_new_tokens", "temperature"}
    assert slots.slots(found.prompt) == ()


@pytest.mark.parametrize("name", REWRITING)
def test_a_preset_of_what_others_said_is_whole(name: str, dense: Dense) -> None:
    found = dense(
        f'preset = "{name}"', 'of = ["describe", "third"]', "[caption.describe]", "[caption.third]\nengine='describe'"
    )
    assert (found.frames_per_clip, found.most_tokens, found.joins[2:]) == (
        0,
        300,
        ("caption.describe", "caption.third"),
    )
    assert found.tokenizer and slots.slots(found.prompt) == ("captions",)
    with pytest.raises(ConfigError, match=r"line 12: .*which may be: none yet"):
        dense(f'preset = "{name}"')


def test_the_section_wins_over_its_preset(dense: Dense) -> None:
    found = dense('preset = "llava-1.6-34b"', "frames_per_clip = 3", 'prompt = "What is it?"')
    assert (found.frames_per_clip, found.prompt, found.model) == (3, "What is it?", "llava-hf/llava-v1.6-34b-hf")


def test_a_preset_of_ones_own(tmp_path: Path, dense: Dense) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "long.txt").write_text("\nSay a lot about {title}.\n", encoding="utf-8")
    (tmp_path / "mine" / "own.toml").write_text(
        '[caption]\nengine = "transformers"\nmodel = "a/b"\nprompt_file = "long.txt"\n'
    )
    found = dense('preset = "mine/own.toml"')
    assert (found.model, found.prompt) == ("a/b", "Say a lot about {title}.")
    assert "merge" in found.joins


def test_a_prompt_file_is_its_text(tmp_path: Path, dense: Dense) -> None:
    (tmp_path / "long.txt").write_text("Sag alles. Höre auf.\n", encoding="utf-8")
    file = dense('engine = "transformers"', 'model = "a/b"', 'prompt_file = "long.txt"')
    text = dense('engine = "transformers"', 'model = "a/b"', 'prompt = "Sag alles. Höre auf."')
    assert file == text
    assert hash_of(file.prompt) == hash_of(text.prompt)


@pytest.mark.parametrize(
    "lines, said",
    [
        (['preset = "llava-1.6-34"'], [" line 12: ", "did you mean 'llava-1.6-34b'?", "qwen3-vl", "NAME.toml"]),
        (['preset = "none.toml"'], [" line 12: ", "none.toml cannot be read (No such file"]),
        (["preset = 3"], ["preset = 3: write the name of a preset"]),
        (['preset = "bad.toml"'], ["bad.toml is not valid TOML"]),
        (['preset = "empty.toml"'], ["empty.toml is no preset: it needs a section [caption]"]),
        (['preset = "nested.toml"'], ["nested.toml is no preset"]),
        (['engine = "transformers"', 'prompt_file = "none.txt"'], [" line 13: ", "none.txt cannot be read"]),
        (['engine = "transformers"', 'prompt_file = "."'], ["cannot be read (Is a directory)"]),
        (['engine = "transformers"', 'prompt_file = "latin.txt"'], ["latin.txt is no UTF-8 text"]),
        (['engine = "transformers"', 'prompt_file = "huge.txt"'], ["has more than 64 kB; is it the right file?"]),
        (['preset = "qwen3-vl"', 'prompt = "a"', 'prompt_file = "b"'], ["prompt and prompt_file are both given"]),
        (['preset = "qwen3-vl"', 'promt = "a"'], ["no key 'promt'; did you mean 'prompt'?", "prompt_file"]),
        (['preset = "qwen3-vl"', 'prompt = ""'], [" line 13: ", 'prompt = ""', "at least 1 character"]),
        (['preset = "qwen3-vl"', 'language = "english!"'], ['language = "english!"', "pattern"]),
        (
            ['preset = "qwen3-vl"', 'prompt = "of {titel}"'],
            [" line 13: ", "no slot {titel}; did you mean {title}?", "{tags}", "{motion.flow}"],
        ),
        (['preset = "qwen3-vl"', 'prompt = "{motion.__class__}"'], ["no slot {motion.__class__}"]),
        (['preset = "qwen3-vl"', 'prompt = "{text}"'], ["no slot {text}"]),  # that scorer is off here
        (['preset = "qwen3-vl"', 'prompt = "a } b"'], [" line 13: ", "a lone } in the prompt; write }}"]),
        (['preset = "qwen3-vl"', 'prompt = "a {} b"'], [" line 13: ", "names no slot; write {{}}"]),
        (['preset = "slotted.toml"'], [" line 12: ", "no slot {nothing}"]),
    ],
)
def test_what_is_wrong_is_said_with_its_line(lines: list[str], said: list[str], tmp_path: Path, dense: Dense) -> None:
    (tmp_path / "bad.toml").write_text("[caption")
    (tmp_path / "empty.toml").write_text("title = 'x'")
    (tmp_path / "nested.toml").write_text("[caption]\npreset = 'qwen3-vl'")
    (tmp_path / "slotted.toml").write_text("[caption]\nengine = 'transformers'\nprompt = '{nothing}'")
    (tmp_path / "latin.txt").write_bytes("Höre".encode("latin-1"))
    (tmp_path / "huge.txt").write_text("x" * 70_000)
    with pytest.raises(ConfigError) as error:
        dense(*lines)
    assert all(text in str(error.value) for text in said), error.value


def test_braces_can_be_written() -> None:
    assert slots.slots("a {{b}} {title}") == ("title",)
    assert slots.fill("a {{b}} {{{title}}}", {}).splitlines()[0] == "a {b} {unknown}"


def test_every_slot_there_is_can_be_asked_for(dense: Dense) -> None:
    names = slots.known(("score.motion",))
    assert {"title", "tags", "motion.flow", "motion.camera"} <= set(names)
    found = dense('preset = "qwen3-vl"', f'prompt = "{" ".join(f"{{{name}}}" for name in names)}"')
    assert found.joins == ("split", "scan", "merge", "score.motion")
