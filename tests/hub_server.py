"""A peer of the Hugging Face Hub on the loopback interface, as far as publishing and reading datasets goes.

It is as strict as the real one where that matters: an object must have the sha256 it is stored under, a commit that
names an object nobody sent is refused, and so is one whose parent is no longer the head; a draft cannot be merged. It
speaks plain LFS, and Xet if it is given the folder of a local store. The real clients talk to it with `HF_ENDPOINT`, in
processes of their own: they read that variable when imported.
"""

import base64
import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Lock, RLock, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote

from hub_account import WHEN, WRITER, Account
from hub_card_rules import errors
from hub_store import MAIN, File, Refused, Repository, directory, listing
from hub_xet import rebuilt

LFS = (".tar", ".parquet", ".mp4")  # the patterns that a new dataset repository has in its .gitattributes, shortened


@dataclass
class Fault:
    """Requests like `pattern` get `status`, `left` times."""

    pattern: str
    status: int
    left: int


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed hang up; anything else is told."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class HubServer:
    """Holds everything in memory. `requests` and `repositories` tell what happened; `fail` and `watch` interfere."""

    def __init__(self, xet: Path | None = None) -> None:
        self.reset()
        self.xet, self.lock, self.counting = xet, RLock(), Lock()
        self.server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def reset(self) -> None:
        """Forget everything."""
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.watchers: list[tuple[str, Callable[[], None]]] = []
        self.moments: dict[int, Callable[[], int | None]] = {}

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(self, pattern: str, status: int, times: int = 1) -> None:
        """Answer the next `times` requests like `pattern` ("PUT /objects") with `status`; 0 hangs up in mid-body."""
        self.faults.append(Fault(pattern, status, times))

    def watch(self, pattern: str, act: Callable[[], None]) -> None:
        """Call `act` once, before the first request like `pattern` is answered."""
        self.watchers.append((pattern, act))

    def at(self, number: int, act: Callable[[], int | None]) -> None:
        """Call `act` before the request of that number (from 0) is answered; what it returns is as for `fail`."""
        self.moments[number] = act

    def begin(self, request: str) -> int | None:
        """Note a request; the status of the fault that hits it."""
        with self.counting:
            self.requests.append(request)
            act = self.moments.pop(len(self.requests) - 1, None)
        for watcher in [w for w in self.watchers if re.search(w[0], request)]:
            self.watchers.remove(watcher)
            watcher[1]()
        if act:
            return act()
        for fault in [f for f in self.faults if f.left and re.search(f.pattern, request)][:1]:
            fault.left -= 1
            return fault.status
        return None


