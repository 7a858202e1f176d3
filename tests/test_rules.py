"""Presets and sections of build.toml: what holds for whom, and what is refused with the way to put it right."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder import registry
from builder.conditions import parse
from builder.errors import ConfigError
from builder.execute import open_run
from builder.pipeline import Run
from builder.rules import presets
from builder.stages.judge import DEFAULT_KEEP, Judge
from builder.stages.rank import Rank
from builder.stages.score import Scorer
from builder.values import FACTS

CONFIG = """\
[[source]]
kind = "folder"
name = "mine"
path = "videos"
[[source]]
kind = "folder"
name = "other"
path = "more"
[score]
use = ["motion", "sharpness", "flicker"]
"""
PUBLISHED = {"seed", "panda-70m", "open-sora-1.2", "open-sora-plan-1.3", "easyanimate"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "build.toml").write_text(CONFIG)
    return tmp_path


def opened(folder: Path, text: str = "", sets: Sequence[str] = ()) -> Run:
    (folder / "build.toml").write_text(CONFIG + text)
    return open_run(folder, sets)


def refusal(folder: Path, text: str = "", sets: Sequence[str] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        opened(folder, text, sets)
    return str(caught.value)


def stage(run: Run, table: str) -> Any:
    return next((found for _, found in run.stages if found.table == table), None)


# -- presets
def test_every_published_pipeline_has_a_preset_and_says_where_it_is_from() -> None:
    assert set(presets()) == PUBLISHED
    for preset in presets().values():
        assert preset.title
        assert re.search(r"\.(py|md)\b|video_caption", preset.origin)
        assert preset.missing


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_preset_names_only_what_exists(name: str) -> None:
    """`aesthetic` needs weights of the user's choice, so it may come from another package."""
    scorers = registry.discover("scorers", Scorer)
    for leaf in (leaf for line in presets()[name].keep for leaf in parse(line).leaves()):
        scorer, _, field = leaf.name.partition(".")
        assert leaf.name in {*FACTS, "aesthetic"} or field in scorers[scorer].writes.names()


def test_a_preset_stands_beside_own_conditions_and_for_the_default_ones(config: Path) -> None:
    alone = opened(config, '[filter]\npreset = "panda-70m"\n')
    assert stage(alone, "judge").lines == ("duration_s in 2.5..60",)
    both = opened(config, '[filter]\npreset = "panda-70m"\nkeep = ["motion.flow > 1"]\n')
    assert stage(both, "judge").lines == ("duration_s in 2.5..60", "motion.flow > 1")
    assert stage(opened(config), "judge").lines == tuple(x for x in DEFAULT_KEEP if x.startswith(("motion", "sharp")))
    assert stage(opened(config, "[filter]\nkeep = []\n"), "judge").lines == ()


def test_an_unknown_preset_and_one_that_needs_a_scorer_that_is_off(config: Path) -> None:
    assert "no preset is called 'panda'; there are: easyanimate, " in refusal(config, '[filter]\npreset = "panda"\n')
    says = refusal(config, '[filter]\npreset = "seed"\n')
    assert "nothing measures 'text.boxes'" in says
    assert "to have it measured, write [score.text] into build.toml" in says


# -- sources
def test_of_one_source_its_own_conditions_hold_instead(config: Path) -> None:
    text = '[filter]\nkeep = ["motion.flow > 1"]\n[filter.source.other]\npreset = "panda-70m"\nkeep = ["fps > 9"]\n'
    judge: Judge = stage(opened(config, text), "judge")
    told = [(rule.line, rule.source, rule.others) for rule in judge.rules]
    assert told == [
        ("motion.flow > 1", "", ("other",)),
        ("duration_s in 2.5..60", "other", ()),
        ("fps > 9", "other", ()),
    ]
    assert judge.written[-1] == "fps > 9 (source other)"
    assert stage(opened(config, "", ['filter.source.mine.keep=["fps > 9"]']), "judge").overrides == {
        "mine": ("fps > 9",)
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[filter.source.othr]\nkeep = []\n', "line 11: no [[source]] is called 'othr'; there are: mine, other"),
        ('[filter.source.other]\nkep = []\n', "line 12: [filter.source.other] has no key 'kep'; did you mean 'keep'?"),
        ('[filter.source.other]\nkeep = ["fps"]\n', "line 12: [filter.source.other] cannot read the condition 'fps'"),
        ('[filter.source.other]\nkeep = ["a.b > 1"]\n', "line 12: nothing measures 'a.b'"),
        ('[filter.source]\nother = ["fps > 1"]\n', "[filter.source.other] must be a section of its own"),
        ('[filter]\nsource = "other"\n', "[filter.source] must be a section of its own"),
        ('[filter]\noverrides = {}\n', "[filter] has no key 'overrides'"),
        ('[judge]\nkeep = []\n', "line 11: no section [judge]; what it held is in [filter] now; allowed: "),
        ('[rank]\n', "no section [rank]; allowed: "),
        ('[filter]\nkeep = ["motion > 1"]\n', "did you mean 'motion.flow'? there are: motion.flow, motion.camera, "),
        ('[filter]\nkeep = ["motion.flow in 5..1"]\n', "no number is in it; write the smaller one first"),
        ('[filter]\nkeep = ["motion.flo > 1"]\n', "did you mean 'motion.flow'? there are: motion.flow, motion.camera"),
        ('[filter]\nkeep = "motion.flow > 1"\n', "Input should be a list, in brackets"),
        ('[filter]\npreset = "seed"\n', "line 12: nothing measures 'text.boxes'"),
        ('[filter]\nkeep = ["source > 1"]\n', "'source' is a text: compare it by == "),
        ('[filter]\nkeep = ["fps == high"]\n', "'fps' is a number: compare it by a number or a percentile"),
        ('[filter]\nkeep = ["caption-describe.words > 1"]\n', "nothing measures 'caption-describe.words'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(config: Path, text: str, says: str) -> None:
    assert says in refusal(config, text)


def test_the_old_name_is_refused_on_the_command_line_too(config: Path) -> None:
    says = refusal(config, sets=['judge.keep=["motion.flow > 1"]'])
    assert says.startswith("--set judge.keep=")
    assert "what it held is in [filter] now" in says


# -- names and percentiles
def test_a_scorer_with_one_value_needs_no_more_than_its_name(config: Path) -> None:
    judge = stage(opened(config, '[filter]\nkeep = ["flicker <= p90", "duration_s >= 2"]\n'), "judge")
    assert judge.percentiles == ("flicker.luma p90",)
    assert judge.joins == ("score.flicker", "pick", "rank")


def test_ranks_are_made_only_for_percentiles(config: Path) -> None:
    assert stage(opened(config), "rank") is None
    assert stage(opened(config), "rank.select") is None
    run = opened(config, '[filter]\nkeep = ["motion.flow >= p10"]\n[select]\nkeep = ["caption-describe.words > p5"]\n')
    assert stage(run, "rank").percentiles == ("motion.flow p10",)
    assert stage(run, "rank.select").percentiles == ("caption-describe.words p5",)
    assert [s.table for _, s in run.stages if isinstance(s, Rank)] == ["rank", "rank.select"]
    assert dataclasses.replace(stage(run, "rank"), percentiles=()).fingerprint() != stage(run, "rank").fingerprint()


def test_select_may_name_captions_scores_and_facts(config: Path) -> None:
    lines = ("caption-describe.words in 3..300", "motion.flow > 1", "source != other")
    select = stage(opened(config, f"[select]\nkeep = {list(lines)}\n"), "select")
    assert select.lines == lines
    assert set(select.joins) == {"split", "merge", "score.motion", "caption.describe"}
