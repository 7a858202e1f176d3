"""Downloads that go on where they broke off: in this attempt, in the next one, and after a kill.

Beside the part file lies a note that says what its bytes are the beginning of (`ETag` or `Last-Modified`). They are
only ever added to if the server says, for the very same thing, that it continues at their end.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx2

from builder.digests import utc_now
from builder.errors import ItemError
from builder.storage import telling_of_full_disk
from builder.web.address import shown
from builder.web.answers import Later, steady
from builder.web.client import Client
from builder.web.state import boot, is_at, lock, parsed

SNIFF_BYTES = 512
WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<script", b"<!--")
RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.ASCII)
READ_BYTES = 1 << 20
ENCODINGS = ("", "identity")
DOUBTFUL = ("truncated", "not_video", "empty_body", "wrong_hash")  # what a file may be whose end was lost
NOTED: Mapping[str, type] = {"url": str, "validators": dict, "total_bytes": int, "boot": str, "synced": int}


@dataclass(frozen=True)
class Wanted:
    """What is known of the file beforehand. `check` looks at all of it and raises ItemError; it is told whether the
    server has said how long the file is, so that none of it can be missing."""

    sha256: str = ""
    check: Callable[[Path, bool], None] = lambda path, whole: None


@dataclass(frozen=True)
class Download:
    """What came over the wire. `retrieved_at` is UTC, to the second."""

    size_bytes: int
    sha256: str
    etag: str
    last_modified: str
    retrieved_at: str


@dataclass
class Part:
    """The bytes there are of a file, and the validators of what they are the beginning of."""

    file: BinaryIO
    note: Path
    url: str
    validators: Mapping[str, str]
    size_bytes: int = 0
    total_bytes: int = 0  # 0: the server does not say
    hashed: Any = None
    joined: bool = False  # of what several answers brought
    ended: bool = False  # the last answer said where it ends, and came that far

    @classmethod
    def found(cls, file: BinaryIO, path: Path, url: str) -> "Part":
        """What an earlier attempt left; nothing if it was of another URL, or cannot be continued."""
        part = cls(file, path.with_suffix(".note"), hashlib.sha256(url.encode()).hexdigest(), {})
        known = noted(part.note)
        if known.get("url") != part.url or not strong(known["validators"]):
            part.restart({}, 0)
            return part
        part.validators, part.total_bytes, part.hashed = known["validators"], known["total_bytes"], hashlib.sha256()
        if known["boot"] != boot() or not boot():  # of what was not synced then, nothing but the length may be there
            file.truncate(min(file.seek(0, 2), known["synced"]))
        file.seek(0)
        while chunk := file.read(READ_BYTES):
            part.hashed.update(chunk)
            part.size_bytes += len(chunk)
        part.joined = part.size_bytes > 0
        return part

    @property
    def whole(self) -> bool:
        """Nothing of it can be missing."""
        return self.size_bytes == self.total_bytes if self.total_bytes else self.ended

    def write_note(self, synced_bytes: int) -> None:
        known = {"url": self.url, "validators": dict(self.validators), "total_bytes": self.total_bytes}
        self.note.write_text(json.dumps(known | {"boot": boot(), "synced": synced_bytes}))

    def restart(self, validators: Mapping[str, str], total_bytes: int) -> None:
        """Begin anew, with what a server now says of the file."""
        self.file.seek(0)
        self.file.truncate()
        self.validators, self.total_bytes, self.size_bytes = validators, total_bytes, 0
        self.hashed, self.joined, self.ended = hashlib.sha256(), False, False
        self.write_note(0)

    def add(self, chunk: bytes) -> None:
        self.hashed.update(chunk)
        self.file.write(chunk)
        self.size_bytes += len(chunk)

    def keep(self) -> None:
        """For another day: let what there is survive a power cut, too."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.write_note(self.size_bytes)

    def headers(self) -> dict[str, str]:
        """To ask for the rest, if it still is the same file."""
        validator = strong(self.validators)
        return {"Range": f"bytes={self.size_bytes}-", "If-Range": validator} if self.size_bytes and validator else {}


def noted(note: Path) -> dict[str, Any]:
    """What a note says; empty if it is none."""
    try:
        known = parsed(note.read_bytes())
    except OSError:
        return {}
    right = all(isinstance(known.get(name), kind) for name, kind in NOTED.items())
    return known if right and all(isinstance(text, str) for text in known["validators"].values()) else {}


def download(client: Client, url: str, file: BinaryIO, path: Path, wanted: Wanted) -> Download:
    """Complete the part file `path`, which `exclusive` opened as `file`.

    Raises:
        ItemError: as `Client.open` does, and `too_large`, `too_slow`, `wrong_range`, `empty_body`, `web_page`,
            `wrong_hash`, or what `wanted.check` raises; retryable if it may pass.
    """
    part = Part.found(file, path, url)

    def attempt() -> Download:
        if not (part.total_bytes and part.whole):
            receive(client, url, part)
        file.flush()
        return checked(part, url, wanted, path)

    try:
        return client.tried(attempt)
    except ItemError as error:
        if error.retryable and strong(part.validators) and part.size_bytes:
            part.keep()
        else:
            part.restart({}, 0)  # nothing that could be gone on with
        raise


