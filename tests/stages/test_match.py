"""Match: one similarity for each caption and clip, whatever stands beside it; nothing of a long caption is left out."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from builder.config import load
from builder.errors import ConfigError, RunError
from builder.pipeline import Run, check_conditions
from builder.pretrained.two_towers import TwoTowers, pieces
from builder.records import Caption, Failure
from builder.stage import Item
from builder.stages.judge import Select
from builder.stages.match import Match, MatchScore
from command_line import write_run
from sample_clips import Sample, made, panning, texture

pytest.importorskip("transformers")
import two_tower_models as models

SHORT = "A dog runs."
LONG = "A dog runs over the green. Then it stops. A man calls it from the gate, and waits. It comes."


@pytest.fixture(scope="session")
def clip_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def siglip_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.siglip(tmp_path_factory.mktemp("siglip"))


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("run")
    return [made(folder, panning(texture(seed=n), m, 2.0), name=f"clip{n}") for n, m in enumerate((60, 80, 5))]


def captioned(clip: Sample, text: str) -> Item[Caption]:
    row = Caption(clip.clip.clip_id, "describe", text, "ok", "m", "1", "", (), "{}")
    return Item(row, "digest", {"split": clip.clip, "scan": clip.scan})


def matched(model: Path, items: list[Item[Caption]], clips: list[Sample], size: int = 16) -> list[MatchScore]:
    stage = Match(model=str(model), label="describe", batch_size=size)
    with stage.opened(clips[0].context):
        answers = [a for n in range(0, len(items), size) for a in stage.batch(items[n : n + size])]
    assert not any(isinstance(answer, Failure) for answer in answers)
    return [row for answer in answers if not isinstance(answer, Failure) for row in answer]


def test_it_is_the_mean_cosine_of_frames_and_caption(clip_model: Path, clips: list[Sample]) -> None:
    [found] = matched(clip_model, [captioned(clips[0], SHORT)], clips)
    towers = TwoTowers(str(clip_model), "main", "cpu")
    [[piece]] = towers.read([SHORT])
    assert found.similarity == pytest.approx(
        float((towers(clips[0].frames().images(3)) @ piece.vector).mean()), abs=1e-6
    )
    assert found.pieces == 1


def test_vectors_are_those_of_the_network(siglip_model: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    network, tokenizer = AutoModel.from_pretrained(siglip_model), AutoTokenizer.from_pretrained(siglip_model)
    tokens = tokenizer([SHORT], padding="max_length", max_length=models.CONTEXT, return_tensors="pt")
    with torch.inference_mode():
        wanted = network.get_text_features(**tokens).pooler_output[0].numpy()
    [[piece]] = TwoTowers(str(siglip_model), "main", "cpu").read([SHORT])
    assert piece.vector == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-6)


@pytest.mark.parametrize("kind", ["clip_model", "siglip_model"])
def test_a_batch_is_what_each_alone_is(request: pytest.FixtureRequest, kind: str, clips: list[Sample]) -> None:
    model = request.getfixturevalue(kind)
    items = [captioned(clip, text) for clip, text in zip(clips, (SHORT, LONG, "A cat."), strict=True)]
    alone, together = (matched(model, items, clips, size) for size in (1, 3))
    assert alone == together
    assert [score.clip_id for score in alone] == [clip.clip.clip_id for clip in clips]
    assert len({score.similarity for score in alone}) == len(clips)


def test_a_long_caption_is_read_in_pieces(clip_model: Path, clips: list[Sample]) -> None:
    towers = TwoTowers(str(clip_model), "main", "cpu")
    [found] = matched(clip_model, [captioned(clips[0], LONG)], clips)
    [read] = towers.read([LONG])
    seen = towers(clips[0].frames().images(3))
    wanted = sum(p.tokens * float((seen @ p.vector).mean()) for p in read) / sum(p.tokens for p in read)
    assert found.pieces == len(read) > 1
    assert found.similarity == pytest.approx(wanted, abs=1e-6)
    ending = LONG.replace("It comes.", "It sleeps.")
    assert matched(clip_model, [captioned(clips[0], ending)], clips)[0].similarity != found.similarity


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("One two. Three.", ["One two. Three."]),
        ("One two three. Four five six.", ["One two three.", "Four five six."]),
        ("One two three four five six.", ["One two three four", "five six."]),
        ("OneTwoThreeFourFiveSixSeven", ["OneTwoThreeFourFive", "SixSeven"]),
        ("一二三四五六七八九十。一二三四五六七八九十。", ["一二三四五六七八九十。", "一二三四五六七八九十。"]),
    ],
)
def test_cuts_are_between_sentences_else_words_else_anywhere(text: str, wanted: list[str]) -> None:
    found = pieces(text, lambda piece: len(piece) <= 19)
    assert found == wanted
    assert "".join("".join(found).split()) == "".join(text.split())


def test_failures_are_each_its_own(clip_model: Path, clips: list[Sample]) -> None:
    stage = Match(model=str(clip_model), label="describe")
    lost = Item(captioned(clips[1], SHORT).row, "digest")
    with stage.opened(clips[0].context):
        answers = stage.batch([captioned(clips[0], " "), lost, captioned(clips[2], SHORT)])
        alone = stage.batch([captioned(clips[0], "")])
    assert [a.kind for a in (*answers[:2], *alone) if isinstance(a, Failure)] == ["no_text", "not_joined", "no_text"]
    assert not isinstance(answers[2], Failure) and answers[2][0].clip_id == "clip2"


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nothing holds no model"):
        Match(model=str(tmp_path / "nothing"), label="x").identity()


def run_with(folder: Path, lines: str) -> Run:
    write_run(folder, folder)
    with (folder / "build.toml").open("a") as file:
        file.write(lines)
    return Run(folder, load(folder))


def tables(run: Run) -> Mapping[str, object]:
    return {stage.table: stage for _, stage in run.stages}


def test_without_a_model_there_is_no_stage(tmp_path: Path) -> None:
    assert not any("match" in table for table in tables(run_with(tmp_path / "run", "")))


def test_every_caption_table_has_its_own(tmp_path: Path, clip_model: Path) -> None:
    lines = f'[caption.second]\nengine = "describe"\ntags = "off"\n[match]\nmodel = "{clip_model}"\n'
    found = tables(run_with(tmp_path / "run", lines))
    names = ["score.match-describe", "score.match-second"]
    assert [table for table in found if "match" in table] == names
    select = found["select"]
    assert isinstance(select, Select) and set(names) <= set(select.joins)
    assert set(names) <= set(found["plan"].joins)  # type: ignore[attr-defined]
    assert list(found).index("caption.second") < list(found).index(names[0]) < list(found).index("select")


def test_conditions_of_select_may_name_it_and_those_of_judge_not(tmp_path: Path, clip_model: Path) -> None:
    match = f'[match]\nmodel = "{clip_model}"\n'
    keep = 'keep = ["match-describe.similarity >= 0.2"]\n'
    check_conditions(run_with(tmp_path / "good", f"{match}[select]\n{keep}"))
    with pytest.raises(ConfigError, match=r"nothing measures 'match-describe\.similarity'"):
        check_conditions(run_with(tmp_path / "off", f"[select]\n{keep}"))
    wrong = run_with(tmp_path / "wrong", match)
    values = dataclasses.replace(wrong.config, values={**wrong.config.values, "filter": {"keep": [keep.split('"')[1]]}})
    with pytest.raises(ConfigError, match=r"nothing measures 'match-describe\.similarity'"):
        check_conditions(Run(wrong.root, values))


def test_how_it_runs_is_no_part_of_the_fingerprint(clip_model: Path, siglip_model: Path) -> None:
    one = Match(model=str(clip_model), label="describe")
    assert dataclasses.replace(one, batch_size=2).fingerprint() == one.fingerprint()
    assert Match(model=str(siglip_model), label="describe").identity() != one.identity()
