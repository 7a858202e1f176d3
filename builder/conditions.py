"""The filter grammar: one condition a line, for `[judge] keep` and `[select] keep` in build.toml.

    text.area <= 0.02              also <  >  >=  ==  !=
    motion.flow in 0.5..30         both ends included
    any(text.area <= 0.01, text.persistence < 0.2)
    all(brightness.mean > 20, brightness.mean < 235)

A name that has no value for a clip (its scorer failed) fails the condition: a failed score is not a pass.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from builder.errors import ConfigError

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
SIMPLE = re.compile(rf"([\w-]+\.\w+)\s*(<=|>=|==|!=|<|>)\s*({NUMBER})")
RANGE = re.compile(rf"([\w-]+\.\w+)\s+in\s+({NUMBER})\s*\.\.\s*({NUMBER})")
GROUP = re.compile(r"(any|all)\s*\((.*)\)", re.DOTALL)


class Condition(Protocol):
    def failed(self, values: Mapping[str, float]) -> list[str]:
        """What is wrong, in words with the value; empty when the condition holds."""

    def names(self) -> Iterator[str]:
        """The values it needs, as `<scorer>.<field>`."""


@dataclass(frozen=True)
class Bound:
    """A test of one value; `says` are the words that follow "is not" when it fails."""

    name: str
    says: str
    holds: Callable[[float], bool]

    def failed(self, values: Mapping[str, float]) -> list[str]:
        value = values.get(self.name)
        if value is None:
            return [f"{self.name} has no value"]
        return [] if self.holds(value) else [f"{self.name} {value:.4g} is not {self.says}"]

    def names(self) -> Iterator[str]:
        yield self.name


@dataclass(frozen=True)
class Group:
    kind: str
    parts: tuple[Condition, ...]

    def failed(self, values: Mapping[str, float]) -> list[str]:
        wrong = [part.failed(values) for part in self.parts]
        if self.kind == "any" and not all(wrong):
            return []
        return [text for texts in wrong for text in texts]

    def names(self) -> Iterator[str]:
        for part in self.parts:
            yield from part.names()


def parse(text: str) -> Condition:
    """One condition.

    Raises:
        ConfigError: it does not follow the grammar.
    """
    text = text.strip()
    if m := GROUP.fullmatch(text):
        return Group(m[1], tuple(parse(part) for part in top_level(m[2])))
    if m := RANGE.fullmatch(text):
        low, high = float(m[2]), float(m[3])
        return Bound(m[1], f"in {low:g}..{high:g}", lambda value: low <= value <= high)
    if m := SIMPLE.fullmatch(text):
        test, bound = COMPARE[m[2]], float(m[3])
        return Bound(m[1], f"{m[2]} {bound:g}", lambda value: test(value, bound))
    raise ConfigError(
        f"cannot read the condition {text!r}; write for example `text.area <= 0.02`, `motion.flow in 0.5..30` "
        "or `any(a.b < 1, c.d > 2)`"
    )


def top_level(text: str) -> Sequence[str]:
    """Split at commas that are not inside brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts
