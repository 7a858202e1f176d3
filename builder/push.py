"""Publish a dataset on the Hub: shards first and checked, then everything that lists them, in one commit.

A reader of the main branch sees the dataset as it was or as it is, never a card that promises missing shards. What no
published card can see goes ahead (by `upload_folder`: what has arrived is not sent again); card, index, manifest and
loader, shards for folders that the published card reads, and removals are one commit, which the Hub refuses when
somebody else has committed meanwhile. A pull request gets the same commits on its own branch.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import RepoFile, get_token

from builder import releases, removed
from builder.errors import RunError
from builder.figures import as_size
from builder.publication import Publication, open_dataset, prepare, scratch_folder
from builder.repository import ADVICE, AGAIN, MAIN, Local, Repository, check_name, speaking_plainly
from shards.links import NAME as LINKS_NAME
from shards.links import Links
from shards.manifest import NAME as MANIFEST_NAME
from shards.manifest import Manifest

OURS = re.compile(r"(?:data|links)/([a-z0-9_-]+)/r\d{4}/\1-(?:train|validation)-\d{6}\.tar")
TOLD = 5  # files named in a message


@dataclass(frozen=True)
class Wishes:
    """The options of `osd-build push`."""

    private: bool = False
    pull: bool = False
    dry: bool = False
    links: bool = False
    rules: bool = False


@dataclass(frozen=True)
class Change:
    """From what a branch holds to what it is to hold: `ahead` is sent before, `added` and `removed` are one commit."""

    ahead: tuple[Local, ...] = ()
    added: tuple[Local, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.ahead or self.added or self.removed)


def push(path: Path, repo: str, wishes: Wishes) -> Iterator[str]:
    """Publish a run's dataset, or a dataset folder; lines to tell the user, the last one when all is done.

    Raises:
        ConfigError: the repository's name cannot be used.
        RunError: the folder is not intact, nothing in it may be published, the Hub refuses, or it already has other
            bytes under a shard's name.
    """
    check_name(repo)
    dataset = open_dataset(path)
    with scratch_folder(dataset) as scratch:
        publication = prepare(dataset, repo, scratch, links=wishes.links, rules=wishes.rules)
        yield from publication.left_out()
        remote = Repository(repo)
        with speaking_plainly(repo, anonymous=wishes.dry):
            if wishes.dry:
                yield from forecast(publication, remote, wishes)
                return
            remote.create(wishes.private)
            commit, said = publish(publication, remote, wishes.pull)
        if dataset.run:
            releases.close(dataset.run, repo, commit)
        yield said


def publish(publication: Publication, remote: Repository, pull: bool) -> tuple[str, str]:
    """Bring the branch to what is to be published; its last commit, and what to tell the user."""
    if pull:
        remote = remote.open_pull() or remote
    head = remote.head()
    change = change_of(publication, remote, head)
    if change and pull and remote.branch == MAIN:
        remote = remote.create_pull()
        head = remote.head()
        change = change_of(publication, remote, head)
    if not change:
        said = f"{remote.page} holds this dataset already (commit {head}); nothing to do"
    else:
        head = send(publication, remote, head, change)
        said = f"published {summary(publication)}: {remote.url}/commit/{head}"
        if LINKS_NAME in change.removed:
            said = f"{said}; the links that were there are gone: to have them back, push with --links"
    if remote.branch != MAIN:
        remote.offer()
        said = f"{said}; to be merged at {remote.page}" if change else said
    return head, said


def send(publication: Publication, remote: Repository, head: str, change: Change) -> str:
    """First what no card lists yet, then the rest as one commit; the new head."""
    for root in sorted({file.root for file in change.ahead}):
        paths = [file.path for file in change.ahead if file.root == root]
        before = remote.files(head)
        head = remote.upload(root, paths, f"Add {len(paths)} shards (their card follows)", head)
        after = remote.files(head)
        check_arrived([file for file in change.ahead if file.root == root], after, remote.url)
        if any(before.get(name) != after.get(name) for name in (MANIFEST_NAME, LINKS_NAME)):
            raise RunError(f"{remote.url}: {ADVICE[412]}")
    change = change_of(publication, remote, head)
    head = remote.commit(change.added, change.removed, f"Publish {summary(publication)}", head)
    everything = (*publication.shards, *publication.links, *publication.listing)
    check_arrived(everything, remote.files(head), remote.url)
    return head


def change_of(publication: Publication, remote: Repository, head: str) -> Change:
    """What is left to do at this commit.

    Raises:
        RunError: it holds other shards of the same names, or says that some of these clips were taken down.
    """
    there = remote.files(head)
    before = published(remote, head, there)
    check_unchanged(before, publication, remote.url)
    files = (*publication.shards, *publication.links)
    missing = [file for file in files if not file.is_at(there.get(file.path))]
    seen = {folder_of(path) for path in before}  # what is added there is read at once
    ahead = [file for file in missing if folder_of(file.path) not in seen]
    at_once = [file for file in missing if folder_of(file.path) in seen]
    gone = removals(publication, remote, head, there)
    listing = [file for file in (*publication.listing, *gone) if not file.is_at(there.get(file.path))]
    return Change(tuple(ahead), (*at_once, *listing), tuple(superseded(there, before, publication)))


def published(remote: Repository, head: str, there: Mapping[str, RepoFile]) -> dict[str, str]:
    """path -> sha256 of the shards, and of the links, that the card at this commit is about.

    Raises:
        RunError: what lists them is not of this kind, or of a later version.
    """
    found: dict[str, str] = {}
    try:
        for name, kind in ((MANIFEST_NAME, Manifest), (LINKS_NAME, Links)):
            if name in there:
                text = remote.read(name, head).decode("utf-8", errors="replace")
                found |= {entry.path: entry.sha256 for entry in kind.from_json(text).shards}
    except ValueError as error:
        raise RunError(f"{remote.url}: {error}; choose another repository, or upgrade osd-build") from error
    return found


def removals(publication: Publication, remote: Repository, head: str, there: Mapping[str, RepoFile]) -> list[Local]:
    """The list of what was taken down, if the repository's lacks some of it: rows are only ever added.

    Raises:
        RunError: some of it is in what is to be published.
    """
    try:
        known = removed.read(remote.read(removed.NAME, head)) if removed.NAME in there else frozenset()
    except ValueError as error:
        raise RunError(f"{remote.url}: {error}; mend it there first") from error
    if clip := publication.first_of(known | publication.removed):
        raise RunError(
            f"clip {clip.clip_id} is in this dataset, and its video was taken down ({removed.NAME}); take it out "
            f"first: osd-build takedown RUN --sha256 {clip.source_sha256}"
        )
    lacking = publication.removed - known
    return [Local.of(removed.NAME, removed.as_bytes(known | lacking))] if lacking else []


def check_unchanged(before: Mapping[str, str], publication: Publication, url: str) -> None:
    """A published shard never changes: readers resume in it, and cache it, by its name."""
    changed = [path for path, sha256 in publication.entries.items() if before.get(path, sha256) != sha256]
    if changed:
        raise RunError(
            f"{url} has {len(changed)} shards of these names with other contents (first {changed[0]}); published "
            "shards are never changed: publish to another repository, or remove the old dataset from this one first"
        )


def check_arrived(files: Iterable[Local], there: Mapping[str, RepoFile], url: str) -> None:
    wrong = [file.path for file in files if not file.is_at(there.get(file.path))]
    if wrong:
        names = ", ".join(wrong[:TOLD])
        raise RunError(f"{url} does not hold what was sent: {names} ({len(wrong)} in all); {AGAIN}")


def superseded(there: Iterable[str], before: Mapping[str, str], publication: Publication) -> list[str]:
    """Tars to remove: published ones that are no longer listed, what is named as ours are, and strangers in folders
    that the card reads. Other files of the repository are its owner's."""
    ours = publication.entries.keys()
    folders = {folder_of(path) for path in ours}
    gone = [p for p in there if p in before or OURS.fullmatch(p) or (p.endswith(".tar") and folder_of(p) in folders)]
    stale = [LINKS_NAME] if LINKS_NAME in there and not publication.links else []
    return [path for path in gone if path not in ours] + stale


def folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def summary(publication: Publication) -> str:
    totals = f"{publication.manifest.totals.samples} clips in {len(publication.shards)} shards"
    linked = sum(entry.samples for entry in publication.gate.barred) if publication.links else 0
    return f"{totals}, and the links of {linked} more" if linked else totals


def forecast(publication: Publication, remote: Repository, wishes: Wishes) -> Iterator[str]:
    """What a push would do, in lines; asks the Hub, and tells it nothing."""
    if remote.exists():
        if wishes.pull and get_token():
            remote = remote.open_pull() or remote
        change = change_of(publication, remote, remote.head())
        yield f"would change {remote.page}" if change else f"{remote.page} holds this dataset already; nothing to do"
    else:
        change = Change((*publication.shards, *publication.links), publication.listing)
        yield f"would make {remote.url}" + (", private" if wishes.private else ", which everybody can read")
    if wishes.pull and change:
        yield "would put all of it into a pull request"
    yield from told("would send, ahead of the card", change.ahead)
    yield from told("would then commit", change.added)
    if change.removed:
        yield f"would remove in the same commit: {names(change.removed)}"
    yield "nothing was sent (--dry-run)"


def told(what: str, files: Sequence[Local]) -> Iterator[str]:
    if files:
        yield f"{what}: {as_size(sum(file.size_bytes for file in files))}: {names([file.path for file in files])}"


def names(paths: Sequence[str]) -> str:
    more = f", ... ({len(paths)} in all)" if len(paths) > TOLD else ""
    return ", ".join(paths[:TOLD]) + more
