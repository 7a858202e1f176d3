"""Publish a finished dataset on the Hub: shards first and checked, then everything that lists them, in one commit.

A reader of the main branch sees the dataset as it was or as it is, never a card that promises missing shards. What no
published card can see goes ahead (by `upload_folder`: what has arrived is not sent again); card, index, manifest and
loader, shards for folders that the published card reads, and removals are one commit, which the Hub refuses when
somebody else has committed meanwhile. `HF_ENDPOINT` is honoured. The token comes from the environment or from what
`hf auth login` stored, and is never printed.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile, get_token
from huggingface_hub.errors import HfHubHTTPError

from builder.dataset import LOADER
from builder.errors import ConfigError, RunError
from shards.manifest import INDEX_NAME, SHARD_PATH, Manifest, ShardEntry, read_manifest
from shards.manifest import NAME as MANIFEST_NAME
from shards.verify import CARD_NAME, verify

REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
CARD_REPO = re.compile(r'^(for sample in load(?:_dataset)?\()"[^"\n]*"', re.MULTILINE)  # as dataset_card.md has it
AGAIN = "run the same again: what has arrived is not sent twice"
ADVICE = {
    401: "the Hub does not know the token; log in with `hf auth login`, or set HF_TOKEN",
    403: "the token may not write there; take one with write access (`hf auth login`, or HF_TOKEN)",
    404: "there is no such repository that the token can see, and it could not be made; check the owner's name",
    409: f"another change of it is under way; {AGAIN}",
    412: f"somebody else has committed to it meanwhile; look at what they did, then {AGAIN}",
    413: "a file is too large for the Hub; pack with a smaller [plan] shard_bytes",
    429: f"the Hub has had too many requests; wait some minutes, then {AGAIN}",
}
TROUBLE = 500


@dataclass(frozen=True)
class Local:
    """A file as it is to be published under `path`."""

    path: str
    content: Path | bytes
    size_bytes: int
    sha256: str

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


@dataclass(frozen=True)
class Repository:
    """A dataset repository's main branch."""

    repo: str

    @cached_property
    def api(self) -> HfApi:
        return HfApi(library_name="open-sora-dataset")

    @property
    def url(self) -> str:
        return f"{self.api.endpoint}/datasets/{self.repo}"

    def create(self, private: bool) -> str:
        """Make it unless it is there; its head.

        Raises:
            RunError: it is to be private and is public.
        """
        self.api.create_repo(self.repo, repo_type="dataset", private=private or None, exist_ok=True)
        info = self.api.dataset_info(self.repo)
        if private and not info.private:
            raise RunError(f"{self.url} exists and is public; make it private in its settings first, or drop --private")
        return str(info.sha)

    def files(self, revision: str) -> dict[str, RepoFile]:
        tree = self.api.list_repo_tree(self.repo, repo_type="dataset", revision=revision, recursive=True)
        return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}

    def manifest(self, revision: str) -> Manifest:
        """The published one.

        Raises:
            RunError: it is not of this kind, or of a later version.
        """
        with tempfile.TemporaryDirectory() as folder:
            name = self.api.hf_hub_download(
                self.repo, MANIFEST_NAME, repo_type="dataset", revision=revision, local_dir=folder
            )
            try:
                return Manifest.from_json(Path(name).read_text(encoding="utf-8"))
            except ValueError as error:
                raise RunError(f"{self.url}: {error}; choose another repository, or upgrade osd-build") from error

    def upload(self, dataset: Path, paths: Sequence[str], head: str) -> str:
        """Send shards; the new head."""
        commit = self.api.upload_folder(
            repo_id=self.repo,
            repo_type="dataset",
            folder_path=dataset,
            allow_patterns=list(paths),
            commit_message=f"Add {len(paths)} shards (their card follows)",
            parent_commit=head,
        )
        return str(commit.oid)

    def commit(self, added: Iterable[Local], removed: Iterable[str], message: str, head: str) -> str:
        """All of it at once; the new head."""
        operations: list[CommitOperationAdd | CommitOperationDelete] = [file.addition() for file in added]
        operations += [CommitOperationDelete(path) for path in removed]
        done = self.api.create_commit(
            self.repo, operations, commit_message=message, repo_type="dataset", parent_commit=head
        )
        return str(done.oid)


def push(dataset: Path, repo: str, *, private: bool = False) -> str:
    """Publish the dataset folder; the line to tell the user.

    Raises:
        ConfigError: the repository's name cannot be used.
        RunError: the folder is not intact, the Hub refuses, or it already has other bytes under a shard's name.
    """
    check_name(repo)
    manifest = check_intact(dataset)
    remote = Repository(repo)
    with speaking_plainly(repo):
        head = remote.create(private)
        return publish(dataset, manifest, remote, head)


