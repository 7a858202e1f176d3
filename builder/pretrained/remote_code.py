"""Code that comes with a model runs only where that was asked for, and in exactly the version that was read."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from builder.errors import ConfigError
from builder.pretrained.hub import COMMIT, folder_revision, local_folder, resolve

CONFIGS = ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
AUTO = ("AutoModelForImageTextToText", "AutoModelForCausalLM", "AutoModel")  # what such a model is registered as


def pinned(model: str, revision: str, trusted: bool) -> str:
    """The version of the model, with that of its code where that will run.

    Raises:
        ConfigError: its code is to run and `revision` does not say which.
        RunError: there is no such model.
    """
    folder = local_folder(model)
    if not trusted:
        return resolve(model, revision)
    if folder:
        found = code_sha256(folder)
        if revision != found:
            raise ConfigError(
                f"{model} is to run code of its own (trust_remote_code): read its .py files, then set "
                f'revision = "{found}", which stands for them as they are now'
            )
        return f"{folder_revision(folder)}-code-{found[:16]}"
    if not COMMIT.fullmatch(revision):
        raise ConfigError(
            f"{model} is to run code of its own (trust_remote_code): read it, then set `revision` to its commit "
            f"(40 hex digits), not to {revision!r}, which may be other code tomorrow"
        )
    return revision


def where(model: str, revision: str, trusted: bool) -> dict[str, Any]:
    """What `from_pretrained` is told about the version, and about code.

    Raises:
        ConfigError: its configuration names code of another repository, whose version nothing pins.
    """
    at = {} if local_folder(model) else {"revision": revision}
    if not trusted:
        return {"trust_remote_code": False, **at}
    for name, target in told_code(model, revision):
        if "--" in target:
            raise ConfigError(
                f"{model} takes {name} from another repository ({target.partition('--')[0]}), whose version nothing "
                "pins: copy that code into a folder with the model, and name the folder as `model`"
            )
    return {"trust_remote_code": True, **at, **({"code_revision": revision} if at else {})}


def registered(model: str, revision: str) -> str:
    """The class of transformers that a model with its own code is registered as."""
    names = {name for name, _ in told_code(model, revision)}
    return next((auto for auto in AUTO if auto in names), AUTO[0])


def told_code(model: str, revision: str) -> Iterator[tuple[str, str]]:
    """What a model's configurations map to code: (class, where it is)."""
    for name in CONFIGS:
        for key, target in config(model, revision, name).get("auto_map", {}).items():
            yield from ((key, str(t)) for t in (target if isinstance(target, list) else [target]) if t)


def config(model: str, revision: str, name: str) -> Mapping[str, Any]:
    """A JSON file of the model; empty where it has none."""
    from transformers.utils.hub import cached_file

    folder = local_folder(model)
    at = {} if folder else {"revision": revision}
    quiet = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors", "gated_repo")}
    path = cast(Any, cached_file)(str(folder or model), name, **at, **quiet)
    found = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    return found if isinstance(found, dict) else {}


def code_sha256(folder: Path) -> str:
    """Of the names and contents of all .py files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
