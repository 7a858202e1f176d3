"""Where a dataset lies: a folder, a repository of the Hub, or a web server. Small files whole, shards by ranges.

On the Hub the revision is resolved once, so that all epochs read the same commit; a shard's redirect is followed once,
and again when the address it led to has expired. A connection that breaks is taken up at the byte where it broke.
"""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import urllib3

OPEN_FILES = 64  # kept open by one process
TRIES = 5
PAUSE_S = 0.2  # before the second try, then twice as long each time
TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
OK, PART, BEYOND_END, BUSY, BROKEN = 200, 206, 416, 429, 500
EXPIRED = (401, 403, 410)
GONE = (404, *EXPIRED)
Piece = tuple[int, int]
"""First byte and number of bytes."""


class BadShardError(ValueError):
    """A shard is missing, shorter than it should be, or another one."""


class Place(Protocol):
    """What the reader needs of it."""

    def text(self, name: str) -> str: ...
    def file(self, name: str, sha256: str) -> Path:
        """A local copy, whose hash the caller need not check again."""

    def removed(self) -> frozenset[str]: ...
    def read(self, shard: str, size_bytes: int, pieces: Sequence[Piece]) -> Iterator[bytes]:
        """The pieces, which follow each other, of a shard that should have `size_bytes`. BadShardError."""


def place_of(path: str | os.PathLike[str], revision: str | None, token: str | bool | None) -> Place:
    """`path` is a folder, `http(s)://...`, `hf://datasets/<owner>/<name>`, or just `<owner>/<name>` on the Hub."""
    text = os.fspath(path)
    if text.startswith(("http://", "https://")):
        return Web(text.rstrip("/"))
    if Path(text).is_dir():
        return Folder(Path(text))
    if match := re.fullmatch(r"(?:hf://datasets/)?([\w.-]+/[\w.-]+?)(?:@([^/]+))?/?", text):
        return Hub(match[1], revision or match[2], token)
    raise FileNotFoundError(f"{text} is no folder, no <owner>/<name> of the Hub, and no http:// or https:// address")


def checked(path: Path, sha256: str, where: object) -> Path:
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise BadShardError(f"{where}: {path.name} is not the one of manifest.json: fetch or publish both again")
    return path


