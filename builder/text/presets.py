"""Presets: what a clip's text is looked for with, as data in presets.toml."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from builder.errors import ConfigError

FILE = Path(__file__).with_name("presets.toml")


@dataclass(frozen=True)
class Preset:
    """See presets.toml. `keep` is a condition for `[filter]`: it decides nothing here."""

    frames: int
    at: Literal["spread", "start"]
    decides: Literal["overlay", "text"]
    limit: float
    keep: str

    def identity(self) -> str:
        """Everything that changes what is measured."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != "keep"}, sort_keys=True)


@lru_cache(maxsize=1)
def presets() -> Mapping[str, Preset]:
    return {name: Preset(**values) for name, values in tomllib.loads(FILE.read_text(encoding="utf-8")).items()}


def preset(name: str) -> Preset:
    """A preset by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in presets():
        raise ConfigError(f"no text preset {name!r}; there are: {', '.join(presets())}")
    return presets()[name]
