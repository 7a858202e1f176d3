"""Three stock sites on the loopback interface, with their media: the shapes of Pexels, Pixabay and Mixkit in 2026.

Point the sources at it with `api = URL` (pexels, pixabay) or `address = URL` (mixkit). All its URLs are its own.
`python tests/stock_sites.py 100` serves 100 videos of each until it is interrupted.
"""

import hashlib
import json
import math
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from loopback import Answer, video

if TYPE_CHECKING:
    import pytest

    from builder.stage import Context

KEYS = {"pexels": "pexels-test-key", "pixabay": "pixabay-test-key"}
FIRST_ID = {"pexels": 1_000_001, "pixabay": 2_000_001, "mixkit": 3_000_001}
SIZES = {"large": (128, 96), "medium": (64, 48)}  # of each video: width and height
WORDS = ("sea", "roof", "snow", "road", "cat", "cloud", "river")
REACHABLE, A_PAGE = 500, 24  # Pixabay's answers to one query; Mixkit's videos on a page
CHUNK = 16 << 10
PICTURE = cache(video)


class Request(NamedTuple):
    at_s: float  # time.monotonic
    path: str  # with the query, and so with Pixabay's key
    headers: Mapping[str, str]


@dataclass
class StockSites:
    """`videos` of each site. `padding` bytes make each file larger, `pause_s` is waited after each 16 KiB of one.

    `answers` replaces what a path, with or without its query, gets. The page of a Mixkit video whose number is `broken`
    names no file, that of a `restricted` one has the other licence. Pictures repeat, files never do.
    """

    videos: int = 10
    frames: int = 6
    padding: int = 0
    pause_s: float = 0.0
    port: int = 0
    restricted: frozenset[int] = frozenset()
    broken: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[Request] = []
        self.lock = Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), partial(Handler, self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def asked(self, start: str = "/") -> list[str]:
        """The paths asked for that begin so, in order."""
        return [request.path for request in self.requests if request.path.startswith(start)]

    def answer(self, path: str, headers: Mapping[str, str]) -> Answer:
        with self.lock:
            self.requests.append(Request(time.monotonic(), path, headers))
        place, query = urlsplit(path).path, {k: v[0] for k, v in parse_qs(urlsplit(path).query).items()}
        if given := self.answers.get(path) or self.answers.get(place):
            return given
        routes = {"/v1/": self.pexels, "/api/videos/": self.pixabay, "/media/": self.media, "/robots.txt": robots}
        routes |= {"/free-stock-video/download/": self.mixkit_download, "/free-stock-video/": self.mixkit}
        return next((routes[start] for start in routes if place.startswith(start)), not_here)(place, query, headers)

    # -- media
    def media(self, place: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """/media/SITE/ID/SIZE.mp4"""
        _, _, site, number, name = [*place.split("/"), "", ""][:5]
        n, size = int(number or 0) - FIRST_ID.get(site, 0), name.removesuffix(".mp4")
        if not 0 <= n < self.videos or size not in SIZES:
            return not_here()
        body = self.media_bytes(site, n, size)
        return Answer(body, headers={"Content-Type": "video/mp4", "ETag": f'"{hashlib.sha1(body).hexdigest()}"'})

    def media_url(self, site: str, n: int, size: str) -> str:
        return f"{self.url}/media/{site}/{FIRST_ID[site] + n}/{size}.mp4"

    def media_bytes(self, site: str, n: int, size: str) -> bytes:
        return padded(PICTURE(n % len(WORDS), self.frames, SIZES[size]), f"{site} {n}", self.padding)

    def file(self, site: str, n: int, size: str, url: str) -> dict[str, Any]:
        """As Pexels and Pixabay describe one; `url` is what they call its address."""
        width, height = SIZES[size]
        length = len(self.media_bytes(site, n, size))
        return {url: self.media_url(site, n, size), "width": width, "height": height, "size": length}

    def page_of(self, query: Mapping[str, str], most: int, total: int) -> tuple[int, int, range]:
        page, a_page = int(query.get("page", 1)), min(most, int(query.get("per_page", 15)))
        return page, a_page, range(total)[(page - 1) * a_page : page * a_page]

    # -- Pexels
    def pexels(self, place: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        if headers.get("Authorization") != KEYS["pexels"]:
            return Answer(b'{"error": "Unauthorized"}', 401, {"Content-Type": "application/json"})
        page, a_page, these = self.page_of(query, 80, self.videos)
        name = "media" if place.startswith("/v1/collections/") else "videos"
        kind = {"type": "Video"} if name == "media" else {}
        videos = [kind | self.pexels_video(n) for n in these]
        listed: dict[str, Any] = {"page": page, "per_page": a_page, name: videos}
        listed |= {"total_results": self.videos, "url": "https://api-server.pexels.com/search/videos/sea/"}
        if page * a_page < self.videos:
            listed["next_page"] = f"{self.url}{place}?{urlencode({**query, 'page': page + 1})}"
        limits = {"X-Ratelimit-Limit": "20000", "X-Ratelimit-Remaining": "19999", "X-Ratelimit-Reset": "1900000000"}
        return as_json(listed, limits)

    def pexels_video(self, n: int) -> dict[str, Any]:
        number = FIRST_ID["pexels"] + n
        files = [self.file("pexels", n, size, "link") for size in reversed(SIZES)]
        more = {"quality": None, "file_type": "video/mp4", "fps": 10}
        return {
            **{"id": number, "width": files[-1]["width"], "height": files[-1]["height"], "duration": 1},
            **{"url": f"{self.url}/video/{slug(n)}-{number}/", "tags": [], "full_res": None, "avg_color": None},
            "user": {"id": n, "name": f"Ann  Author{n}", "url": f"{self.url}/@ann-{n}"},
            "video_files": [{"id": number * 10 + i} | more | file for i, file in enumerate(files)],
        }

    # -- Pixabay
    def pixabay(self, place: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        if query.get("key") != KEYS["pixabay"]:
            return Answer(b"[ERROR 400] Invalid or missing API key (https://pixabay.com/api/docs/).", 400)
        reachable = min(self.videos, REACHABLE)
        page, a_page, these = self.page_of({"per_page": "20", **query}, 200, reachable)
        if page > max(1, math.ceil(reachable / a_page)):
            return Answer(b'[ERROR 400] "page" is out of valid range.', 400)
        hits = [self.pixabay_video(n) for n in these]
        limits = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "99", "X-RateLimit-Reset": "60"}
        return as_json({"total": self.videos, "totalHits": reachable, "hits": hits}, limits)

    def pixabay_video(self, n: int) -> dict[str, Any]:
        number = FIRST_ID["pixabay"] + n
        files = {size: self.file("pixabay", n, size, "url") | {"thumbnail": ""} for size in SIZES}
        none = {"url": "", "width": 0, "height": 0, "size": 0, "thumbnail": ""}
        return {
            **{"id": number, "pageURL": f"{self.url}/videos/id-{number}/", "type": "film", "duration": 1},
            **{"tags": f"{WORDS[n % len(WORDS)]}, blue sky", "videos": {**files, "small": none, "tiny": none}},
            **{"views": 3, "downloads": 2, "likes": 1, "user_id": n, "user": f"bo{n}", "userImageURL": ""},
        }

    # -- Mixkit
    def mixkit(self, place: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        name = place.removeprefix("/free-stock-video/").rstrip("/")
        number = name.rpartition("-")[2]
        n = int(number) - FIRST_ID["mixkit"] if number.isdecimal() else -1
        if 0 <= n < self.videos:
            return as_html(self.mixkit_item(n))
        these = self.page_of({**query, "per_page": f"{A_PAGE}"}, A_PAGE, self.videos)[2]
        if not these or number.isdecimal():
            return not_here()
        cards = "".join(
            f'<div class="item-grid__item"><a href="{self.item_path(i)}"></a><video src="/preview.mp4"></video></div>'
            for i in these
        )
        pages = "".join(f'<a href="?page={i + 1}">{i + 1}</a>' for i in range(math.ceil(self.videos / A_PAGE)))
        return as_html(f'<a href="/free-stock-video/nature/">Nature</a>{cards}<div class="pagination">{pages}</div>')

    def item_path(self, n: int) -> str:
        return f"/free-stock-video/{slug(n)}-{FIRST_ID['mixkit'] + n}/"

    def mixkit_item(self, n: int) -> str:
        """Beside the video, another one is described; the licence in JSON-LD is the free one on every page."""
        site, common = "https://mixkit.co", {"@type": "VideoObject", "license": "https://mixkit.co/license/#videoFree"}
        media, name = self.media_url("mixkit", n, "medium"), f"Video {n}: {slug(n)}"
        own = common | {"@id": f"{site}{self.item_path(n)}#video", "name": name, "keywords": "sea, blue sky"}
        own |= {"contentUrl": media, "duration": "PT1S"}
        other = common | {"@id": f"{site}/free-stock-video/other-5/#video", "contentUrl": f"{self.url}/other.mp4"}
        data = {"@context": "https://schema.org", "@graph": [other] if n in self.broken else [other, own]}
        mark = "videoRestricted" if n in self.restricted else "videoFree"
        download = f"/free-stock-video/download/{FIRST_ID['mixkit'] + n}/?context=sidebar&amp;type="
        return (
            f'<script type="application/ld+json">{json.dumps(data)}</script><h1>Video {n}</h1>'
            f'<a href="/license/#{mark}" data-license="{mark}">Mixkit License</a>'
            '<a href="/@cleo/">Contributor Profile</a>'
            + "".join(f'<input value="{download}{height}p">' for _, height in SIZES.values())
        )

    def mixkit_download(self, place: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        n = int(place.split("/")[3]) - FIRST_ID["mixkit"]
        size = next(name for name, (_, height) in SIZES.items() if query.get("type") == f"{height}p")
        return as_html(f'<div data-download--modal-url-value="{self.media_url("mixkit", n, size)}"></div>')


class Handler(BaseHTTPRequestHandler):
    """Knows ranges as a CDN does: 206 if `If-Range` still holds, 416 if there is nothing left."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two packets; the second would wait for the first

    def __init__(self, sites: StockSites, *rest: Any) -> None:
        self.sites = sites
        super().__init__(*rest)

    def do_GET(self) -> None:
        answer = self.sites.answer(self.path, dict(self.headers.items()))
        etag, wanted = answer.headers.get("ETag", ""), self.headers.get("Range", "").removeprefix("bytes=")
        body, status, headers = answer.body, answer.status, dict(answer.headers)
        if etag and wanted and self.headers.get("If-Range", etag) == etag:
            first, _, last = wanted.partition("-")
            start, end = int(first), min(int(last or len(body) - 1), len(body) - 1)
            status, body = (206, body[start : end + 1]) if start < len(body) else (416, b"")
            headers["Content-Range"] = f"bytes {f'{start}-{end}' if body else '*'}/{len(answer.body)}"
        self.send_response(status)
        for name, value in {"Accept-Ranges": "bytes", **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.send(body, self.sites.pause_s if etag else 0.0)

    do_HEAD = do_GET

    def send(self, body: bytes, pause_s: float) -> None:
        try:
            for start in range(0, len(body) if self.command == "GET" else 0, CHUNK):
                self.wfile.write(body[start : start + CHUNK])
                time.sleep(pause_s)
        except OSError:
            self.close_connection = True  # the client has had enough

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def slug(n: int) -> str:
    return f"{WORDS[n % len(WORDS)]}-and-sky"


def padded(data: bytes, name: str, padding: int) -> bytes:
    """An MP4 with one more box at its end that players skip: other bytes, the same video."""
    fill = name.encode() + bytes(padding)
    return data + struct.pack(">I4s", 8 + len(fill), b"free") + fill


def not_here(*_: object) -> Answer:
    return Answer(b"not here", 404)


def robots(*_: object) -> Answer:
    return Answer(b"User-agent: *\nDisallow: /private/\n")


def as_json(data: object, headers: Mapping[str, str]) -> Answer:
    return Answer(json.dumps(data).encode(), headers={"Content-Type": "application/json", **headers})


def as_html(text: str) -> Answer:
    return Answer(f"<!doctype html><html><body>{text}</body></html>".encode(), headers={"Content-Type": "text/html"})


@contextmanager
def visiting(folder: Path, monkeypatch: "pytest.MonkeyPatch") -> "Iterator[Context]":
    """A place for sources to run, with keys to the sites and a cache of its own, from where they can be reached."""
    from builder.stage import Context
    from builder.storage import Storage
    from builder.web.limits import Limits
    from builder.web.state import shared_folder

    monkeypatch.setenv("OSD_CACHE", str(folder / "cache"))
    for site, key in KEYS.items():
        monkeypatch.setenv(f"{site.upper()}_API_KEY", key)
    shared_folder.cache_clear()
    limits = Limits(allow_private_hosts=True, requests_per_s=10_000, attempts=2, wait_s=0.01)
    context = Context(Storage(folder / "run"), base=folder, web=limits)
    try:
        yield context
    finally:
        context.close()
        shared_folder.cache_clear()


if __name__ == "__main__":
    with StockSites(videos=int(sys.argv[1]) if len(sys.argv) > 1 else 10, port=8000) as sites:
        print(f"{sites.url}; keys: {KEYS}")  # noqa: T201
        Event().wait()
