"""How long a text is for whoever trains on it: tokens of a tokenizer that is named, a Hub id or a folder."""

from collections.abc import Callable
from functools import cache
from typing import Any, cast

from builder.errors import RunError
from builder.figures import one_line
from builder.pretrained.hub import folder_revision, local_folder, resolve
from builder.stage import require

REASON = 200  # characters


def tokenizer_revision(name: str) -> str:
    """The commit of a Hub id, the hash of a folder: that of a tokenizer alone holds no config.json.

    Raises:
        RunError: there is no such tokenizer.
    """
    if folder := local_folder(name):
        return folder_revision(folder, needs="tokenizer_config.json")
    try:
        return resolve(name, "main")
    except RunError as error:
        raise RunError(unread(name, error)) from error


@cache
def counter(name: str) -> Callable[[str], int]:
    """Counts the tokens of a text, with those that the tokenizer puts around it.

    Raises:
        RunError: there is no such tokenizer.
    """
    require("transformers", "caption")
    from transformers import AutoTokenizer

    folder, revision = local_folder(name), tokenizer_revision(name)
    at = {} if folder else {"revision": revision}
    try:
        tokenizer = cast(Any, AutoTokenizer).from_pretrained(str(folder or name), trust_remote_code=False, **at)
    except (OSError, ValueError, ImportError) as error:
        raise RunError(unread(name, error)) from error
    return lambda text: len(tokenizer(text, truncation=False, verbose=False)["input_ids"])


def unread(name: str, error: Exception) -> str:
    """What to do, other than download all of a model for its tokenizer."""
    get = "" if local_folder(name) else f" Run `hf download {name} --include '*.json' '*.model' '*.txt'`, or"
    reason = one_line(str(error).partition("\n")[0])[:REASON]
    return f"cannot read the tokenizer {name} ({reason}).{get} set `tokenizer` to a folder with tokenizer_config.json"
