"""A dataset repository on the Hub: what it holds, and the few things that publishing does to it.

The one place that reads the token: `HF_TOKEN`, or what `hf auth login` stored. It is never printed. `HF_ENDPOINT` is
honoured.
"""

import dataclasses
import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from builder.errors import ConfigError, RunError

MAIN = "main"
LOADER = "open_sora_dataset.py"
REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
AGAIN = "run the same again: what has arrived is not sent twice"
ADVICE = {
    401: "the Hub does not know the token, or it has expired; log in with `hf auth login`, or set HF_TOKEN",
    403: "the token may not write there; take one with write access (`hf auth login`, or HF_TOKEN)",
    404: "there is no such repository that the token can see, and it could not be made; check the owner's name",
    409: f"another change of it is under way; {AGAIN}",
    412: f"somebody else has committed to it meanwhile; look at what they did, then {AGAIN}",
    413: "a file is too large for the Hub; pack with a smaller [plan] shard_bytes",
    429: f"the Hub has had too many requests; wait some minutes, then {AGAIN}",
}
NO_TOKEN = "the Hub needs a token; log in with `hf auth login`, or set HF_TOKEN"
TROUBLE = 500
PULL_TITLE = "Publish a dataset (osd-build)"


@dataclass(frozen=True)
class Local:
    """A file as it is to be published under `path`."""

    path: str
    content: Path | bytes
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: str, content: Path | bytes) -> "Local":
        if isinstance(content, bytes):
            return cls(path, content, len(content), hashlib.sha256(content).hexdigest())
        with content.open("rb") as file:
            return cls(path, content, content.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())

    def is_at(self, remote: RepoFile | None) -> bool:
        """Whether the Hub holds exactly this; of a file that is not in LFS it knows git's hash only."""
        if remote is None or remote.size != self.size_bytes:
            return False
        if remote.lfs:
            return bool(remote.lfs.sha256 == self.sha256)
        data = self.content if isinstance(self.content, bytes) else self.content.read_bytes()
        return bool(remote.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())

    def addition(self) -> CommitOperationAdd:
        content = self.content if isinstance(self.content, bytes) else str(self.content)
        return CommitOperationAdd(self.path, content)

    @property
    def root(self) -> Path:
        """The folder below which the file lies under the very path that it is to have."""
        assert isinstance(self.content, Path)
        return Path(str(self.content).removesuffix(f"/{self.path}"))


