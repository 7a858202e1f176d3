"""build.toml: one section a stage, each checked by its own class; a wrong line is named, with what may be there."""

import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from builder.errors import ConfigError
from builder.stage import execution, settings

T = TypeVar("T")
FILE = "build.toml"


@settings
class RunSettings:
    """How the run as a whole goes. `workers` 0 means one per core, `ranks` 0 one per GPU (one in all without GPUs)."""

    workers: Annotated[int, Field(ge=0)] = execution(default=0)
    ranks: Annotated[int, Field(ge=0)] = execution(default=0)


@dataclass(frozen=True)
class Config:
    """A parsed build.toml with the `--set` overrides applied."""

    path: Path
    values: Mapping[str, Any]
    text: str = ""
    overrides: tuple[str, ...] = field(default=())

    @property
    def base(self) -> Path:
        """The folder that relative paths in build.toml start from."""
        return self.path.parent

    def section(self, name: str) -> dict[str, Any]:
        """A table, by its dotted name; empty if absent.

        Raises:
            ConfigError: there is something else under that name.
        """
        value: Any = self.values
        for key in name.split("."):
            value = value.get(key, {})
            if not isinstance(value, dict):
                raise ConfigError(f"{self.where(name)}: [{name}] must be a section of its own")
        return dict(value)

    def build(self, cls: type[T], name: str, values: Mapping[str, Any], nth: int = 0, also: Sequence[str] = ()) -> T:
        """An instance of a settings class from a section, the `nth` of several with one name.

        `also` are keys that the section may have and somebody else has read.

        Raises:
            ConfigError: a key is unknown or a value does not fit; names the line, the key and what is allowed.
        """
        hidden = {f.name for f in dataclasses.fields(cls) if f.name in INTERNAL}  # type: ignore[arg-type]
        allowed = [f.name for f in dataclasses.fields(cls) if f.name not in hidden]  # type: ignore[arg-type]
        for key in values:
            if key not in allowed:
                near = difflib.get_close_matches(key, [*allowed, *also], n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                keys = ", ".join([*allowed, *also]) or "none"
                raise ConfigError(f"{self.where(name, key, nth)}: [{name}] has no key {key!r}; {hint}Allowed: {keys}")
        try:
            return TypeAdapter(cls).validate_python(dict(values))
        except ConfigError as error:  # of a class that reads its values itself, as conditions are
            raise ConfigError(f"{self.where(name, next(iter(values), ''), nth)}: [{name}] {error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0]) if first["loc"] else ""
            given = json.dumps(values.get(key), default=str)
            said = first["msg"].replace("valid tuple", "list, in brackets")
            raise ConfigError(f"{self.where(name, key, nth)}: [{name}] {key} = {given}: {said}") from None

    def where(self, section: str, key: str = "", nth: int = 0) -> str:
        """`build.toml line 12`, or the `--set` that says so."""
        for override in self.overrides:
            name = override.partition("=")[0].strip()
            if name == f"{section}.{key}" or (not key and name.startswith(f"{section}.")):
                return f"--set {override}"
        line = locate(self.text, section, key, nth)
        return f"{self.path} line {line}" if line else str(self.path)


# set by the pipeline, never by a user
INTERNAL = {
    "label",
    "scores",
    "captions",
    "taken_down",
    "overrides",
    "measured",
    "twins",
    "least",
    "percentiles",
    "closed",
    "made",
    "corrected",
    "by_hand",
}


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read `path`, or build.toml in the folder `path`.

    Raises:
        ConfigError: there is none, it is no TOML, or an override is malformed.
    """
    file = path if path.suffix == ".toml" else path / FILE
    try:
        text = file.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"there is no {file}; make one with: osd-build init {file.parent} --folder VIDEOS") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}); RUN is a folder that holds {FILE}") from None
    for override in overrides:
        apply(values, override)
    return Config(file.absolute(), values, text, tuple(overrides))


def apply(values: dict[str, Any], override: str) -> None:
    """`split.min_s=2` into a nested dict; the value is TOML, or else a plain string."""
    name, equals, text = override.partition("=")
    *sections, key = name.strip().split(".")
    if not equals or not sections or not key:
        raise ConfigError(f"--set {override}: write SECTION.KEY=VALUE, for example --set split.min_s=2")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: {section!r} is not a section")
    try:
        values[key] = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        values[key] = text.strip()


def locate(text: str, section: str, key: str, nth: int = 0) -> int | None:
    """The line of a key in the `nth` section of a name (the line of its header when it has no such line)."""
    inside, header, seen = False, None, -1
    for n, line in enumerate(text.splitlines(), 1):
        if m := re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?", line):
            named = m[1].replace('"', "") == section
            seen += named
            inside = named and seen == nth
            header = n if inside and header is None else header
        elif inside and key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return n
    return header