@contextmanager
def exclusive(path: Path) -> Iterator[BinaryIO]:
    """The part file at `path` for this process alone, made if there is none; another run waits until it is let go.

    Whoever has made use of the whole file moves it away, or empties it.

    Raises:
        RunError: the disk became full meanwhile.
    """
    with lock(path, fcntl.LOCK_EX, mode=0o644) as descriptor:
        assert descriptor is not None  # it was waited for
        with telling_of_full_disk(path), os.fdopen(os.dup(descriptor), "r+b") as file:
            try:
                yield file
            finally:
                if not (ours := is_at(path, descriptor)) or not file.seek(0, 2):
                    path.with_suffix(".note").unlink(missing_ok=True)
                    if ours:
                        path.unlink()


def receive(client: Client, url: str, part: Part) -> None:
    """Ask for what is missing, and write it."""
    part.ended = False
    with client.open(url, part.headers()) as response:
        if total_bytes := continues(response, part):
            part.total_bytes, part.joined = total_bytes, True
        elif response.status_code == httpx2.codes.OK:
            part.restart(validators_of(response), announced(response))
        else:
            part.restart({}, 0)  # not the file that was begun, or not from there: ask for all of it
            raise Later("wrong_range", f"{shown(url)} does not continue where it was asked to; retry", True)
        too_large(max(part.total_bytes, part.size_bytes), client, url)
        for chunk in steady(response.iter_bytes(), client.limits, url):
            client.meter.bytes(len(chunk))
            part.add(chunk)
            too_large(part.size_bytes, client, url)
            if part.size_bytes >= SNIFF_BYTES > part.size_bytes - len(chunk):
                check_no_page(part, url)
        part.ended = "Content-Length" in response.headers or "Transfer-Encoding" in response.headers


def continues(response: httpx2.Response, part: Part) -> int:
    """The size of the whole file if the body is the rest of the same one; 0 if it is not.

    An answer to `If-Range` must repeat the `ETag`, and may leave out `Last-Modified` (RFC 9110, 15.3.7).
    """
    told = RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code != httpx2.codes.PARTIAL_CONTENT or not told or encoded(response):
        return 0
    first, last, total_bytes = map(int, told.groups())
    etag, modified = (part.validators.get(name, "") for name in ("ETag", "Last-Modified"))
    same = response.headers.get("ETag", "") == etag and response.headers.get("Last-Modified", modified) == modified
    right = first == part.size_bytes and first <= last < total_bytes and part.total_bytes in (0, total_bytes)
    return total_bytes if same and right else 0


def checked(part: Part, url: str, wanted: Wanted, path: Path) -> Download:
    """The facts of a file that is complete. One that is not right is begun anew by the next attempt."""
    try:
        check_no_page(part, url)
        if part.total_bytes and not part.whole:
            raise Later("cut_short", f"{shown(url)} sent {part.size_bytes:,} of {part.total_bytes:,} bytes", True)
        if not part.size_bytes:
            raise ItemError("empty_body", f"{shown(url)} answered with 0 bytes; check the link")
        sha256 = part.hashed.hexdigest()
        if wanted.sha256 and wanted.sha256 != sha256:
            raise ItemError("wrong_hash", f"{shown(url)} has sha256 {sha256}, the list says {wanted.sha256}")
        wanted.check(path, part.whole)
    except ItemError as error:
        if isinstance(error, Later) and part.size_bytes < part.total_bytes:
            raise  # to be gone on with
        if part.joined or (not part.whole and error.kind in DOUBTFUL):
            error = Later(error.kind, error.message, True)  # the server may have joined two files, or lost the end
        part.restart({}, 0)
        raise error from error.__cause__
    etag, modified = (part.validators.get(name, "") for name in ("ETag", "Last-Modified"))
    return Download(part.size_bytes, sha256, etag, modified, utc_now())


def validators_of(response: httpx2.Response) -> dict[str, str]:
    found = {name: response.headers.get(name, "") for name in ("ETag", "Last-Modified")}
    return {} if encoded(response) else {name: value for name, value in found.items() if value}


def strong(validators: Mapping[str, str]) -> str:
    """What `If-Range` may hold: a weak ETag promises too little."""
    etag = validators.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else validators.get("Last-Modified", "")


def encoded(response: httpx2.Response) -> bool:
    """Packed on the way although nobody asked for it: lengths and ranges then count other bytes."""
    return response.headers.get("Content-Encoding", "").lower() not in ENCODINGS


def announced(response: httpx2.Response) -> int:
    """The size of the file, if the server says it: of a body in chunks a length would not count."""
    length = response.headers.get("Content-Length", "")
    counts = length.isdecimal() and not encoded(response) and "Transfer-Encoding" not in response.headers
    return int(length) if counts else 0


def too_large(size_bytes: int, client: Client, url: str) -> None:
    if size_bytes > client.limits.max_size_bytes:
        limit = f"{client.limits.max_size_bytes:,} bytes"
        raise ItemError("too_large", f"{shown(url)} is larger than {limit}; raise `web.max_size_bytes` and retry")


def check_no_page(part: Part, url: str) -> None:
    """Error and login pages often come with status 200; the declared type is wrong too often to go by."""
    part.file.seek(0)
    head = part.file.read(SNIFF_BYTES)
    part.file.seek(0, 2)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(WEB_PAGE):
        raise ItemError("web_page", f"{shown(url)} answered with a web page instead of a file; check the link")
