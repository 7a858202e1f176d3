"""The filter grammar, against a second evaluator: Python's own comparisons over randomly built conditions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.conditions import parse
from builder.errors import ConfigError

NAMES = ("text.area", "motion.flow", "caption-llava.words")
SPACE = st.sampled_from(["", " ", "  "])


@dataclass(frozen=True)
class Written:
    """A condition as text, and as Python that says whether it holds; v(name) is None where nothing was measured."""

    text: str
    python: str

    def holds(self, values: Mapping[str, float]) -> bool:
        return bool(eval(self.python, {"v": values.get, "any": any, "all": all}))


numbers = st.one_of(st.integers(-50, 50).map(str), st.floats(-50, 50).map(repr), st.sampled_from(["1e1", "+.5", "-2."]))


@st.composite
def compared(draw: st.DrawFn) -> Written:
    name, test, bound = (
        draw(st.sampled_from(NAMES)),
        draw(st.sampled_from(["<", "<=", ">", ">=", "==", "!="])),
        draw(numbers),
    )
    text = f"{draw(SPACE)}{name}{draw(SPACE)}{test}{draw(SPACE)}{bound}{draw(SPACE)}"
    return Written(text, f"(v({name!r}) is not None and v({name!r}) {test} {bound})")


@st.composite
def between(draw: st.DrawFn) -> Written:
    name, low, high = draw(st.sampled_from(NAMES)), draw(numbers), draw(numbers)
    text = f"{name} in {low}{draw(SPACE)}..{draw(SPACE)}{high}"
    return Written(text, f"(v({name!r}) is not None and {low} <= v({name!r}) <= {high})")


def grouped(parts: st.SearchStrategy[Written]) -> st.SearchStrategy[Written]:
    def group(kind: str, among: list[Written]) -> Written:
        return Written(f"{kind}({','.join(p.text for p in among)})", f"{kind}([{','.join(p.python for p in among)}])")

    return st.builds(group, st.sampled_from(["any", "all"]), st.lists(parts, min_size=1, max_size=3))


conditions = st.recursive(compared() | between(), grouped, max_leaves=6)
measured = st.dictionaries(st.sampled_from(NAMES), st.integers(-50, 50).map(float) | st.floats(-50, 50))


@given(conditions, measured)
def test_a_condition_holds_when_python_says_so(condition: Written, values: dict[str, float]) -> None:
    assert (parse(condition.text).failed(values) == []) == condition.holds(values)


@given(conditions)
def test_nothing_measured_is_not_a_pass(condition: Written) -> None:
    parsed = parse(condition.text)
    assert parsed.failed({})
    assert set(parsed.names()) == {name for name in NAMES if name in condition.text}


@given(conditions, measured)
def test_what_failed_is_said_with_its_value(condition: Written, values: dict[str, float]) -> None:
    for text in parse(condition.text).failed(values):
        name = text.split()[0]
        assert "has no value" in text if name not in values else f"{values[name]:.4g}" in text


def test_messages() -> None:
    values = {"motion.flow": 0.25}
    assert parse("motion.flow >= 0.3").failed(values) == ["motion.flow 0.25 is not >= 0.3"]
    assert parse("motion.flow in 0.5..30").failed(values) == ["motion.flow 0.25 is not in 0.5..30"]
    assert parse("text.area <= 0.1").failed(values) == ["text.area has no value"]
    assert parse("all(motion.flow > 1, text.area < 1, motion.flow < 1)").failed(values) == [
        "motion.flow 0.25 is not > 1",
        "text.area has no value",
    ]


def test_both_ends_of_a_range_are_inside() -> None:
    condition = parse("motion.flow in 0.5..30")
    inside = [condition.failed({"motion.flow": value}) == [] for value in (0.5, 30.0, 0.49, 30.1)]
    assert inside == [True, True, False, False]


def test_no_comparison_passes_what_is_not_a_number() -> None:
    for text in ("motion.flow < 1", "motion.flow >= 1", "motion.flow == 1", "motion.flow in 0..1"):
        assert parse(text).failed({"motion.flow": math.nan})


@pytest.mark.parametrize(
    "text",
    [
        *("", "motion.flow", "flow > 1", "motion.flow > x", "motion.flow => 1", "motion.flow in 1-2", "any()"),
        *("any(a.b > 1", "all(a.b > 1,)", "a.b > 1 c.d > 2", "a.b > 1, c.d > 2", "not(a.b > 1)", "1 < a.b < 2"),
        *("none(a.b > 1)", "a.b > 1)", "a.b > 1_0", "a.b in 1..", "any(a.b > 1)(c.d > 2)", "a.b > nan"),
        "__import__('os').x > 1",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot read the condition"):
        parse(text)
