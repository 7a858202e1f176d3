"""How the peer of the Hub speaks HTTP: bodies, ranges, errors, and connections that are cut."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from hub_store import Refused

Route = tuple[str, str, Callable[..., None]]


class Hub(Protocol):
    """What a handler needs of its server."""

    lock: Any

    def begin(self, request: str) -> int | None: ...


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer. A route's groups are matched in the path as it was quoted, then unquoted."""

    protocol_version = "HTTP/1.1"
    hub: ClassVar[Any]
    routes: ClassVar[Sequence[Route]]

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def serve(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.body = self.received()
        self.cut = False
        status = self.hub.begin(f"{self.command} {unquote(url.path)}")
        self.cut = status == 0
        try:
            if status:
                raise Refused(status, "injected")
            self.route(url.path)
        except Refused as no:
            headers = {"X-Error-Code": no.code, "X-Error-Message": no.message}
            self.send(json.dumps({"error": no.message}).encode(), no.status, headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = serve

    def received(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def route(self, path: str) -> None:
        for method, pattern, answer in self.routes:
            match = re.fullmatch(pattern, path)
            if match and self.command in method.split():
                with self.hub.lock:
                    answer(self, *(group and unquote(group) for group in match.groups()))
                return
        raise Refused(404, f"no route for {self.command} {path}")

    def send(self, data: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if self.cut else data)
        self.close_connection |= self.cut

    def json(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        self.send(json.dumps(value).encode(), headers={"Content-Type": "application/json", **(headers or {})})

    def content(self, data: bytes, headers: Mapping[str, str]) -> None:
        """A file, or the range of it that was asked for."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return self.send(data, headers={"Accept-Ranges": "bytes", **headers})
        start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        if start > end:
            raise Refused(416, "no such range")
        return self.send(data[start : end + 1], 206, {"Content-Range": f"bytes {start}-{end}/{len(data)}", **headers})