class Handler(Account):
    """The routes."""

    hub: HubServer

    # -- routes
    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked.get('organization') or 'someone'}/{asked['name']}"
        _ = self.user
        answer = {"url": f"{self.hub.url}/datasets/{name}", "name": name, "id": "1"}
        if self.token != WRITER:
            raise Refused(403, "You don't have the rights to create a dataset there")
        if name in self.hub.repositories:
            return self.send(json.dumps(answer | {"error": "You already created it"}).encode(), 409)
        made = self.hub.repositories[name] = Repository(private=asked.get("visibility") == "private")
        made.add("initial commit", {".gitattributes": File(b"*.tar filter=lfs diff=lfs merge=lfs -text\n")})
        return self.json(answer)

    def check_yaml(self) -> None:
        found = errors(json.loads(self.body)["content"])
        answer = {"errors": [{"message": text} for text in found], "warnings": []}
        self.send(json.dumps(answer).encode(), 400 if found else 200)

    def info(self, name: str, revision: str | None) -> None:
        repository = self.repository(name)
        commit = repository.at(revision or MAIN)
        about = {"private": repository.private, "gated": False, "disabled": False, "downloads": 0, "likes": 0}
        dates = dict.fromkeys(("createdAt", "lastModified"), WHEN)
        files = [{"rfilename": path} for path in sorted(commit.files)]
        self.json({"_id": "1", "id": name, "sha": commit.oid, "tags": [], "siblings": files, **about, **dates})

    def preupload(self, name: str, revision: str) -> None:
        there = self.repository(name, revision).at(revision).files
        answers = []
        for file in json.loads(self.body)["files"]:
            known = there.get(file["path"])
            oid = {"oid": known.sha256 if known.lfs else known.blob_id} if known else {}
            mode = "lfs" if file["path"].endswith(LFS) else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, **oid})
        self.json({"files": answers})

    def batch(self, name: str) -> None:
        """Where to put the objects that are not here yet."""
        asked = json.loads(self.body)
        self.repository(name, unquote(asked.get("ref", {}).get("name", MAIN)))
        answers = []
        for wanted in asked["objects"]:
            action = {"upload": {"href": f"{self.hub.url}/objects/{wanted['oid']}", "header": {}}}
            actions = {} if wanted["oid"] in self.hub.objects else {"actions": action}
            answers.append({"oid": wanted["oid"], "size": wanted["size"], **actions})
        self.json({"transfer": "basic", "objects": answers})

    def put(self, sha256: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != sha256:
            raise Refused(400, "these bytes have another sha256")
        self.hub.objects[sha256] = self.body
        self.send(b"")

    def get(self, sha256: str) -> None:
        if sha256 not in self.hub.objects:
            raise Refused(404, "no such object")
        self.content(self.hub.objects[sha256], {})

    def commit(self, name: str, branch: str) -> None:
        repository = self.repository(name, branch)
        head = repository.branch(branch)[-1]
        steps = [json.loads(line) for line in self.body.splitlines()]
        header = steps[0]["value"]
        if header.get("parentCommit", head.oid) != head.oid:
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for step in steps[1:]:
            self.apply(step["key"], step["value"], files)
        made = repository.add(header["summary"], files, branch)
        self.json({"success": True, "commitOid": made.oid, "commitUrl": f"{self.hub.url}/datasets/{name}"})

    def apply(self, what: str, value: Mapping[str, Any], files: dict[str, File]) -> None:
        path = value["path"]
        if what == "file":
            files[path] = File(base64.b64decode(value["content"]))
        elif what == "lfsFile":
            if self.hub.xet and value["oid"] not in self.hub.objects:
                self.hub.objects |= rebuilt(self.hub.xet, value["oid"])
            if len(self.hub.objects.get(value["oid"], b"")) != value["size"]:
                raise Refused(400, f"nobody sent the object of {path}")
            files[path] = File(self.hub.objects[value["oid"]], lfs=True)
        elif what != "deletedFile" or files.pop(path, None) is None:
            raise Refused(400, f"cannot {what} {path}")

    def tree(self, name: str, revision: str, folder: str | None) -> None:
        files = self.repository(name).at(revision).files
        prefix = f"{folder}/" if folder else ""
        below = {path: file for path, file in files.items() if path.startswith(prefix)}
        if not below:
            raise Refused(404, f"no folder {folder}", "EntryNotFound")
        deep = self.query.get("recursive", [""])[0].lower() in ("true", "1")
        self.json(listing(below, prefix, deep))

    def paths_info(self, name: str, revision: str) -> None:
        files = self.repository(name).at(revision).files
        paths = [path.strip("/") for path in parse_qs(self.body.decode()).get("paths", [])]
        found = [files[path].entry(path) for path in paths if path in files]
        self.json(found + [directory(p) for p in paths if any(known.startswith(f"{p}/") for known in files)])

    def resolve(self, name: str, revision: str, path: str) -> None:
        commit = self.repository(name).at(revision)
        if path not in commit.files:
            raise Refused(404, "Entry not found", "EntryNotFound")
        file, oid = commit.files[path], {"X-Repo-Commit": commit.oid}
        if not file.lfs:
            return self.content(file.data, oid | {"ETag": f'"{file.blob_id}"'})
        # Another host, or the client follows at once and misses the headers of this answer.
        place = {"Location": f"http://localhost:{self.hub.port}/objects/{file.sha256}"}
        linked = {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.data))}
        return self.send(b"", 302, oid | place | linked | {"ETag": f'"{file.sha256}"'})

    def whoami(self) -> None:
        self.json({"type": "user", "name": self.user, "fullname": self.user, "orgs": [{"name": "LanguageBind"}]})

    def xet_token(self, name: str, revision: str) -> None:
        self.repository(name).at(revision)
        if not self.hub.xet:
            raise Refused(404, "no Xet here")
        told = {"casUrl": f"local://{self.hub.xet}", "accessToken": "x", "exp": int(time.time()) + 3600}
        headers = {"Cas-Url": told["casUrl"], "Access-Token": "x", "Token-Expiration": str(told["exp"])}
        self.json(told, {f"X-Xet-{key}": str(value) for key, value in headers.items()})


ID = r"([\w.-]+/[\w.-]+)"
Handler.routes = (
    ("GET", r"/api/whoami-v2", Handler.whoami),
    ("POST", r"/api/repos/create", Handler.create),
    ("POST", r"/api/validate-yaml", Handler.check_yaml),
    ("POST", rf"/api/datasets/{ID}/preupload/([^/]+)", Handler.preupload),
    ("POST", rf"/api/datasets/{ID}/commit/([^/]+)", Handler.commit),
    ("POST", rf"/api/datasets/{ID}/paths-info/([^/]+)", Handler.paths_info),
    ("GET", rf"/api/datasets/{ID}/tree/([^/]+)(?:/(.*))?", Handler.tree),
    ("GET", rf"/api/datasets/{ID}/xet-(?:read|write)-token/([^/]+)", Handler.xet_token),
    ("POST", rf"/api/datasets/{ID}/discussions", Handler.open_pull),
    ("GET", rf"/api/datasets/{ID}/discussions", Handler.pulls),
    ("GET", rf"/api/datasets/{ID}/discussions/(\d+)", Handler.pull),
    ("POST", rf"/api/datasets/{ID}/discussions/(\d+)/status", Handler.set_status),
    ("POST", rf"/api/datasets/{ID}/discussions/(\d+)/merge", Handler.merge),
    ("GET", rf"/api/datasets/{ID}/lfs-files", Handler.large),
    ("POST", rf"/api/datasets/{ID}/lfs-files/batch", Handler.delete_large),
    ("GET", rf"/api/datasets/{ID}(?:/revision/([^/]+))?", Handler.info),
    ("POST", rf"/datasets/{ID}\.git/info/lfs/objects/batch", Handler.batch),
    ("GET HEAD", rf"/datasets/{ID}/resolve/([^/]+)/(.+)", Handler.resolve),
    ("PUT", r"/objects/([0-9a-f]{64})", Handler.put),
    ("GET HEAD", r"/objects/([0-9a-f]{64})", Handler.get),
)
