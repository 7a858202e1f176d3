"""Small answers kept in the user's cache: an API may demand it, and a listing that was killed asks nothing twice."""

import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.web.state import shared_folder, tidy

FIELDS = ("url", "body", "headers", "retrieved_at")
LONGEST_S = 7 * 86_400.0  # what nobody asked for since is dropped


def kept(name: str, keep_s: float) -> dict[str, Any] | None:
    """The fields of a page, if it was kept less than `keep_s` ago. What cannot be read was not kept."""
    path = path_of(name)
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        if 0 <= time.time() - path.stat().st_mtime < keep_s:
            fields = json.loads(path.read_text("utf-8"))
            return {n: fields[n] for n in FIELDS} | {"body": fields["body"].encode("utf-8", "surrogateescape")}
    return None


def keep(name: str, fields: dict[str, Any]) -> None:
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(fields | {"body": fields["body"].decode("utf-8", "surrogateescape")})
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).replace(path)
    tidy(path.parent, LONGEST_S)


def path_of(name: str) -> Path:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return shared_folder() / "pages" / digest[:1] / f"{digest[:40]}.json"
