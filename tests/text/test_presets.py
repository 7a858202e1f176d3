"""Presets are data: each has a condition that the filter can read, and its own fingerprint."""

import pytest
from pydantic import ValidationError

from builder.conditions import parse
from builder.errors import ConfigError
from builder.scorers.text import Text, TextScore
from builder.stages.judge import DEFAULT_KEEP
from builder.text.presets import preset, presets


def test_the_published_ones_are_there() -> None:
    assert list(presets()) == ["overlay-only", "seed", "easyanimate", "strict"]
    assert (preset("seed").frames, preset("seed").at) == (6, "start")
    assert preset("easyanimate").limit == 0.02


@pytest.mark.parametrize("name", presets())
def test_conditions_name_what_is_measured(name: str) -> None:
    scorer, _, field = next(parse(preset(name).keep).leaves()).name.partition(".")
    assert scorer == "text" and field in TextScore.names()


def test_the_default_condition_is_the_default_presets() -> None:
    assert preset(Text().preset).keep in DEFAULT_KEEP


def test_each_has_a_fingerprint_of_its_own() -> None:
    assert len({Text(preset=name).fingerprint() for name in presets()}) == len(presets())


def test_an_unknown_one_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="no text preset 'sed'; there are: overlay-only, seed"):
        preset("sed")
    with pytest.raises((ConfigError, ValidationError), match="no text preset 'sed'"):
        Text(preset="sed")
