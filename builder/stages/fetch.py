"""Fetch: get hold of the bytes of every video found, hash them and read the header. Local files stay where they are."""

import dataclasses
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote_to_bytes

from builder.errors import ItemError
from builder.records import Fetched, Found, SourceVideo, content_id
from builder.stage import Context, Item, Stage, execution, settings

if TYPE_CHECKING:
    from builder.media.probe import Probe
    from builder.web.client import Client

SUFFIX = {"mov": "mp4", "matroska": "mkv", "mpeg": "mpg", "mpegts": "ts", "ogg": "ogv"}  # FFmpeg's name of a container
LISTED = frozenset(f.name for f in dataclasses.fields(Found)) - {"root", "path", "size_bytes", "mtime_ns"}
PROBED = ("container", "codec", "width", "height", "rotation", "fps", "duration_s", "has_audio")


@settings
class Fetch(Stage[Found, Fetched]):
    """Settings say how to download, never what: an answer is kept until `osd-build retry`.

    `contact` (a URL or an address) is shown to servers; `silence_s` without a byte is a timeout.
    """

    name: ClassVar[str] = "fetch"
    reads: ClassVar[str] = "find"
    writes: ClassVar[type[Fetched]] = Fetched
    grain: ClassVar[str] = "found"

    max_size_bytes: int = execution(4 << 30)
    silence_s: float = execution(60.0)
    deadline_s: float = execution(3600.0)
    attempts: int = execution(4)
    contact: str = execution("")

    @cached_property
    def client(self) -> "Client":
        from builder.web.client import Client, Limits

        limits = Limits(self.max_size_bytes, self.silence_s, self.deadline_s, self.attempts)
        return Client(limits, self.contact)

    def close(self) -> None:
        if "client" in vars(self):
            vars(self).pop("client").close()

    def each(self, item: Item[Found]) -> Sequence[Fetched]:
        return [self._local(item.row) if item.row.root else self._remote(item.row)]

    def _local(self, found: Found) -> Fetched:
        path, name = local_path(found.root, found.path, self.context), shown_path(found)
        content = read_through(path, name)
        return fetched(found, self._probe(path, name), root=found.root, path=found.path, **vars(content))

    def _remote(self, found: Found) -> Fetched:
        from builder.web.address import normalised, shown

        if not found.url:
            raise ItemError("bad_url", f"{found.path} has no url; add one, or take the row out")
        url, storage = normalised(found.url), self.context.storage
        with storage.scratch() as temporary:
            with temporary.open("w+b") as file:
                download = self.client.download(url, file)
            probe = self._probe(temporary, shown(url))
            video_id = content_id(download.sha256)
            name = f"media/videos/{video_id[:2]}/{video_id}.{SUFFIX.get(probe.container, probe.container)}"
            if size_of(storage.path(name)) != download.size_bytes:
                storage.adopt(temporary, name)
        return fetched(found, probe, root="", path=name, **vars(download))

    def _probe(self, path: Path, name: str) -> "Probe":
        """Read the header in the guarded process; what goes wrong is told of `name`, tables hold no real path."""
        from builder.media.probe import probe

        try:
            header: Probe = self.context.guard.call(probe, path)
            return header
        except ItemError as error:
            message = error.message.replace(f"file:{path}", name).replace(str(path), name)
            raise ItemError(error.kind, message, error.retryable) from error


def fetched(found: Found, probe: "Probe", **facts: Any) -> Fetched:
    """The row: what the source says, what the header says, and `facts` about the bytes."""
    listed = {name: getattr(found, name) for name in LISTED}
    probed = {name: getattr(probe, name) for name in PROBED}
    return Fetched(video_id=content_id(facts["sha256"]), **listed, **probed, **facts)


def open_media(video: SourceVideo, context: Context) -> Path:
    """The file of a video, for a stage that reads it, after a check that it still is what was crawled.

    Raises:
        ItemError: `missing`, `unreadable`, `changed`, or `no_such_source`.
    """
    own = not video.root
    path = context.storage.path(video.path) if own else local_path(video.root, video.path, context)
    with reading(name := shown_path(video)):
        now = path.stat()
        same = now.st_size == video.size_bytes
        if same and not own and now.st_mtime_ns != video.mtime_ns:
            same = sha256_of(path, now.st_size, now.st_mtime_ns) == video.sha256
    if not same:
        raise ItemError("changed", f"{name} has changed since it was crawled; run `osd-build crawl` again")
    return path


def local_path(root: str, path: str, context: Context) -> Path:
    """Where a file of a folder source is. `path` is as the folder source wrote it, %XX for bytes that are no text."""
    if root not in context.roots:
        raise ItemError("no_such_source", f"build.toml has no folder source {root!r} any more; add it, or crawl again")
    return context.roots[root] / os.fsdecode(unquote_to_bytes(path))


def shown_path(row: Found | SourceVideo) -> str:
    return f"{row.path!r} of source {row.root!r}" if row.root else repr(row.path)


@dataclass(frozen=True)
class Content:
    """What a local file holds."""

    size_bytes: int
    sha256: str
    mtime_ns: int


def size_of(path: Path) -> int:
    """In bytes; -1 if there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def read_through(path: Path, name: str) -> Content:
    """Hash a file that must not change meanwhile."""
    with reading(name):
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for ever
            raise ItemError("not_a_file", f"{name} is no regular file; take it out of the folder")
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ItemError("changed", f"{name} was being written while it was read; run again when it is finished", True)
    return Content(after.st_size, sha256, after.st_mtime_ns)


@lru_cache(maxsize=1024)
def sha256_of(path: Path, size_bytes: int, mtime_ns: int) -> str:
    """Remembered as long as size and mtime (part of the key) stay."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn a file that is not there, or not readable, into an ItemError."""
    try:
        yield
    except FileNotFoundError:
        text = f"{name} is not there; put it back (is its disk mounted?), then `osd-build retry`"
        raise ItemError("missing", text, retryable=True) from None
    except OSError as error:
        text = f"{name} cannot be read ({error.strerror}); `osd-build retry` tries again"
        raise ItemError("unreadable", text, retryable=True) from error
