"""Fetch: get hold of the bytes of every video found, hash them and read the header. Local files stay where they are."""

import dataclasses
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote_to_bytes

from builder.budget import Share, as_bytes
from builder.digests import content_id, short_hash
from builder.errors import ItemError
from builder.records import Failure, Fetched, Found, Listed, SourceVideo
from builder.stage import Context, Item, Stage, execution, settings
from builder.storage import Storage
from builder.web.address import shown, unsigned

if TYPE_CHECKING:
    from builder.media.probe import Probe

SUFFIX = {"mov": "mp4", "matroska": "mkv", "mpeg": "mpg", "mpegts": "ts", "ogg": "ogv"}  # FFmpeg's name of a container
LISTED = (*(f.name for f in dataclasses.fields(Listed)), "found_id", "source")
NOTES, PARTS = "fetch.notes", "fetch.parts"
PROBED = ("container", "codec", "width", "height", "rotation", "fps", "duration_s", "has_audio")


@settings
class Fetch(Stage[Found, Fetched]):
    """Download each video, hash it, read its header.

    `budget` ("2 TB") is what downloads may take of the disk, unfinished ones included; when it is used up, the crawl
    waits.
    """

    name: ClassVar[str] = "fetch"
    section: ClassVar[str] = "storage"
    reads: ClassVar[str] = "admit"
    writes: ClassVar[type[Fetched]] = Fetched
    grain: ClassVar[str] = "found"
    batch_size: ClassVar[int] = 1 << 20  # a unit: what is finished of it is noted in files of its own

    budget: str = execution(default="")

    def __post_init__(self) -> None:
        as_bytes(self.budget)

    def setup(self) -> None:
        vars(self)["_probing"] = Lock()  # the decoder is one process
        vars(self)["_share"] = Share(self.context.storage, as_bytes(self.budget), self.context.meter)

    def files(self, row: Fetched) -> Mapping[str, int]:
        return {} if row.root else {row.path: row.size_bytes}

    def batch(self, items: Sequence[Item[Found]]) -> list[Sequence[Fetched] | Failure]:
        pool = ThreadPoolExecutor(max_workers=min(len(items), self.context.limits.connections))
        try:
            return list(pool.map(self._told, items))
        finally:
            pool.shutdown(cancel_futures=True)
            self.context.meter.flush()

    def each(self, item: Item[Found]) -> Sequence[Fetched]:
        return [self._local(item.row) if item.row.root else self._remote(item.row)]

    def _told(self, item: Item[Found]) -> Sequence[Fetched] | Failure:
        answer = self.answer(item.id, partial(self.each, item))
        self.context.meter.file(answer.kind if isinstance(answer, Failure) else "kept")
        return answer

    def _local(self, found: Found) -> Fetched:
        path, name = local_path(found.root, found.path, self.context), shown_path(found)
        with reading(name):
            now = path.stat()
        facts = {"path": found.path, "size_bytes": now.st_size, "mtime_ns": now.st_mtime_ns}
        known = noted(self.context.storage, found.id)
        if not known or facts != {key: known.get(key) for key in facts}:
            size_bytes, mtime_ns, sha256 = read_through(path, name)
            known = {"path": found.path, "size_bytes": size_bytes, "mtime_ns": mtime_ns, "sha256": sha256}
            self._note(found, known)
        return fetched(found, self._probe(path, name), root=found.root, **known)

    def _remote(self, found: Found) -> Fetched:
        if not found.url:
            if found.site:
                raise ItemError("no_file", f"{found.path}: the site offers no file of it that can be fetched")
            raise ItemError("bad_url", f"{found.path}: no URL to fetch; correct the row, or take it out")
        facts, probe = self._known(found) or self._download(found)
        return fetched(found, probe, root="", **{name: facts[name] for name in facts if name != "address"})

    def _download(self, found: Found) -> tuple[dict[str, Any], "Probe"]:
        """Get the file under the name that its content gives it, and note down what was got."""
        from builder.web.download import Wanted, download, exclusive

        storage, probes = self.context.storage, list["Probe"]()
        part = storage.path(f"{PARTS}/{found.id[:2]}/{found.id}.part")

        def check(path: Path, whole: bool) -> None:
            probes.append(self._probe(path, shown(found.url), complete=not whole))

        with exclusive(part) as file, vars(self)["_share"].of(found.size_bytes, part):
            if known := self._known(found):  # another run got it meanwhile
                return known
            source = self.context.sources.get(found.source)
            url = source.media_url(found, self.context) if source else found.url
            got = download(self.context.client, url, file, part, Wanted(found.listed_sha256, check))
            video_id, container = content_id(got.sha256), probes[-1].container
            path = f"media/videos/{video_id[:2]}/{video_id}.{SUFFIX.get(container, container)}"
            facts = {"path": path, "address": short_hash(unsigned(found.url)), **vars(got)}
            self._note(found, facts)  # before the file: a kill in between leaves the part, complete
            if self._has(path, got.size_bytes):
                file.truncate(0)
            else:
                storage.adopt(part, path)
        return facts, probes[-1]

    def _known(self, found: Found) -> tuple[dict[str, Any], "Probe"] | None:
        """What an earlier download of this URL gave: a kill or an edited licence fetches nothing twice."""
        facts = noted(self.context.storage, found.id)
        same = facts.get("address") == short_hash(unsigned(found.url))
        if not same or not self._has(facts["path"], facts["size_bytes"]):
            return None
        return facts, self._probe(self.context.storage.path(facts["path"]), shown(found.url))

    def _note(self, found: Found, facts: Mapping[str, Any]) -> None:
        self.context.storage.write(note_of(found.id), json.dumps(facts, indent=1).encode())

    def _has(self, path: str, size_bytes: int) -> bool:
        file = self.context.storage.path(path)
        return file.is_file() and file.stat().st_size == size_bytes

    def _probe(self, path: Path, name: str, complete: bool = False) -> "Probe":
        from builder.media.probe import probe

        with vars(self)["_probing"], telling_of(path, name):
            return self.context.guard.call(probe, path, complete)


def note_of(found_id: str) -> str:
    return f"{NOTES}/{found_id[:2]}/{found_id}.json"


def noted(storage: Storage, found_id: str) -> dict[str, Any]:
    """What was noted of the file that was fetched for a row; empty if none was."""
    try:
        facts = json.loads(storage.read(note_of(found_id)))
    except (FileNotFoundError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


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
    if not same and own:
        text = f"our copy of {name} is damaged; `osd-build retry RUN` has it fetched again"
        raise ItemError("changed", text, retryable=True)
    if not same:
        raise ItemError("changed", f"{name} has changed since it was crawled; run `osd-build crawl RUN` again")
    return path


def local_path(root: str, path: str, context: Context) -> Path:
    """Where a file of a folder source is. `path` is as the folder source wrote it, %XX for bytes that are no text."""
    if root not in context.roots:
        raise ItemError("no_such_source", f"build.toml has no folder source {root!r} any more; add it, or crawl again")
    return context.roots[root] / os.fsdecode(unquote_to_bytes(path))


def shown_path(row: Found | SourceVideo) -> str:
    """For messages and tables, which hold no real path: where a user knows the video from."""
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
