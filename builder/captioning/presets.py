"""Presets: how a model was used for captions by those who published it, as files of `builder/presets/caption`.

A preset fills a section of build.toml; what the section says itself wins. A file of one's own serves as well:

    [caption.dense]
    preset = "llava-1.6-34b"        # or "mine.toml", beside build.toml
    prompt_file = "prompts/mine.txt"   # instead of `prompt`
"""

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from builder.errors import ConfigError

ALL = Path(__file__).parents[1] / "presets"  # a folder for each kind
FOLDER = ALL / "caption"
PRESET, PROMPT, PROMPT_FILE = "preset", "prompt", "prompt_file"
KEYS = ("engine", PRESET, PROMPT_FILE)  # of a section, beside the settings of its captioner
MOST_BYTES = 64 << 10  # of a prompt or a preset


def names(folder: Path = FOLDER) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def told(kind: str, name: str) -> str:
    """The file of a preset of any kind, or without a name what there is of that kind.

    Raises:
        ConfigError: there is no such kind or preset.
    """
    kinds = sorted(path.name for path in ALL.iterdir() if path.is_dir())
    if kind not in kinds:
        raise ConfigError(f"there are no presets for {kind!r}, but for: {', '.join(kinds)}")
    there = {stem: tomllib.loads(read(ALL / kind / f"{stem}.toml"))["title"] for stem in names(ALL / kind)}
    if name:
        return read(file_of(name, Path(), ALL / kind)).rstrip()
    width = max(map(len, there))
    return "\n".join(f"{stem:<{width}}  {title}" for stem, title in there.items())


def file_of(preset: str, base: Path, folder: Path = FOLDER) -> Path:
    """Of the presets there are one by name; a name that ends in .toml is a file of the user's.

    Raises:
        ConfigError: there is no such preset.
    """
    if preset.endswith(".toml"):
        return base / Path(preset).expanduser()
    there = names(folder)
    if preset not in there:
        near = get_close_matches(preset, there, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"no preset is called {preset!r}; {hint}There are: {', '.join(there)}, or a file NAME.toml")
    return folder / f"{preset}.toml"


def filled(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """A section with what its preset says, and the text of its prompt file; relative paths start from `base`.

    Raises:
        ConfigError: a file cannot be read, is no preset, or a prompt is given twice.
    """
    own = with_prompt(values, base)
    preset = own.pop(PRESET, None)
    if preset is None:
        return own
    if not isinstance(preset, str):
        raise ConfigError(f"preset = {preset!r}: write the name of a preset, or of a file NAME.toml")
    file = file_of(preset, base)
    given = section_of(file)
    return {**with_prompt(given, file.parent), **own}


def section_of(file: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(read(file)).get("caption")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
    if not isinstance(table, dict) or PRESET in table:
        raise ConfigError(f"{file} is no preset: it needs a section [caption], without a preset of its own")
    return table


def with_prompt(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """The same with `prompt` in the place of `prompt_file`."""
    own = dict(values)
    name = own.pop(PROMPT_FILE, None)
    if name is None:
        return own
    if PROMPT in own:
        raise ConfigError("prompt and prompt_file are both given; keep one")
    if not isinstance(name, str):
        raise ConfigError(f"prompt_file = {name!r}: write the name of a text file")
    return {**own, PROMPT: read(base / Path(name).expanduser()).strip()}


def read(file: Path) -> str:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{file} has more than {MOST_BYTES >> 10} kB; is it the right file?")
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is no UTF-8 text") from None
