"""The filter grammar: one condition a line, for `keep` of [filter] and [select] in build.toml.

    text.area <= 0.02              also <  >  >=  ==  !=
    motion.flow in 0.5..30         both ends included
    duration_s >= 2                a fact of the clip or of its video: builder/values.py lists them
    aesthetic.score >= p30         a percentile of the run's clips; `aesthetic` will do if the scorer has one value
    source != pexels               texts are the same or not; in quotes if they hold more than letters, digits and + . -
    any(text.area <= 0.01, text.persistence < 0.2)
    all(brightness.mean > 20, brightness.mean < 235)

A name that has no value for a clip (its scorer failed) fails the condition: a failed score is not a pass.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Union

from builder.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

NAME = r"([\w-]+(?:\.\w+)?)"
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
LIMIT = rf"({NUMBER}|p\d+(?:\.\d+)?)"
SIMPLE = re.compile(rf"{NAME}\s*(<=|>=|==|!=|<|>)\s*{LIMIT}")
RANGE = re.compile(rf"{NAME}\s+in\s+{LIMIT}\s*\.\.\s*{LIMIT}")
SAME = re.compile(rf"{NAME}\s*(==|!=)\s*(?:'([^']*)'|\"([^\"]*)\"|([A-Za-z0-9][\w.+-]*))")
GROUP = re.compile(r"(any|all)\s*\((.*)\)", re.DOTALL)
WHOLE = 100  # percent
Value = float | str


@dataclass(frozen=True)
class Limit:
    """A number, or a percentile (`p30`) whose number becomes known with the scores of a run."""

    value: float | None
    percentile: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return self.percentile
        return f"{self.value:g} ({self.percentile})" if self.percentile else f"{self.value:g}"


@dataclass(frozen=True)
class Bound:
    """A test of one number: a comparison with one limit, or `in` between two."""

    name: str
    test: str
    limits: tuple[Limit, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.wanted}"

    def holds(self) -> "pl.Expr":
        """False where there is no value, or nothing to compare it with."""
        import polars as pl

        low, high = self.limits[0].value, self.limits[-1].value
        if low is None or high is None:
            return pl.lit(value=False)
        value = pl.col(self.name)
        tests: Mapping[str, Callable[[], pl.Expr]] = {
            "<=": lambda: value <= low,
            ">=": lambda: value >= low,
            "==": lambda: value == low,
            "!=": lambda: value != low,
            "<": lambda: value < low,
            ">": lambda: value > low,
            "in": lambda: value.is_between(low, high),
        }
        return tests[self.test]().fill_null(value=False)

    def says(self, value: Value) -> str:
        """Why a value fails, with as many digits as it takes to see it."""
        short = f"{value:.4g}"
        seen = float(short)
        shown = repr(value) if any(seen == limit.value != value for limit in self.limits) else short
        return f"{self.name} {shown} is not {self.wanted}"

    @cached_property
    def wanted(self) -> str:
        return f"{self.test} {'..'.join(map(str, self.limits))}"

    def leaves(self) -> Iterator["Leaf"]:
        yield self

    def resolved(self, full: Callable[[str], str]) -> "Bound":
        return replace(self, name=full(self.name))

    def percentiles(self) -> Iterator[str]:
        yield from (f"{self.name} {limit.percentile}" for limit in self.limits if limit.percentile)

    def at(self, thresholds: Mapping[str, float]) -> "Bound":
        found = [replace(x, value=thresholds.get(f"{self.name} {x.percentile}", x.value)) for x in self.limits]
        return replace(self, limits=tuple(found))


@dataclass(frozen=True)
class Same:
    """A test of one text."""

    name: str
    test: str
    text: str

    def __str__(self) -> str:
        return f"{self.name} {self.test} {self.text}"

    def holds(self) -> "pl.Expr":
        import polars as pl

        same = pl.col(self.name) == self.text
        return (same if self.test == "==" else ~same).fill_null(value=False)

    def says(self, value: Value) -> str:
        return f"{self.name} {value} is not {self.test} {self.text}"

    def leaves(self) -> Iterator["Leaf"]:
        yield self

    def resolved(self, full: Callable[[str], str]) -> "Same":
        return replace(self, name=full(self.name))

    def percentiles(self) -> Iterator[str]:
        yield from ()

    def at(self, thresholds: Mapping[str, float]) -> "Same":
        return self


@dataclass(frozen=True)
class Group:
    """`any` or `all` of several conditions."""

    kind: str
    parts: tuple["Condition", ...]

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(str, self.parts))})"

    def holds(self) -> "pl.Expr":
        import polars as pl

        parts = [part.holds() for part in self.parts]
        return pl.any_horizontal(parts) if self.kind == "any" else pl.all_horizontal(parts)

    def leaves(self) -> Iterator["Leaf"]:
        for part in self.parts:
            yield from part.leaves()

    def resolved(self, full: Callable[[str], str]) -> "Group":
        return replace(self, parts=tuple(part.resolved(full) for part in self.parts))

    def percentiles(self) -> Iterator[str]:
        for part in self.parts:
            yield from part.percentiles()

    def at(self, thresholds: Mapping[str, float]) -> "Group":
        return replace(self, parts=tuple(part.at(thresholds) for part in self.parts))


Leaf = Bound | Same
Condition = Union[Bound, Same, "Group"]


def failures(condition: Condition, where: "pl.Expr") -> Iterator[tuple[Leaf, "pl.Expr"]]:
    """Every test of a condition, and for which of the rows `where` it is to blame: it fails, and so does all above."""
    wrong = where & ~condition.holds()
    if not isinstance(condition, Group):
        yield condition, wrong
        return
    for part in condition.parts:
        yield from failures(part, wrong)


def parse(text: str) -> Condition:
    """One condition.

    Raises:
        ConfigError: it does not follow the grammar.
    """
    text = text.strip()
    if m := GROUP.fullmatch(text):
        return Group(m[1], tuple(parse(part) for part in top_level(m[2])))
    if m := RANGE.fullmatch(text):
        low, high = limit(m[2], text), limit(m[3], text)
        if low.value is not None and high.value is not None and low.value > high.value:
            raise ConfigError(f"{text!r}: no number is in it; write the smaller one first")
        return Bound(m[1], "in", (low, high))
    if m := SIMPLE.fullmatch(text):
        return Bound(m[1], m[2], (limit(m[3], text),))
    if m := SAME.fullmatch(text):
        return Same(m[1], m[2], next(word for word in m.groups()[2:] if word is not None))
    raise ConfigError(
        f"cannot read the condition {text!r}; write for example `text.area <= 0.02`, `motion.flow in 0.5..30`, "
        "`sharpness.laplacian >= p10` or `any(a.b < 1, c.d > 2)`"
    )


def limit(text: str, line: str) -> Limit:
    if not text.startswith("p"):
        return Limit(float(text))
    if float(text[1:]) > WHOLE:
        raise ConfigError(f"{line!r}: percentiles go from p0 to p100")
    return Limit(None, text)


def top_level(text: str) -> Sequence[str]:
    """Split at commas that are not inside brackets or quotes."""
    parts, depth, quote = [""], 0, ""
    for char in text:
        if char in "'\"" and quote in ("", char):
            quote = "" if quote else char
        depth += ((char == "(") - (char == ")")) * (not quote)
        if char == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += char
    return parts