@dataclass(frozen=True)
class Repository:
    """A dataset repository at a branch: main, or a pull request's (`refs/pr/1`)."""

    repo: str
    branch: str = MAIN

    @cached_property
    def api(self) -> HfApi:
        return HfApi(library_name="open-sora-dataset")

    @property
    def url(self) -> str:
        return f"{self.api.endpoint}/datasets/{self.repo}"

    @property
    def page(self) -> str:
        """Where to look at the branch."""
        return self.url if self.branch == MAIN else f"{self.url}/discussions/{self.number}"

    @property
    def number(self) -> int:
        return int(self.branch.rpartition("/")[2])

    def create(self, private: bool) -> None:
        """Make it unless it is there.

        Raises:
            RunError: it is to be private and is public.
        """
        self.api.create_repo(self.repo, repo_type="dataset", private=private or None, exist_ok=True)
        if private and not self.api.dataset_info(self.repo).private:
            raise RunError(f"{self.url} exists and is public; make it private in its settings first, or drop --private")

    def exists(self) -> bool:
        """Raises HfHubHTTPError for a token that is not known: then nobody can tell."""
        try:
            self.api.dataset_info(self.repo)
        except RepositoryNotFoundError as error:
            if get_token() and error.response.status_code == 401:  # noqa: PLR2004
                raise
            return False
        return True

    def head(self) -> str:
        return str(self.api.dataset_info(self.repo, revision=self.branch).sha)

    def files(self, commit: str) -> dict[str, RepoFile]:
        tree = self.api.list_repo_tree(self.repo, repo_type="dataset", revision=commit, recursive=True)
        return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}

    def read(self, path: str, commit: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            name = self.api.hf_hub_download(self.repo, path, repo_type="dataset", revision=commit, local_dir=folder)
            return Path(name).read_bytes()

    def upload(self, root: Path, paths: Sequence[str], message: str, head: str) -> str:
        """Send files below `root` that no card lists yet, in as many commits as it takes; the new head."""
        commit = self.api.upload_folder(
            repo_id=self.repo,
            repo_type="dataset",
            folder_path=root,
            allow_patterns=list(paths),
            commit_message=message,
            revision=self.branch,
            parent_commit=head,
        )
        return str(commit.oid)

    def commit(self, added: Iterable[Local], removed: Iterable[str], message: str, head: str) -> str:
        """All of it at once; the new head."""
        operations: list[CommitOperationAdd | CommitOperationDelete] = [file.addition() for file in added]
        operations += [CommitOperationDelete(path) for path in removed]
        done = self.api.create_commit(
            self.repo,
            operations,
            commit_message=message,
            repo_type="dataset",
            revision=self.branch,
            parent_commit=head,
        )
        return str(done.oid)

    # -- pull requests
    def open_pull(self) -> "Repository | None":
        """The branch of the pull request that an earlier push of this user began, if it is open."""
        who = self.api.whoami()["name"]
        for pull in self.api.get_repo_discussions(
            self.repo, repo_type="dataset", discussion_type="pull_request", author=who
        ):
            if (pull.title, pull.author) == (PULL_TITLE, who) and pull.status in ("draft", "open"):
                return dataclasses.replace(self, branch=str(pull.git_reference))
        return None

    def create_pull(self) -> "Repository":
        """A new one, a draft, which nobody can merge, until `offer`."""
        text = "Shards first, then the card in one commit. It is a draft until it is complete."
        pull = self.api.create_pull_request(self.repo, PULL_TITLE, description=text, repo_type="dataset")
        return dataclasses.replace(self, branch=str(pull.git_reference))

    def offer(self) -> None:
        """Say that the pull request is complete."""
        if self.api.get_discussion_details(self.repo, self.number, repo_type="dataset").status == "draft":
            self.api.change_discussion_status(self.repo, self.number, "open", repo_type="dataset")


def check_name(repo: str) -> None:
    """Refuse a name under which `load_dataset` would not work.

    Raises:
        ConfigError: says why.
    """
    if not REPO.fullmatch(repo):
        raise ConfigError(f"{repo!r} does not name a repository; write OWNER/NAME, as in LanguageBind/Open-Sora-Plan")
    if repo.partition("/")[2] == LOADER.removesuffix(".py"):
        raise ConfigError(
            f"a repository called {repo} cannot hold {LOADER}: load_dataset takes a file of the repository's name "
            "for a loading script, and refuses it; choose another name"
        )


@contextmanager
def speaking_plainly(repo: str, *, doing: str = "publish to", anonymous: bool = False) -> Iterator[None]:
    """Turn what the client raises into one line that says what to do; the token is cut out of it.

    Raises:
        RunError: for every failure of the Hub, of the network or of the login.
    """
    token = get_token()
    if not token and not anonymous:
        raise RunError(f"cannot {doing} {repo}: {NO_TOKEN}")
    if token and not token.isascii():  # no header can hold it
        raise RunError(f"cannot {doing} {repo}: {ADVICE[401]}")
    try:
        yield
    except HfHubHTTPError as error:
        said = f" (it says: {first_line(error.server_message)})" if error.server_message else ""
        told = f"cannot {doing} {repo}: {advice(error.response.status_code)}{said}"
        raise RunError(without(token, told)) from error
    except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:  # RuntimeError: hf_xet; ValueError: the card
        text = without(token, f"{type(error).__name__}: {first_line(str(error))}")
        raise RunError(f"cannot {doing} {repo}: the Hub cannot be talked to ({text}); {AGAIN}") from error


def advice(status: int) -> str:
    if status >= TROUBLE:
        return f"the Hub has trouble of its own (status {status}); wait, then {AGAIN}"
    return ADVICE.get(status, f"the Hub answered {status}; {AGAIN}")


def without(token: str | None, text: str) -> str:
    return text.replace(token, "...") if token else text


def first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
