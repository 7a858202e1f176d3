"""Finds plug-ins: every class in a plug-in folder, and every entry point of the folder's group, by its `plugin` name.

A third-party package adds one with, in its pyproject.toml:

    [project.entry-points."open_sora_dataset.scorers"]
    my_scorer = "my_package.my_scorer:MyScorer"
"""

import difflib
import importlib
import inspect
import pkgutil
from importlib.metadata import entry_points
from typing import Any, TypeVar

from builder.digests import per_type
from builder.errors import ConfigError

T = TypeVar("T")


@per_type
def discover(folder: str, base: type[Any]) -> dict[str, type[Any]]:
    """Plug-ins of `builder.<folder>` that derive from `base`, by name, sorted."""
    package = importlib.import_module(f"builder.{folder}")
    found: list[type[Any]] = []
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        found += [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]
    found += [point.load() for point in entry_points(group=f"open_sora_dataset.{folder}")]
    named = {vars(c)["plugin"]: c for c in found if issubclass(c, base) and "plugin" in vars(c)}
    return dict(sorted(named.items()))


def find(folder: str, base: type[T], name: str) -> type[T]:
    """The plug-in of this name.

    Raises:
        ConfigError: there is none; the message suggests the nearest.
    """
    known = discover(folder, base)
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"no {folder.removesuffix('s')} is called {name!r}; {hint}There are: {', '.join(known)}")
