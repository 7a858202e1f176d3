"""Who may do what at the peer of the Hub; pull requests, and the removal of large files for good."""

import json
from typing import Any

from hub_http import Exchange
from hub_store import MAIN, Refused, Repository

WRITER, READER = "hf_writerwriterwriter", "hf_readerreaderreader"
NAMES = {WRITER: "osd", READER: "visitor"}
PULL = "refs/pr/"
WHEN = "2026-01-01T00:00:00.000Z"


class Account(Exchange):
    """Routes that are about a user."""

    # -- who and where
    @property
    def token(self) -> str:
        return str(self.headers.get("Authorization", "")).removeprefix("Bearer ")

    @property
    def user(self) -> str:
        if self.token not in NAMES:
            raise Refused(401, "Invalid credentials in Authorization header")
        return NAMES[self.token]

    def repository(self, name: str, branch: str = "") -> Repository:
        """To read, or to write to a branch. As the real one, it does not tell strangers of private ones."""
        known = self.token in (WRITER, READER)
        found = self.hub.repositories.get(name)
        if found is None or ((found.private or branch) and not known):
            raise Refused(404 if known else 401, "Repository not found", "RepoNotFound")
        if branch.startswith(PULL) and found.pull(int(branch.removeprefix(PULL))).author == NAMES[self.token]:
            return found
        if branch and self.token != WRITER:
            raise Refused(403, "You don't have the rights to commit here")
        return found

    # -- pull requests
    def open_pull(self, name: str) -> None:
        asked = json.loads(self.body)
        if not asked["pullRequest"]:
            raise Refused(400, "only pull requests here")
        self.json({"num": self.repository(name).open_pull(self.user, asked["title"]).number})

    def pulls(self, name: str) -> None:
        repository, author = self.repository(name), self.query.get("author", [""])[0]
        found = [self.described(name, p.number) for p in repository.pulls if author in ("", p.author)]
        page = found[int(self.query["p"][0]) * 2 :][:2]  # a small page, so that clients must turn it
        self.json({"discussions": page, "count": len(found), "start": int(self.query["p"][0]) * 2})

    def pull(self, name: str, number: str) -> None:
        changes = {"base": "refs/heads/main"}
        self.json(self.described(name, int(number)) | {"changes": changes, "filesWithConflicts": [], "events": []})

    def described(self, name: str, number: int) -> dict[str, Any]:
        pull = self.repository(name).pull(number)
        about = {"title": pull.title, "num": number, "author": {"name": pull.author}, "status": pull.status}
        return about | {"createdAt": WHEN, "isPullRequest": True, "repo": {"name": name, "type": "dataset"}}

    def set_status(self, name: str, number: str) -> None:
        pull = self.repository(name, f"{PULL}{number}").pull(int(number))
        pull.status = json.loads(self.body)["status"]
        event = {"id": "1", "type": "status-change", "createdAt": WHEN, "data": {"status": pull.status}}
        self.json({"newStatus": event})

    def merge(self, name: str, number: str) -> None:
        repository = self.repository(name, MAIN)
        repository.merge(repository.pull(int(number)))
        self.json({})

    # -- large files, for good
    def large(self, name: str) -> None:
        """A page of one, the address of the next in a header."""
        found = {file.sha256: (branch, path, file) for branch, path, file in self.repository(name, MAIN).large()}
        at = int(self.query.get("cursor", ["0"])[0])
        keys = sorted(found)[at : at + 1]
        more = f'<{self.hub.url}/api/datasets/{name}/lfs-files?cursor={at + 1}>; rel="next"'
        entries = [
            {"fileOid": sha256, "filename": path, "oid": sha256, "pushedAt": WHEN, "ref": ref, "size": len(file.data)}
            for sha256, (ref, path, file) in ((key, found[key]) for key in keys)
        ]
        self.json(entries, {"Link": more} if at + 1 < len(found) else {})

    def delete_large(self, name: str) -> None:
        asked = json.loads(self.body)["deletions"]
        if not asked["rewriteHistory"]:
            raise Refused(400, "the history would point at nothing")
        self.repository(name, MAIN).rewrite(lambda file: file.lfs and file.sha256 in asked["sha"])
        for sha256 in asked["sha"]:
            self.hub.objects.pop(sha256, None)
        self.json({})
