"""What the peer of the Hub in hub_server.py holds: repositories, their commits and files, as its API describes them."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"
MAIN = "main"


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
class Pull:
    """A pull request: `base` is the commit of main that it began from."""

    number: int
    author: str
    title: str
    base: Commit
    status: str = "draft"
    commits: list[Commit] = field(default_factory=list)

    @property
    def ref(self) -> str:
        return f"refs/pr/{self.number}"


@dataclass
class Repository:
    """`commits` are those of main, the head last."""

    private: bool = False
    commits: list[Commit] = field(default_factory=list)
    pulls: list[Pull] = field(default_factory=list)

    def add(self, title: str, files: Mapping[str, File], branch: str = MAIN) -> Commit:
        commits = self.branch(branch)
        commits.append(make_commit(commits[-1].oid if commits else branch, title, files))
        return commits[-1]

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def branch(self, name: str) -> list[Commit]:
        if name == MAIN:
            return self.commits
        for pull in self.pulls:
            if pull.ref == name:
                return pull.commits
        raise Refused(404, f"no revision {name}", "RevisionNotFound")

    def at(self, revision: str) -> Commit:
        for commits in (self.commits, *(pull.commits for pull in self.pulls)):
            for commit in commits:
                if commit.oid == revision:
                    return commit
        return self.branch(revision)[-1]

    # -- pull requests
    def open_pull(self, author: str, title: str) -> Pull:
        pull = Pull(len(self.pulls) + 1, author, title, self.head, commits=[self.head])
        self.pulls.append(pull)
        return pull

    def pull(self, number: int) -> Pull:
        if not 0 < number <= len(self.pulls):
            raise Refused(404, "no such discussion")
        return self.pulls[number - 1]

    def merge(self, pull: Pull) -> None:
        """What it changed since its base, onto the head of main."""
        if pull.status != "open":
            raise Refused(400, f"a pull request that is {pull.status} cannot be merged")
        base, theirs, ours = pull.base.files, pull.commits[-1].files, dict(self.head.files)
        changed = {path for path in base.keys() | theirs.keys() if base.get(path) != theirs.get(path)}
        if any(base.get(path) != ours.get(path) for path in changed):
            raise Refused(409, "this pull request conflicts with main")
        merged = {path: file for path, file in ours.items() if path not in changed}
        self.add(f"{pull.title} (#{pull.number})", merged | {p: theirs[p] for p in changed if p in theirs})
        pull.status = "merged"

    # -- large files
    def large(self) -> Iterator[tuple[str, str, File]]:
        """Branch, path and content of every large file of any commit."""
        for branch in (MAIN, *(pull.ref for pull in self.pulls)):
            for commit in self.branch(branch):
                yield from ((branch, path, file) for path, file in commit.files.items() if file.lfs)

    def rewrite(self, unwanted: Callable[[File], bool]) -> None:
        """Take files out of every commit, as if they had never been; the commits after have other ids."""
        for branch in (MAIN, *(pull.ref for pull in self.pulls)):
            commits = self.branch(branch)
            old = list(commits)
            commits.clear()
            for commit in old:
                self.add(commit.title, {p: f for p, f in commit.files.items() if not unwanted(f)}, branch)


def make_commit(parent: str, title: str, files: Mapping[str, File]) -> Commit:
    text = json.dumps([parent, title, {path: file.sha256 for path, file in sorted(files.items())}])
    return Commit(hashlib.sha1(text.encode()).hexdigest(), title, dict(files))


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
