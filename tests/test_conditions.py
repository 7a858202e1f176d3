"""The filter grammar, against a second evaluator: Python's own comparisons over randomly built conditions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.conditions import Same, parse
from builder.errors import ConfigError
from builder.rules import Rule, verdicts

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
    name, (low, high) = draw(st.sampled_from(NAMES)), sorted((draw(numbers), draw(numbers)), key=float)
    text = f"{name} in {low}{draw(SPACE)}..{draw(SPACE)}{high}"
    return Written(text, f"(v({name!r}) is not None and {low} <= v({name!r}) <= {high})")


def grouped(parts: st.SearchStrategy[Written]) -> st.SearchStrategy[Written]:
    def group(kind: str, among: list[Written]) -> Written:
        return Written(f"{kind}({','.join(p.text for p in among)})", f"{kind}([{','.join(p.python for p in among)}])")

    return st.builds(group, st.sampled_from(["any", "all"]), st.lists(parts, min_size=1, max_size=3))


conditions = st.recursive(compared() | between(), grouped, max_leaves=6)
measured = st.dictionaries(st.sampled_from(NAMES), st.integers(-50, 50).map(float) | st.floats(-50, 50))


def failed(text: str, values: Mapping[str, float | str], thresholds: Mapping[str, float] | None = None) -> list[str]:
    """Why a clip with these values is not kept."""
    condition = parse(text).at(thresholds or {})
    names = [leaf.name for leaf in condition.leaves()]
    texts = {leaf.name for leaf in condition.leaves() if isinstance(leaf, Same)}
    schema = {"clip_id": pl.String} | {name: pl.String if name in texts else pl.Float64 for name in names}
    frame = pl.DataFrame([{"clip_id": "c"} | {name: values.get(name) for name in names}], schema=schema)
    frame = frame.with_columns(pl.col(pl.Float64).fill_nan(None))  # as builder/values.py hands them over
    return verdicts(frame, [Rule(text, condition)], lambda name, clip: f"{name} of {clip} has no value")[0]


@settings(max_examples=200, deadline=None)
@given(conditions, measured)
def test_a_condition_holds_when_python_says_so(condition: Written, values: dict[str, float]) -> None:
    assert (failed(condition.text, values) == []) == condition.holds(values)


@settings(max_examples=50, deadline=None)
@given(conditions)
def test_nothing_measured_is_not_a_pass(condition: Written) -> None:
    assert failed(condition.text, {})
    assert {leaf.name for leaf in parse(condition.text).leaves()} == {name for name in NAMES if name in condition.text}


@settings(max_examples=100, deadline=None)
@given(conditions, measured)
def test_what_failed_is_said_with_its_value(condition: Written, values: dict[str, float]) -> None:
    for text in failed(condition.text, values):
        name = text.split()[0]
        assert (
            "has no value" in text
            if name not in values
            else float(text.split()[1]) == pytest.approx(values[name], 1e-3)
        )


def test_messages() -> None:
    values = {"motion.flow": 0.25}
    assert failed("motion.flow >= 0.3", values) == ["motion.flow 0.25 is not >= 0.3"]
    assert failed("motion.flow in 0.5..30", values) == ["motion.flow 0.25 is not in 0.5..30"]
    assert failed("text.area <= 0.1", values) == ["text.area of c has no value"]
    assert failed("all(motion.flow > 1, text.area < 1, motion.flow < 1)", values) == [
        "motion.flow 0.25 is not > 1",
        "text.area of c has no value",
    ]


def test_as_many_digits_are_said_as_it_takes_to_see_that_it_fails() -> None:
    assert failed("motion.flow >= 0.3", {"motion.flow": 0.29999999}) == ["motion.flow 0.29999999 is not >= 0.3"]


def test_of_a_group_only_what_is_to_blame_is_said() -> None:
    text = "all(any(motion.flow > 1, text.area < 1), motion.flow > 2)"
    assert failed(text, {"motion.flow": 0.5, "text.area": 0.0}) == ["motion.flow 0.5 is not > 2"]


def test_both_ends_of_a_range_are_inside() -> None:
    inside = [failed("motion.flow in 0.5..30", {"motion.flow": value}) == [] for value in (0.5, 30.0, 0.49, 30.1)]
    assert inside == [True, True, False, False]


def test_no_comparison_passes_what_is_not_a_number() -> None:
    for text in ("motion.flow < 1", "motion.flow >= 1", "motion.flow != 1", "motion.flow in 0..1"):
        assert failed(text, {"motion.flow": math.nan})


def test_texts_are_the_same_or_not() -> None:
    values = {"source": "pexels", "license": "CC-BY-4.0"}
    assert failed("source == pexels", values) == failed("license == 'CC-BY-4.0'", values) == []
    assert failed("source != pexels", values) == ["source pexels is not != pexels"]
    assert failed("any(source == a, license == CC0-1.0)", values) == [
        "source pexels is not == a",
        "license CC-BY-4.0 is not == CC0-1.0",
    ]
    assert failed('author == "Mo, (the) elder"', {"author": "Mo, (the) elder"}) == []
    assert failed('any(author == "x, y", author == z)', {"author": "x, y"}) == []
    assert failed("source == pexels", {}) == failed("source != pexels", {}) == ["source of c has no value"]


def test_a_percentile_is_a_number_once_that_is_known() -> None:
    known = {"a.b p30": 4.5, "a.b p99.5": 9.0}
    assert list(parse("all(a.b in p30..p99.5, a.b > 1)").percentiles()) == list(known)
    assert failed("a.b >= p30", {"a.b": 4.5}, known) == []
    assert failed("a.b >= p30", {"a.b": 4.4}, known) == ["a.b 4.4 is not >= 4.5 (p30)"]
    assert failed("a.b in p30..p99.5", {"a.b": 10.0}, known) == ["a.b 10 is not in 4.5 (p30)..9 (p99.5)"]
    assert failed("a.b >= p30", {"a.b": 4.5}) == ["a.b 4.5 is not >= p30"]


def test_a_short_name_is_made_whole_anywhere() -> None:
    whole = parse("any(a > 1, all(source == a, a < p5))").resolved(lambda name: f"{name}.x" if name == "a" else name)
    assert [leaf.name for leaf in whole.leaves()] == ["a.x", "source", "a.x"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "motion.flow",
            "motion.flow > x",
            "a.b >= p",
            "a.b in 1..x",
            "author == 'x",
            "a.b == x y",
            "motion.flow => 1",
            "motion.flow in 1-2",
            "any()",
        ),
        *("any(a.b > 1", "all(a.b > 1,)", "a.b > 1 c.d > 2", "a.b > 1, c.d > 2", "not(a.b > 1)", "1 < a.b < 2"),
        *("none(a.b > 1)", "a.b > 1)", "a.b > 1_0", "a.b in 1..", "any(a.b > 1)(c.d > 2)", "a.b > nan"),
        "__import__('os').x > 1",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot read the condition"):
        parse(text)


def test_there_is_no_101st_percentile() -> None:
    with pytest.raises(ConfigError, match="p0 to p100"):
        parse("a.b > p101")
