"""Small answers kept in the user's cache: an API may demand it, and a listing that was killed asks nothing twice."""

import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from builder.web.state import shared_folder

LONGEST_S = 7 * 86_400.0  # what nobody asked for since is dropped


def kept(name: str, keep_s: float) -> dict[str, Any] | None:
    """The fields of a page, if it was kept less than `keep_s` ago."""
    path = path_of(name)
    try:
        age_s = time.time() - path.stat().st_mtime
        if not 0 <= age_s < keep_s:
            return None
        fields: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return fields | {"body": fields["body"].encode("utf-8", "surrogateescape")}


def keep(name: str, fields: dict[str, Any]) -> None:
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(fields | {"body": fields["body"].decode("utf-8", "surrogateescape")})
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).replace(path)
    for old in path.parent.iterdir():
        if time.time() - old.stat().st_mtime > LONGEST_S:
            old.unlink(missing_ok=True)


def path_of(name: str) -> Path:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return shared_folder() / "pages" / digest[:1] / f"{digest[:40]}.json"
