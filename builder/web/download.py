"""Downloads that go on where they broke off: in this attempt, in the next one, and after a kill.

Beside the part file lies a note that says what its bytes are the beginning of (`ETag` or `Last-Modified`). They are
only ever added to if the server says, for the very same thing, that it continues at their end.
"""

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx2

from builder.errors import ItemError
from builder.records import utc_now
from builder.web.address import shown
from builder.web.client import Client, Later, told_plainly

SNIFF_BYTES = 512
WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<script", b"<!--")
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
READ_BYTES = 1 << 20
ENCODINGS = ("", "identity")


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
    whole: bool = False  # the server sent it with its length, and all of it is there

    @classmethod
    def found(cls, file: BinaryIO, path: Path, url: str) -> "Part":
        """What an earlier attempt left; nothing if it was of another URL, or cannot be continued."""
        part = cls(file, path.with_suffix(".note"), hashlib.sha256(url.encode()).hexdigest(), {})
        try:
            known = json.loads(part.note.read_text())
        except (OSError, ValueError):
            known = {}
        if known.get("url") != part.url or not strong(known.get("validators", {})):
            part.restart({}, 0)
            return part
        part.validators, part.total_bytes = known["validators"], known["total_bytes"]
        part.hashed = hashlib.sha256()
        file.seek(0)
        while chunk := file.read(READ_BYTES):
            part.hashed.update(chunk)
            part.size_bytes += len(chunk)
        return part

    def restart(self, validators: Mapping[str, str], total_bytes: int) -> None:
        """Begin anew, with what a server now says of the file."""
        self.file.seek(0)
        self.file.truncate()
        self.validators, self.total_bytes, self.size_bytes = validators, total_bytes, 0
        self.hashed, self.whole = hashlib.sha256(), False
        known = {"url": self.url, "validators": dict(validators), "total_bytes": total_bytes}
        self.note.write_text(json.dumps(known))

    def add(self, chunk: bytes) -> None:
        self.hashed.update(chunk)
        self.file.write(chunk)
        self.size_bytes += len(chunk)

    def headers(self) -> dict[str, str]:
        """To ask for the rest, if it still is the same file."""
        validator = strong(self.validators)
        return {"Range": f"bytes={self.size_bytes}-", "If-Range": validator} if self.size_bytes and validator else {}


def download(client: Client, url: str, file: BinaryIO, path: Path, wanted: Wanted) -> Download:
    """Complete the part file `path`, which `exclusive` opened as `file`.

    Raises:
        ItemError: as `Client.open` does, and `too_large`, `too_slow`, `wrong_range`, `empty_body`, `web_page`,
            `wrong_hash`, or what `wanted.check` raises; retryable if it may pass.
    """
    part = Part.found(file, path, url)

    def attempt() -> Download:
        if not (part.total_bytes and part.size_bytes == part.total_bytes):
            receive(client, url, part)
        file.flush()
        return checked(part, url, wanted, path)

    try:
        got = client.tried(attempt)
    except ItemError as error:
        if not error.retryable or not strong(part.validators):
            part.restart({}, 0)  # nothing that could be gone on with
        raise
    part.note.unlink(missing_ok=True)
    return got


@contextmanager
def exclusive(path: Path) -> Iterator[BinaryIO]:
    """The part file at `path` for this process alone, made if there is none; another run waits until it is let go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(
                path.stat(), os.fstat(file.fileno())
            ):  # else the one before us has moved it away
                try:
                    yield file
                finally:
                    if path.exists() and not file.seek(0, 2):
                        path.unlink()
                        path.with_suffix(".note").unlink(missing_ok=True)
                return


def receive(client: Client, url: str, part: Part) -> None:
    """Ask for what is missing, and write it."""
    with client.open(url, part.headers()) as response, told_plainly(url):
        if not continues(response, part):
            if response.status_code != httpx2.codes.OK:
                part.restart({}, 0)  # not the file that was begun, or not from there: ask for all of it
                raise Later("wrong_range", f"{shown(url)} does not continue where it was asked to; retry", True)
            part.restart(validators_of(response), announced(response))
        too_large(max(part.total_bytes, part.size_bytes), client, url)
        for chunk in steady(response.iter_bytes(), client, url):
            client.meter.bytes(len(chunk))
            part.add(chunk)
            too_large(part.size_bytes, client, url)
            if part.size_bytes >= SNIFF_BYTES > part.size_bytes - len(chunk):
                check_no_page(part, url)
        part.whole = "Content-Length" in response.headers or "Transfer-Encoding" in response.headers


def continues(response: httpx2.Response, part: Part) -> bool:
    """Whether the body is the rest of the same file."""
    told = RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code != httpx2.codes.PARTIAL_CONTENT or not told:
        return False
    same = all(response.headers.get(name, value) == value for name, value in part.validators.items())
    right = part.total_bytes in (0, int(told[2])) and not encoded(response)
    return same and right and int(told[1]) == part.size_bytes


def checked(part: Part, url: str, wanted: Wanted, path: Path) -> Download:
    """The facts of a file that is complete. One that is not whole is begun anew by the next attempt."""
    try:
        check_no_page(part, url)
        if not part.size_bytes:
            raise Later("empty_body", f"{shown(url)} answered with 0 bytes; check the link", True)
        if part.total_bytes and part.size_bytes != part.total_bytes:
            raise Later("cut_short", f"{shown(url)} sent {part.size_bytes:,} of {part.total_bytes:,} bytes", True)
        sha256 = part.hashed.hexdigest()
        if wanted.sha256 and wanted.sha256 != sha256:
            raise ItemError("wrong_hash", f"{shown(url)} has sha256 {sha256}, the list says {wanted.sha256}")
        try:
            wanted.check(path, part.whole)
        except ItemError as error:
            if part.whole or error.kind not in ("truncated", "not_video"):
                raise
            # Sent without a length, so its end may have been lost on the way.
            raise Later(error.kind, error.message, True) from error
    except ItemError:
        if part.size_bytes >= part.total_bytes:
            part.restart({}, 0)
        raise
    etag, modified = (part.validators.get(name, "") for name in ("ETag", "Last-Modified"))
    return Download(part.size_bytes, sha256, etag, modified, utc_now())


def steady(chunks: Iterator[bytes], client: Client, url: str) -> Iterator[bytes]:
    """The chunks, as long as they come at the least rate."""
    limits = client.limits
    since, arrived = time.monotonic(), 0
    for chunk in chunks:
        yield chunk
        arrived += len(chunk)
        lasted_s = time.monotonic() - since
        if lasted_s >= limits.slow_s:
            if arrived < limits.min_bytes_per_s * lasted_s:
                text = f"{shown(url)} came at {arrived / lasted_s:,.0f} bytes/s, less than `web.min_bytes_per_s`"
                raise Later("too_slow", f"{text}; `osd-build retry RUN` goes on with it", True)
            since, arrived = time.monotonic(), 0


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
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and not encoded(response) else 0


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