@dataclass
class Folder:
    root: Path
    files: dict[str, int] = field(default_factory=dict)

    def text(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    def file(self, name: str, sha256: str) -> Path:
        return checked(self.root / name, sha256, self.root)

    def removed(self) -> frozenset[str]:
        from open_sora_dataset import removed

        return removed(str(self.root))

    def read(self, shard: str, size_bytes: int, pieces: Sequence[Piece]) -> Iterator[bytes]:
        file = self.files.get(shard) or self._open(shard, size_bytes)
        for start, size in pieces:
            data = os.pread(file, size, start)
            while len(data) < size and (more := os.pread(file, size - len(data), start + len(data))):
                data += more  # one call gives 2 GiB at most
            yield data

    def _open(self, shard: str, size_bytes: int) -> int:
        try:
            file = os.open(self.root / shard, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise BadShardError(f"{shard} is missing in {self.root}: fetch it again") from error
        if (found := os.fstat(file).st_size) != size_bytes:
            os.close(file)
            raise BadShardError(f"{shard} has {found} bytes, the manifest says {size_bytes}: fetch it again")
        self.files[shard] = file
        if len(self.files) > OPEN_FILES:
            os.close(self.files.pop(next(iter(self.files))))
        return file

    def close(self) -> None:
        while self.files:
            os.close(self.files.popitem()[1])

    __del__ = close

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "files": {}}


@dataclass
class Web:
    """`root` is the address that manifest.json lies under. Each process has connections of its own."""

    root: str
    process: int = 0
    pool: urllib3.PoolManager | None = None

    def address(self, name: str) -> str:
        return f"{self.root}/{quote(name)}"

    def text(self, name: str) -> str:
        return self._whole(name).decode()

    def file(self, name: str, sha256: str) -> Path:
        """Kept in the user's cache under its hash, for all ranks and later runs."""
        folder = Path(os.environ.get("OSD_CACHE") or Path.home() / ".cache/open-sora-dataset", "index")
        kept = folder / f"{sha256}-{Path(name).name}"
        if not kept.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                file.write(self._whole(name))
            try:
                checked(Path(file.name), sha256, self.root).replace(kept)
            finally:
                Path(file.name).unlink(missing_ok=True)
        return checked(kept, sha256, self.root)

    def removed(self) -> frozenset[str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            columns = pq.read_table(pa.BufferReader(self._whole("removed.parquet"))).to_pydict().values()
        except FileNotFoundError:
            return frozenset()
        return frozenset(value for column in columns for value in column if isinstance(value, str))

    def read(self, shard: str, size_bytes: int, pieces: Sequence[Piece]) -> Iterator[bytes]:
        last = pieces[-1][0] + pieces[-1][1] - 1
        tries, at = 0, pieces[0][0]
        answer = None
        for start, size in pieces:
            parts: list[bytes] = []
            end = start + size
            while at < end:
                try:
                    answer = answer or self._ask(shard, size_bytes, at, last)
                    data = answer.read((start if at < start else end) - at)
                    if not data:
                        raise ConnectionError("the answer ends early")
                except (urllib3.exceptions.HTTPError, OSError) as error:
                    tries += 1
                    if tries == TRIES:
                        raise ConnectionError(f"{self.address(shard)}: {error}; gave up after {TRIES} tries") from error
                    time.sleep(PAUSE_S * 2**tries)
                    answer, data = None, b""
                if at >= start:
                    parts.append(data)
                at += len(data)
            yield parts[0] if len(parts) == 1 else b"".join(parts)
        if answer:
            answer.release_conn()

    def _ask(self, shard: str, size_bytes: int, first: int, last: int) -> urllib3.BaseHTTPResponse:
        answer = self.get(shard, {"Range": f"bytes={first}-{last}"})
        if answer.status == PART and (told := CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))):
            if (int(told[1]), int(told[2])) == (first, size_bytes):
                return answer
            problem = f"has {told[2]} bytes, the manifest says {size_bytes}"
        else:
            known = {BEYOND_END: "is shorter than the index says", OK: "is given whole only: the server knows no Range"}
            known |= dict.fromkeys(GONE, "is missing")
            problem = known.get(answer.status, f"cannot be read (status {answer.status})")
        answer.close()
        if answer.status >= BROKEN or answer.status == BUSY:
            raise ConnectionError(f"{self.address(shard)}: status {answer.status} again and again")
        raise BadShardError(f"{shard} {problem} at {self.root}")

    def get(self, name: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        return self.ask(self.address(name), headers)

    def ask(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        if self.process != os.getpid() or self.pool is None:
            self.process, self.pool = os.getpid(), _pool(url)
        return self.pool.request("GET", url, headers={"Accept-Encoding": "identity", **headers}, preload_content=False)

    def _whole(self, name: str) -> bytes:
        answer = self.get(name, {})
        try:
            if answer.status != OK:
                wrong = FileNotFoundError if answer.status in GONE else ConnectionError
                raise wrong(f"{self.address(name)}: status {answer.status}")
            return answer.read()
        finally:
            answer.release_conn()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "process": 0, "pool": None}


def _pool(url: str) -> urllib3.PoolManager:
    """Through the proxy of the environment, if there is one for this address."""
    from urllib.request import getproxies, proxy_bypass

    parsed = urllib3.util.parse_url(url)
    again = urllib3.Retry(
        TRIES, backoff_factor=PAUSE_S, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False
    )
    options: dict[str, Any] = {"maxsize": 16, "retries": again, "timeout": TIMEOUT}
    proxy = None if proxy_bypass(parsed.host or "") else getproxies().get(parsed.scheme or "")
    return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)


class Hub(Web):
    """A dataset repository. The token goes to the Hub, not to where it redirects."""

    def __init__(self, repository: str, revision: str | None, token: str | bool | None) -> None:
        self.repository, self.token = repository, token
        self.revision = revision or "main"
        super().__init__(f"hf://datasets/{repository}@{self.revision}")
        self.found: dict[str, str] = {}

    @cached_property
    def commit(self) -> str:
        from huggingface_hub import HfApi, constants

        if constants.HF_HUB_OFFLINE or re.fullmatch(r"[0-9a-f]{40}", self.revision):
            return self.revision
        return str(HfApi(token=self.token).dataset_info(self.repository, revision=self.revision).sha)

    def text(self, name: str) -> str:
        return self._download(name).read_text(encoding="utf-8")

    def file(self, name: str, sha256: str) -> Path:
        return checked(self._download(name), sha256, self.root)

    def _download(self, name: str) -> Path:
        from huggingface_hub import hf_hub_download

        options: dict[str, Any] = {"repo_type": "dataset", "revision": self.commit, "token": self.token}
        return Path(hf_hub_download(self.repository, name, **options))

    def removed(self) -> frozenset[str]:
        from open_sora_dataset import removed

        return removed(f"hf://datasets/{self.repository}", token=self.token)

    def get(self, name: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        known = name in self.found
        answer = self._get(name, headers)
        if known and answer.status in EXPIRED:
            answer.close()
            del self.found[name]
            answer = self._get(name, headers)
        return answer

    def _get(self, name: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError
        from huggingface_hub.utils._headers import build_hf_headers

        url = hf_hub_url(self.repository, name, repo_type="dataset", revision=self.commit)
        if name not in self.found:
            try:
                self.found[name] = get_hf_file_metadata(url, token=self.token).location
            except EntryNotFoundError as error:
                raise BadShardError(f"{name} is missing at {self.root}") from error
        own = build_hf_headers(token=self.token) if self.found[name] == url else {}
        return self.ask(self.found[name], {**own, **headers})
