"""Take off the Hub what must go: clips, a whole dataset if nothing is left of it, and old files for good."""

from collections.abc import Callable, Iterator
from pathlib import Path

from huggingface_hub.hf_api import LFSFileInfo

from builder import removed
from builder.dataset import LOADER
from builder.errors import RunError
from builder.figures import as_size
from builder.push import OURS, Wishes, names, published, push
from builder.repository import Local, Repository, check_name, speaking_plainly
from builder.stages.pack import DATASET
from builder.withdraw import is_empty
from shards.links import NAME as LINKS_NAME
from shards.manifest import INDEX_NAME
from shards.manifest import NAME as MANIFEST_NAME
from shards.verify import CARD_NAME

LISTING = (CARD_NAME, INDEX_NAME, MANIFEST_NAME, LOADER, LINKS_NAME)


def republish(run: Path, repo: str) -> Iterator[str]:
    """Publish what is left, as it was published before: with links if there are any.

    Raises:
        RunError: nothing was published there, or the Hub refuses.
    """
    check_name(repo)
    remote = Repository(repo)
    with speaking_plainly(repo):
        if not remote.exists():
            raise RunError(f"there is no {remote.url}: nothing was published there, or the token cannot see it")
        head = remote.head()
        there = remote.files(head)
    if is_empty(run):
        with speaking_plainly(repo):
            yield clear(remote, head, removed.read(run / DATASET / removed.NAME))
    else:
        yield from push(run, repo, Wishes(links=LINKS_NAME in there, rules=True))


def clear(remote: Repository, head: str, gone: frozenset[removed.Removed]) -> str:
    """Remove the whole dataset from the branch, and leave the list of what was removed."""
    there = remote.files(head)
    ours = {*published(remote, head, there), *LISTING, *filter(OURS.fullmatch, there)} & there.keys()
    if not ours:
        return f"{remote.url} holds no dataset any more (commit {head}); nothing to do"
    known = removed.read(remote.read(removed.NAME, head)) if removed.NAME in there else frozenset()
    added = [Local.of(removed.NAME, removed.as_bytes(known | gone))]
    head = remote.commit(added, sorted(ours), "Remove the dataset: nothing is left of it", head)
    return f"nothing is left of the dataset; removed all of it: {remote.url}/commit/{head}"


def purge(repo: str, agreed: Callable[[str], bool]) -> Iterator[str]:
    """Delete for good the large files of datasets that the main branch no longer has, if the user agreed.

    Raises:
        RunError: the Hub refuses, or still lists them afterwards.
    """
    remote = Repository(repo)
    with speaking_plainly(repo, doing="remove files for good from"):
        old = unused(remote)
        if not old:
            yield f"{remote.url} keeps no old files of this dataset; nothing to do"
            return
        size = as_size(sum(file.size for file in old))
        yield f"no longer in {remote.url}, but in its history: {len(old)} files, {size}"
        yield from (f"  {file.filename} ({as_size(file.size)}, sha256 {file.file_oid})" for file in old)
        yield "this cannot be undone: older revisions, and pull requests that are open, lose these files"
        if not agreed(f"Remove these {len(old)} files from {repo} for good?"):
            yield "nothing was removed for good"
            return
        remote.api.permanently_delete_lfs_files(repo, old, repo_type="dataset")
        if left := unused(remote):
            raise RunError(f"{remote.url} still has {names([file.filename for file in left])}; run the same again")
        yield f"removed for good: {len(old)} files, {size}"


def unused(remote: Repository) -> list[LFSFileInfo]:
    """Large files that are ours by their name, and not part of the main branch."""
    there = remote.files(remote.head())
    used = {file.lfs.sha256 for file in there.values() if file.lfs}
    stored = remote.api.list_lfs_files(remote.repo, repo_type="dataset")
    return [f for f in stored if f.file_oid not in used and (OURS.fullmatch(f.filename) or f.filename == INDEX_NAME)]
