"""What the peer of the Hub in hub_server.py holds: repositories, their commits and files, as its API describes them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


@dataclass(frozen=True)
class File:
    """One file of a commit; `lfs` says that git holds a pointer only."""

    data: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def blob_id(self) -> str:
        held = POINTER.format(self.sha256, len(self.data)).encode() if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(held) + held).hexdigest()

    def entry(self, path: str) -> dict[str, Any]:
        plain = {"type": "file", "oid": self.blob_id, "size": len(self.data), "path": path}
        return plain | ({"lfs": {"oid": self.sha256, "size": len(self.data), "pointerSize": 134}} if self.lfs else {})


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    files: Mapping[str, File]


@dataclass
class Repository:
    private: bool = False
    commits: list[Commit] = field(default_factory=list)

    def add(self, title: str, files: Mapping[str, File]) -> Commit:
        text = json.dumps([len(self.commits), title, {path: file.sha256 for path, file in sorted(files.items())}])
        self.commits.append(Commit(hashlib.sha1(text.encode()).hexdigest(), title, dict(files)))
        return self.commits[-1]

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def at(self, revision: str) -> Commit:
        if revision == "main":
            return self.head
        for commit in self.commits:
            if commit.oid == revision:
                return commit
        raise Refused(404, f"no revision {revision}", "RevisionNotFound")


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


def directory(path: str) -> dict[str, Any]:
    return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}


def listing(files: Mapping[str, File], prefix: str, deep: bool) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path, file in sorted(files.items()):
        steps = path.removeprefix(prefix).split("/")
        for depth in range(1, len(steps) if deep else min(len(steps), 2)):
            folder = prefix + "/".join(steps[:depth])
            found.setdefault(folder, directory(folder))
        if deep or len(steps) == 1:
            found[path] = file.entry(path)
    return list(found.values())
