"""Which version of a model is meant: a commit on the Hub, or the content of a local folder."""

import hashlib
import re
from functools import cache
from pathlib import Path

from builder.errors import RunError

COMMIT = re.compile(r"[0-9a-f]{40}")
SUFFIXES = {".json", ".safetensors", ".jinja", ".txt", ".model", ".tiktoken"}  # what a model is made of; no code
END = 1 << 20  # of a file larger than twice this, size and both ends count


@cache
def resolve(model: str, revision: str) -> str:
    """The commit that `revision` of a Hub model stands for, or `folder-<hash>` of a local folder.

    A branch that was downloaded before stays what it was then: a model that moves on upstream recomputes nothing by
    itself. Without a copy the Hub is asked once, for the model's config.json.

    Raises:
        RunError: there is no such model, or it is not at hand and the Hub cannot be reached.
    """
    folder = local_folder(model)
    if folder:
        return folder_revision(folder)
    return revision if COMMIT.fullmatch(revision) else hub_revision(model, revision)


def local_folder(model: str) -> Path | None:
    """The folder, when `model` begins as a path does; a Hub id never means a folder that happens to have its name."""
    return Path(model).expanduser() if model.startswith(("/", ".", "~")) else None


def folder_revision(folder: Path, needs: str = "config.json") -> str:
    """Changes when a file of the model changes in name, size or content (large ones: in their first or last MiB)."""
    if not (folder / needs).is_file():
        what = "model" if needs == "config.json" else "tokenizer"
        raise RunError(f"{folder} holds no {what}: there is no {needs} in it; `{what}` is such a folder or a Hub id")
    files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(END))
            file.seek(max(END, size - END))
            digest.update(file.read(END))
    return f"folder-{digest.hexdigest()[:16]}"


def hub_revision(model: str, revision: str) -> str:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    try:
        kept = try_to_load_from_cache(model, "config.json", revision=revision)
        found = kept if isinstance(kept, str) else hf_hub_download(model, "config.json", revision=revision)
    except (OSError, ValueError) as error:
        raise RunError(missing(model, revision, error)) from error
    return Path(found).parent.name  # …/snapshots/<commit>/config.json


def missing(model: str, revision: str, error: Exception) -> str:
    """What to tell when a model cannot be had."""
    reason = str(error).strip().partition("\n")[0][:200]
    if local_folder(model):
        return f"cannot load the model {model}: {reason}. See whether all its files are there, and whole"
    return (
        f"cannot load the model {model} (revision {revision}): {reason}. Download it where there is internet with "
        f"`hf download {model} --revision {revision}`, or name a local folder that holds it as `model`"
    )