def publish(dataset: Path, manifest: Manifest, remote: Repository, head: str) -> str:
    """From the state at `head` to the dataset's."""
    there = remote.files(head)
    before = remote.manifest(head).shards if MANIFEST_NAME in there else ()
    check_unchanged(before, manifest, remote.url)
    shards, rest = local_files(dataset, manifest, remote.repo)
    missing = [file for file in shards if not file.is_at(there.get(file.path))]
    seen = {folder_of(entry.path) for entry in before}  # what is added there is read at once
    ahead = [file for file in missing if folder_of(file.path) not in seen]
    if ahead:
        head = remote.upload(dataset, [file.path for file in ahead], head)
        card = there.get(MANIFEST_NAME)
        there = remote.files(head)
        check_arrived(ahead, there, remote.url)
        if there.get(MANIFEST_NAME) != card:
            raise RunError(f"{remote.url}: {ADVICE[412]}")
    added = [file for file in (*shards, *rest) if not file.is_at(there.get(file.path))]
    removed = superseded(there, before, manifest)
    if not added and not removed:
        return f"{remote.url} holds this dataset already (commit {head}); nothing to do"
    totals = f"{manifest.totals.samples} clips in {len(manifest.shards)} shards"
    head = remote.commit(added, removed, f"Publish {totals}", head)
    check_arrived([*shards, *rest], remote.files(head), remote.url)
    return f"published {totals}: {remote.url}/commit/{head}"


def check_name(repo: str) -> None:
    """Refuse a name under which `load_dataset` would not work."""
    if not REPO.fullmatch(repo):
        raise ConfigError(f"{repo!r} does not name a repository; write OWNER/NAME, as in LanguageBind/Open-Sora-Plan")
    if repo.partition("/")[2] == LOADER.removesuffix(".py"):
        raise ConfigError(
            f"a repository called {repo} cannot hold {LOADER}: load_dataset takes a file of the repository's name "
            "for a loading script, and refuses it; choose another name"
        )


def check_intact(dataset: Path) -> Manifest:
    if not (dataset / MANIFEST_NAME).is_file():
        raise RunError(f"{dataset} is no finished dataset (no {MANIFEST_NAME}); name RUN/dataset, after osd-build pack")
    problems = verify(dataset)
    if not (dataset / LOADER).is_file():
        raise RunError(f"{dataset / LOADER} is missing; osd-build pack writes it")
    if problems:
        raise RunError(
            f"{dataset} is not intact, nothing was sent ({len(problems)} problems; first {problems[0]}); "
            f"see all with osd-build verify {dataset}, mend with osd-build pack"
        )
    return read_manifest(dataset)


def check_unchanged(before: Sequence[ShardEntry], manifest: Manifest, url: str) -> None:
    """A published shard never changes: readers resume in it, and cache it, by its name."""
    published = {entry.path: entry.sha256 for entry in before}
    changed = [e.path for e in manifest.shards if published.get(e.path, e.sha256) != e.sha256]
    if changed:
        raise RunError(
            f"{url} has {len(changed)} shards of these names with other contents (first {changed[0]}); published "
            "shards are never changed: publish to another repository, or remove the old dataset from this one first"
        )


def check_arrived(files: Iterable[Local], there: dict[str, RepoFile], url: str) -> None:
    wrong = [file.path for file in files if not file.is_at(there.get(file.path))]
    if wrong:
        raise RunError(f"{url} does not hold what was sent: {', '.join(wrong[:5])} ({len(wrong)} in all); {AGAIN}")


def local_files(dataset: Path, manifest: Manifest, repo: str) -> tuple[list[Local], list[Local]]:
    """The shards, and the files that list them; the card's examples name the repository it goes to."""
    shards = [Local(e.path, dataset / e.path, e.size_bytes, e.sha256) for e in manifest.shards]
    card = CARD_REPO.sub(
        lambda match: match[1] + json.dumps(repo), (dataset / CARD_NAME).read_text(encoding="utf-8")
    ).encode()
    rest = [Local(CARD_NAME, card, len(card), hashlib.sha256(card).hexdigest())]
    for name in (INDEX_NAME, MANIFEST_NAME, LOADER):
        with (dataset / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        rest.append(Local(name, dataset / name, (dataset / name).stat().st_size, digest))
    return shards, rest


def superseded(there: Iterable[str], before: Sequence[ShardEntry], manifest: Manifest) -> list[str]:
    """Shards to remove: published ones that are no longer listed, and strangers in folders that the card reads.

    Other files of the repository are its owner's.
    """
    ours = {entry.path for entry in manifest.shards}
    folders = {folder_of(path) for path in ours}
    gone = {entry.path for entry in before} - ours
    return [p for p in there if p in gone or (SHARD_PATH.fullmatch(p) and folder_of(p) in folders and p not in ours)]


def folder_of(path: str) -> str:
    return path.rpartition("/")[0]


@contextmanager
def speaking_plainly(repo: str) -> Iterator[None]:
    """Turn what the client raises into one line that says what to do; the token is cut out of it.

    Raises:
        RunError: for every failure of the Hub, of the network or of the login.
    """
    token = get_token()
    if not token:
        raise RunError(f"cannot publish to {repo}: {ADVICE[401].replace('does not know the token', 'needs a token')}")
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        trouble = f"the Hub has trouble of its own (status {status}); wait, then {AGAIN}"
        advice = trouble if status >= TROUBLE else ADVICE.get(status, f"the Hub answered {status}; {AGAIN}")
        said = f" (it says: {first_line(error.server_message)})" if error.server_message else ""
        raise RunError(f"cannot publish to {repo}: {advice}{said}".replace(token, "...")) from error
    except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:  # RuntimeError: hf_xet; ValueError: the card
        text = f"{type(error).__name__}: {first_line(str(error))}".replace(token, "...")
        raise RunError(f"cannot publish to {repo}: the Hub cannot be talked to ({text}); {AGAIN}") from error


def first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
