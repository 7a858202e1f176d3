"""Datasets on the Hub: read, and proven, without keeping their shards on disk."""

import io
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, cast

import httpx2
from huggingface_hub import HfApi, HfFileSystem, RepoFile, get_token
from huggingface_hub.errors import HfHubHTTPError

from builder.errors import ConfigError, RunError
from shards.links import NAME as LINKS_NAME
from shards.manifest import INDEX_NAME
from shards.manifest import NAME as MANIFEST_NAME
from shards.verify import CARD_NAME

SCHEME = "hf://"
ADDRESS = re.compile(r"hf://(?:datasets/)?([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?/?", re.ASCII)
BESIDE = (CARD_NAME, MANIFEST_NAME, LINKS_NAME)  # and the index, which may be large
MOST_BYTES = 256 << 20  # of each of those
ADVICE = {
    401: "there is none that can be read without a token; check the name, or log in with `hf auth login`",
    403: "the token may not read it; ask its owner for access",
    404: "there is none that can be seen; check the name and the revision, or log in with `hf auth login`",
    429: "the Hub has had too many requests; wait some minutes, then run the same again",
}


@dataclass(frozen=True)
class Published:
    """A dataset at one commit: later ones do not change what is read. `sizes` are in bytes, by path."""

    repo: str
    commit: str
    sizes: Mapping[str, int]

    @cached_property
    def hub(self) -> HfFileSystem:
        return HfFileSystem(block_size=0, use_listings_cache=False)

    def stream(self, path: str) -> io.BufferedReader:
        """The file from its beginning, by one request; a connection that breaks is taken up again."""
        file = self.hub.open(f"datasets/{self.repo}@{self.commit}/{path}", "rb")
        return io.BufferedReader(cast(Any, Stream(file)), 1 << 20)

    def fetch(self, path: str, target: Path) -> None:
        with self.stream(path) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)


class Stream(io.RawIOBase):
    """A file of the Hub as the standard library reads files."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.file.close()
        super().close()


def is_published(address: str) -> bool:
    return address.startswith(SCHEME)


def published(address: str) -> Published:
    """The dataset that `hf://OWNER/NAME[@REVISION]` names now.

    Raises:
        ConfigError: it is no such address.
    """
    found = ADDRESS.fullmatch(address)
    if not found:
        raise ConfigError(f"{address!r} names no dataset on the Hub; write hf://OWNER/NAME or hf://OWNER/NAME@REVISION")
    api, repo = HfApi(library_name="open-sora-dataset"), found[1]
    commit = str(api.dataset_info(repo, revision=found[2]).sha)
    tree = api.list_repo_tree(repo, repo_type="dataset", revision=commit, recursive=True)
    return Published(repo, commit, {entry.path: entry.size for entry in tree if isinstance(entry, RepoFile)})


@contextmanager
def dataset_folder(address: str) -> Iterator[Path]:
    """A dataset folder as it is; of one on the Hub, a folder that reads as if it were downloaded. Nothing is kept.

    Raises:
        ConfigError: the address names none.
        RunError: the Hub cannot be read, now or while the folder is in use.
    """
    if not is_published(address):
        yield Path(address)
        return
    with reading_plainly(address), TemporaryDirectory(prefix="osd-build-") as temporary:
        yield mirror(published(address), Path(temporary))


def mirror(dataset: Published, folder: Path) -> Path:
    """The dataset as a folder: card, manifest and index are fetched; a shard comes from the Hub when it is opened.

    Where shards are, `folder` holds empty files, so that patterns find them.
    """
    for name in (*BESIDE, INDEX_NAME):
        size_bytes = dataset.sizes.get(name, 0)
        if name in BESIDE and size_bytes > MOST_BYTES:
            raise RunError(f"{SCHEME}{dataset.repo}: {name} has {size_bytes:,} bytes; that is no dataset of this kind")
        if name in dataset.sizes:
            (folder / name).parent.mkdir(exist_ok=True)
            dataset.fetch(name, folder / name)
    shards = [
        path for path in dataset.sizes if path.endswith(".tar") and not {"..", "/"} & {*PurePosixPath(path).parts}
    ]
    for shard in shards:
        (folder / shard).parent.mkdir(parents=True, exist_ok=True)
        (folder / shard).touch()
    return reading_shards_from(dataset, folder, shards, telling(len(shards)))


def reading_shards_from(dataset: Published, root: Path, shards: list[str], told: Callable[[str], None]) -> Path:
    names = {str(root / shard): shard for shard in shards}

    class Mirrored(type(root)):  # type: ignore[misc]  # a PosixPath
        def open(self, mode: str = "r", *args: Any, **options: Any) -> Any:
            if str(self) not in names or mode != "rb":
                return super().open(mode, *args, **options)
            told(names[str(self)])
            return dataset.stream(names[str(self)])

    return Mirrored(root)


def telling(total: int) -> Callable[[str], None]:
    """Say on a terminal which shard is being read: a large dataset takes hours."""
    seen: list[str] = []

    def told(shard: str) -> None:
        seen.append(shard)
        if sys.stderr.isatty():
            sys.stderr.write(f"reading {shard} ({len(seen)} of {total})\n")

    return told


@contextmanager
def reading_plainly(address: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one line that says what to do, without the token.

    Raises:
        RunError: for every failure of the Hub or of the network.
    """
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        told = ADVICE.get(status, f"the Hub answered {status}; run the same again later")
        raise RunError(without_token(f"cannot read {address}: {told}")) from error
    except (httpx2.HTTPError, ConnectionError, FileNotFoundError, TimeoutError) as error:
        text = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise RunError(without_token(f"cannot read {address}: {text}; run the same again")) from error


def without_token(text: str) -> str:
    token = get_token()
    return text.replace(token, "...") if token else text
