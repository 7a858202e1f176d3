"""Which conditions hold for which clips: presets, the lines of build.toml, and what they come to for a run."""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from builder.conditions import Condition, failures, parse
from builder.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

PRESETS = Path(__file__).parent / "presets" / "filter"


@dataclass(frozen=True)
class Preset:
    """The filter of a published pipeline, as a file of `builder/presets/filter`.

    `origin` says where its numbers stand, `missing` what the pipeline asks for that is not measured here.
    """

    title: str
    origin: str
    keep: tuple[str, ...]
    missing: tuple[str, ...]


@cache
def presets() -> Mapping[str, Preset]:
    """By the name that `preset` takes."""
    files = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(PRESETS.glob("*.toml"))}
    return {
        name: Preset(file["title"], file["origin"], tuple(file["keep"]), tuple(file["missing"]))
        for name, file in files.items()
    }


def preset_lines(name: str) -> tuple[str, ...]:
    """Its conditions.

    Raises:
        ConfigError: there is no such preset.
    """
    if name and name not in presets():
        raise ConfigError(f"no preset is called {name!r}; there are: {', '.join(presets())}")
    return presets()[name].keep if name else ()


@dataclass(frozen=True)
class Rule:
    """A line for the clips of one source; or, without one, for those of all sources but `others`, which have their own.

    `line` is as it was written, `condition` as it is judged.
    """

    line: str
    condition: Condition
    source: str = ""
    others: tuple[str, ...] = ()

    def where(self) -> "pl.Expr":
        """The clips it is for."""
        import polars as pl

        if self.source:
            return pl.col("source") == self.source
        return ~pl.col("source").is_in(self.others) if self.others else pl.lit(value=True)

    def fails(self) -> "pl.Expr":
        return self.where() & ~self.condition.holds()

    def lacks(self) -> "pl.Expr":
        """Where it fails and a value of it is missing."""
        import polars as pl

        return self.fails() & pl.any_horizontal([pl.col(name).is_null() for name in self.names()])

    def names(self) -> list[str]:
        return list(dict.fromkeys(leaf.name for leaf in self.condition.leaves()))

    def percentiles(self) -> Iterator[str]:
        return self.condition.percentiles()

    def at(self, thresholds: Mapping[str, float]) -> "Rule":
        return replace(self, condition=self.condition.at(thresholds))


def rules(lines: Sequence[str], sources: Mapping[str, Sequence[str]], full: Callable[[str], str]) -> tuple[Rule, ...]:
    """Of all clips the `lines`, of those of the `sources` theirs instead; `full` makes whole names of short ones.

    Raises:
        ConfigError: a line does not follow the grammar.
    """
    everywhere = [Rule(line, parse(line).resolved(full), others=tuple(sources)) for line in lines]
    own = [Rule(line, parse(line).resolved(full), name) for name, given in sources.items() for line in given]
    return (*everywhere, *own)


def verdicts(frame: "pl.DataFrame", judged: Sequence[Rule], absent: Callable[[str, str], str]) -> list[list[str]]:
    """Why each clip of a frame of values is not kept; nothing where it is.

    `absent(name, clip_id)` says why there is no value.
    """
    blamed = [found for rule in judged for found in failures(rule.condition, rule.where())]
    masks = frame.select("clip_id", *(found.alias(str(n)) for n, (_, found) in enumerate(blamed)))
    clips, texts = frame["clip_id"].to_list(), [dict[str, None]() for _ in range(len(frame))]
    for n, (leaf, _) in enumerate(blamed):
        rows = masks[str(n)].arg_true().to_list()
        for row, value in zip(rows, frame[leaf.name].gather(rows).to_list(), strict=True):
            texts[row][absent(leaf.name, clips[row]) if value is None else leaf.says(value)] = None
    return [list(found) for found in texts]
