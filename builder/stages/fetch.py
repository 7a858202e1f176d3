"""Fetch: get hold of the bytes of every video found, hash them and read the header. Local files stay where they are."""

import dataclasses
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    """Settings say how to download, never what: an answer is kept until `osd-build retry RUN`.

    `contact` (a URL or an address) is shown to servers; `silence_s` without a byte is a timeout.
    """

    name: ClassVar[str] = "fetch"
    reads: ClassVar[str] = "find"
    writes: ClassVar[type[Fetched]] = Fetched
    grain: ClassVar[str] = "found"

    max_size_bytes: int = execution(default=4 << 30)
    silence_s: float = execution(default=60.0)
    deadline_s: float = execution(default=3600.0)
    attempts: int = execution(default=4)
    contact: str = execution(default="")

    @cached_property
    def client(self) -> "Client":
        from builder.web.client import Client, Limits

        limits = Limits(self.max_size_bytes, self.silence_s, self.deadline_s, self.attempts)
        return Client(limits, self.contact)

    def files(self, row: Fetched) -> Mapping[str, int]:
        return {} if row.root else {row.path: row.size_bytes}

    def close(self) -> None:
        if "client" in vars(self):
            vars(self).pop("client").close()

    def each(self, item: Item[Found]) -> Sequence[Fetched]:
        return [self._local(item.row) if item.row.root else self._remote(item.row)]

    def _local(self, found: Found) -> Fetched:
        path, name = local_path(found.root, found.path, self.context), shown_path(found)
        size_bytes, mtime_ns, sha256 = read_through(path, name)
        facts = {"path": found.path, "size_bytes": size_bytes, "mtime_ns": mtime_ns, "sha256": sha256}
        return fetched(found, self._probe(path, name), root=found.root, **facts)

    def _remote(self, found: Found) -> Fetched:
        from builder.web.address import normalised, shown

        if not found.url:
            raise ItemError("bad_url", f"{found.path} has no url; add one, or take the row out")
        url, note = normalised(found.url), f"fetch.downloads/{found.id[:2]}/{found.id}.json"
        facts = self._known(note) or self._download(url, note)
        probe = self._probe(self.context.storage.path(facts["path"]), shown(url))
        return fetched(found, probe, root="", **facts)

    def _known(self, note: str) -> dict[str, Any] | None:
        """What an earlier download of this URL gave: a kill or an edited licence fetches nothing twice."""
        try:
            facts: dict[str, Any] = json.loads(self.context.storage.read(note))
        except FileNotFoundError:
            return None
        return facts if self._has(facts["path"], facts["size_bytes"]) else None

    def _download(self, url: str, note: str) -> dict[str, Any]:
        """Get the file under the name that its content gives it, then note down what was got."""
        from builder.web.address import shown

        storage = self.context.storage
        with storage.scratch() as temporary:
            with temporary.open("w+b") as file:
                download = self.client.download(url, file)
            container = self._probe(temporary, shown(url)).container
            video_id = content_id(download.sha256)
            path = f"media/videos/{video_id[:2]}/{video_id}.{SUFFIX.get(container, container)}"
            if not self._has(path, download.size_bytes):
                storage.adopt(temporary, path)
        facts = {"path": path, **vars(download)}
        storage.write(note, json.dumps(facts, indent=1).encode())
        return facts

    def _has(self, path: str, size_bytes: int) -> bool:
        file = self.context.storage.path(path)
        return file.is_file() and file.stat().st_size == size_bytes

    def _probe(self, path: Path, name: str) -> "Probe":
        from builder.media.probe import probe

        with telling_of(path, name):
            return self.context.guard.call(probe, path)


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
    own, name = not video.root, shown_path(video)
    path = context.storage.path(video.path) if own else local_path(video.root, video.path, context)
    with reading(name):
        now = path.stat()
        same = now.st_size == video.size_bytes
        if same and not own and now.st_mtime_ns != video.mtime_ns:
            same = sha256_of(path, now.st_size, now.st_mtime_ns) == video.sha256
    if not same:
        text = f"{name} has changed since it was crawled; run `osd-build crawl RUN` again"
        raise ItemError("changed", f"{text}, after removing `fetch` from the run" if own else text)
    return path


def local_path(root: str, path: str, context: Context) -> Path:
    """Where a file of a folder source is. `path` is as the folder source wrote it, %XX for bytes that are no text."""
    if root not in context.roots:
        raise ItemError("no_such_source", f"build.toml has no folder source {root!r} any more; add it, or crawl again")
    return context.roots[root] / os.fsdecode(unquote_to_bytes(path))


def shown_path(row: Found | SourceVideo) -> str:
    """For messages and tables, which hold no real path: where a user knows the video from."""
    from builder.web.address import shown

    return f"{row.path!r} of source {row.root!r}" if row.root else shown(row.url)


def read_through(path: Path, name: str) -> tuple[int, int, str]:
    """Size in bytes, mtime in ns and sha256 of a file that must not change meanwhile."""
    with reading(name):
        before = path.stat()
        if not stat.S_ISREG(before.st_mode):  # to open a pipe would wait for ever
            text = f"{name} is a folder without read permission, or a pipe; open it up or take it out"
            raise ItemError("not_a_file", text)
        sha256 = sha256_of(path, before.st_size, before.st_mtime_ns)
        after = path.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        text = f"{name} was being written while it was read; `osd-build retry RUN` when it is finished"
        raise ItemError("changed", text, retryable=True)
    return after.st_size, after.st_mtime_ns, sha256


@lru_cache(maxsize=1024)
def sha256_of(path: Path, size_bytes: int, mtime_ns: int) -> str:
    """Remembered as long as size and mtime, parts of the key, stay."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def telling_of(path: Path, name: str) -> Iterator[None]:
    """Let what goes wrong inside be told of `name`: tables hold no real path."""
    try:
        yield
    except ItemError as error:
        message = error.message.replace(f"file:{path}", name).replace(str(path), name)
        raise ItemError(error.kind, message, error.retryable) from error


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn a file that is not there, or not readable, into an ItemError."""
    try:
        yield
    except FileNotFoundError:
        text = f"{name} is not there; put it back (is its disk mounted?), then `osd-build retry RUN`"
        raise ItemError("missing", text, retryable=True) from None
    except OSError as error:
        text = f"{name} cannot be read ({error.strerror}); `osd-build retry RUN` tries again"
        raise ItemError("unreadable", text, retryable=True) from error
