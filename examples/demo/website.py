"""The demo's web site, on the loopback interface only: a page, `list.csv` and the videos.

python examples/demo/website.py          serve http://127.0.0.1:8765/ until Ctrl-C
"""

import csv
import hashlib
import html
import io
import mimetypes
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import footage

HOST = "127.0.0.1"
PORT = int(os.environ.get("OSD_DEMO_PORT", "8765"))
CACHE = Path("runs/demo-site")
COLUMNS = ("url", "id", "license", "license_url", "author", "author_url", "title", "page_url", "tags")


@dataclass(frozen=True)
class Page:
    """One answer of the site."""

    content_type: str
    body: bytes

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


def list_csv(root: str) -> str:
    """What the `urls` source reads: a row for each video, with its licence and author."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for video in footage.VIDEOS:
        origin = video.origin
        owner = (origin.license, origin.license_url, origin.author, origin.author_url)
        url, page_url = f"{root}/videos/{video.file}", f"{root}/#{video.id}"
        writer.writerow((url, video.id, *owner, video.title, page_url, video.tags))
    return text.getvalue()


def index_html() -> str:
    items = "".join(
        f'<li id="{video.id}"><a href="/videos/{video.file}">{html.escape(video.title)}</a>, '
        f"{html.escape(video.origin.author)}, {video.origin.license}: {html.escape(video.shows)}</li>"
        for video in footage.VIDEOS
    )
    return f"<!doctype html><meta charset=utf-8><title>Demo videos</title><ul>{items}</ul>"


def pages(root: str, folder: Path) -> dict[str, Page]:
    """Everything the site answers, by path. All of it is in memory: a few megabytes."""
    site = {
        "/": Page("text/html; charset=utf-8", index_html().encode()),
        "/robots.txt": Page("text/plain", b"User-agent: *\nAllow: /\n"),
        "/list.csv": Page("text/csv; charset=utf-8", list_csv(root).encode()),
    }
    for video in footage.VIDEOS:
        kind = mimetypes.guess_type(video.file)[0] or "application/octet-stream"
        site[f"/videos/{video.file}"] = Page(kind, (folder / video.file).read_bytes())
    return site


class Server(ThreadingHTTPServer):
    """Bound on the loopback interface as soon as it is made; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, port: int = PORT) -> None:
        super().__init__((HOST, port), Handler)
        self.root = f"http://{HOST}:{self.server_port}"
        self.site: dict[str, Page] = {}


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD, whole or from a byte on (`Range: bytes=N-`), so that a download can go on."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.wfile.write(self.head())

    def do_HEAD(self) -> None:
        self.head()

    def head(self) -> bytes:
        """Send status and headers; return the body that belongs to them."""
        assert isinstance(self.server, Server)
        page = self.server.site.get(self.path.partition("?")[0])
        if page is None:
            return self.start(HTTPStatus.NOT_FOUND, "text/plain", b"no such page\n")
        start = self.first_byte(page)
        if start >= len(page.body) > 0:
            size = {"Content-Range": f"bytes */{len(page.body)}"}
            return self.start(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "text/plain", b"", size)
        extra = {"ETag": page.etag, "Accept-Ranges": "bytes"}
        if start:
            extra["Content-Range"] = f"bytes {start}-{len(page.body) - 1}/{len(page.body)}"
            return self.start(HTTPStatus.PARTIAL_CONTENT, page.content_type, page.body[start:], extra)
        return self.start(HTTPStatus.OK, page.content_type, page.body, extra)

    def first_byte(self, page: Page) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        current = self.headers.get("If-Range") in (None, page.etag)
        return int(asked[1]) if asked and current else 0

    def start(
        self, status: HTTPStatus, content_type: str, body: bytes, extra: Mapping[str, str] | None = None
    ) -> bytes:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, **(extra or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return body

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the demo's own output is what the user reads."""


@contextmanager
def serving(server: Server, cache: Path = CACHE) -> Iterator[str]:
    """Serve from a thread of this process, which takes the site with it when it dies; yields the root URL."""
    server.site.update(pages(server.root, footage.ensure(cache)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.root
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


if __name__ == "__main__":
    with serving(Server(int(sys.argv[1]) if sys.argv[1:] else PORT)) as root:
        print(f"{root}/list.csv")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("stopped")
