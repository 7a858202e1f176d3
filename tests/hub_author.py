"""Somebody who publishes: a dataset, a token, the command line, and a peer of the Hub that all tests share."""

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hub_account import WRITER
from hub_client import Done, HubClient
from hub_dataset import write_dataset
from hub_server import HubServer
from hub_store import Repository

REPO = "LanguageBind/Open-Sora-Plan"
LISTING = {"README.md", "manifest.json", "index.parquet", "open_sora_dataset.py"}


@dataclass
class Author:
    """Each method is one command, in a process of its own."""

    hub: HubServer
    client: HubClient
    dataset: Path
    token: str = WRITER

    @classmethod
    def new(cls, folder: Path) -> "Author":
        """With a small dataset below `folder`, and a Hub that knows nothing."""
        hub, client = peers()
        hub.reset()
        return cls(hub, client, write_dataset(folder / "dataset"))

    def osd_build(self, *arguments: object) -> Done:
        return self.client.run(*arguments, token=self.token)

    def push(self, *options: str) -> str:
        done = self.osd_build("push", self.dataset, "--repo", REPO, *options)
        assert done.code == 0, done.err
        return done.out

    def refused(self, *options: str, code: int = 1) -> str:
        """The one line of a push that does not succeed."""
        done = self.osd_build("push", self.dataset, "--repo", REPO, *options)
        assert done.code == code, done
        assert "Traceback" not in done.err
        assert not self.token or self.token not in done.err + done.out
        [line] = [line for line in done.err.splitlines() if line.startswith("osd-build: ")]
        return line

    @property
    def repository(self) -> Repository:
        return self.hub.repositories[REPO]

    @property
    def published(self) -> dict[str, bytes]:
        """What a reader of the main branch finds."""
        return {path: file.data for path, file in self.repository.head.files.items() if path != ".gitattributes"}


@cache
def peers() -> tuple[HubServer, HubClient]:
    """Started once: they end with the tests."""
    hub = HubServer().__enter__()
    return hub, HubClient(hub.url, Path(tempfile.mkdtemp())).__enter__()
