"""A web server on the loopback interface that gives a folder's files, whole or by ranges, and breaks as it is told."""

import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, ClassVar, Self

RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class RangeServer:
    """`ranges` are the (path, first, last) asked for. `fault(number of the ranged request)` may give a status, or -1 to
    hang up in the middle of the answer."""

    def __init__(self, folder: Path, fault: Callable[[int], int] = lambda n: 0, ranged: bool = True) -> None:
        self.folder, self.fault, self.ranged = folder, fault, ranged
        self.ranges: list[tuple[str, int, int]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"site": self}))
        self.server.daemon_threads = True
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: ClassVar[RangeServer]

    def do_GET(self) -> None:
        file = self.site.folder / self.path.lstrip("/")
        wanted = RANGE.fullmatch(self.headers.get("Range", "")) if self.site.ranged else None
        fault = 0
        if wanted:
            self.site.ranges.append((self.path.lstrip("/"), int(wanted[1]), int(wanted[2])))
            fault = self.site.fault(len(self.site.ranges))
        if fault > 0 or not file.is_file():
            return self.answer(fault or 404, b"", {})
        data = file.read_bytes()
        if not wanted:
            return self.answer(200, data, {})
        first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
        told = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        return self.answer(206, data[first : last + 1], told, cut=fault == -1)

    def answer(self, status: int, body: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection |= cut

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""
