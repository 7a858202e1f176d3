"""A web site on the loopback interface that answers as told, as broken servers do too; small real videos to serve."""

import contextlib
import io
import os
import re
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Self

import av
import numpy as np

RANGE = re.compile(r"bytes=(\d+)-")
ENDLESS = 1 << 16  # bytes written at a time


@dataclass(frozen=True)
class Answer:
    """What one request gets. `announced` replaces the true Content-Length; -1 leaves the header out.

    The connection is closed afterwards, unless `keep` is set.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    announced: int | None = None
    silent_s: float = 0.0  # before the body
    pause_s: float = 0.0  # after each byte
    keep: bool = False
    ranges: bool = False  # a Range is answered as RFC 9110 has it, by the ETag or else the Last-Modified in `headers`
    chunked: bool = False
    cut: int | None = None  # the connection ends after so many bytes of the body,
    reset: bool = False  # with an RST
    header_pause_s: float = 0.0  # after each byte of the header
    raw: bytes | None = None  # in place of all that, as it is
    stuck: bool = False  # nothing more comes afterwards, and the connection stays open
    endless: bool = False  # the body, or `raw`, over and over again


MUTE = Answer(raw=b"", stuck=True)  # accepts, and never answers


def rest(body: bytes, start: int, shift: int = 0, total: int | None = None, **headers: str) -> Answer:
    """206 with the end of a body; with `shift` or `total` one that says something else of it."""
    first, size = start + shift, len(body) if total is None else total
    told = {"Content-Range": f"bytes {first}-{len(body) - 1 + shift}/{size}"}
    return Answer(body[start:], 206, told | {name.replace("_", "-"): value for name, value in headers.items()})


class Site:
    """`answers[path]` are given in turn, the last one again and again; what is not there is a 404. One that has to be
    made when it is asked for, as it holds a date, is a function."""

    def __init__(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, deque[Answer | Callable[[], Answer]]] = {}
        self.requests: list[tuple[str, float, dict[str, str]]] = []
        self.under_way, self.most_at_once = 0, 0
        self.connections = 0
        self.lock, self.closing = Lock(), Event()
        self.server = Server(host, self)
        self.url = f"{'https' if tls else 'http'}://{host}:{self.server.server_port}"
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.closing.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def at(self, path: str, *answers: Answer | Callable[[], Answer]) -> str:
        """Answer under `path` from now on; its URL."""
        self.answers[path] = deque(answers)
        return f"{self.url}{path}"

    def asked(self, path: str) -> int:
        return len(self.times(path))

    def times(self, path: str) -> list[float]:
        return [when for asked, when, _ in self.requests if asked == path]

    def reply(self, path: str, body: bytes) -> Answer:
        """What is answered to a request; one that looks at what was sent makes it of `body`."""
        return self.next(path)

    def next(self, path: str) -> Answer:
        with self.lock:
            queue = self.answers.get(path) or deque([Answer(b"not here", 404)])
            answer = queue.popleft() if len(queue) > 1 else queue[0]
        return answer() if callable(answer) else answer

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        with self.lock:
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            yield
        finally:
            with self.lock:
                self.under_way -= 1


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # with the usual 5, a crowd of clients waits a second for its second try

    def __init__(self, host: str, site: Site) -> None:
        super().__init__((host, 0), Handler)
        self.site = site

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has had enough, or does not trust the certificate, is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        super().setup()
        self.site = self.server.site
        self.site.connections += 1

    def do_POST(self) -> None:
        self.do_GET(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def do_GET(self, body: bytes = b"") -> None:
        self.site.requests.append((self.path, time.monotonic(), dict(self.headers.items())))
        with contextlib.suppress(OSError):  # the client has had enough
            answer = self.site.reply(self.path, body)
            self.send(ranged(answer, self.headers.get("Range", ""), self.headers.get("If-Range", "")))

    def send(self, answer: Answer) -> None:
        self.close_connection = not answer.keep
        if answer.raw is not None:
            self.wfile.write(answer.raw)
            while answer.endless:
                self.wfile.write(answer.raw)
        else:
            with self.site.counted():  # not until all is sent: the client may be gone before this thread is
                self.write(self.head(answer), answer.header_pause_s)
                time.sleep(answer.silent_s)
            self.send_body(answer)
        if answer.stuck:
            self.wait()

    def head(self, answer: Answer) -> bytes:
        length = len(answer.body) if answer.announced is None else answer.announced
        self.send_response(answer.status)
        if not answer.keep:
            self.send_header("Connection", "close")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif length >= 0:
            self.send_header("Content-Length", str(length))
        lines: list[bytes] = vars(self).pop("_headers_buffer")
        return b"".join([*lines, b"\r\n"])

    def send_body(self, answer: Answer) -> None:
        while answer.endless:
            self.wfile.write(framed(answer, answer.body * (ENDLESS // len(answer.body))))
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        if body:
            self.write(framed(answer, body), answer.pause_s)
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
        elif answer.chunked and answer.cut is None:
            self.wfile.write(b"0\r\n\r\n")

    def write(self, data: bytes, pause_s: float) -> None:
        for piece in each_byte(data) if pause_s else [data]:
            self.wfile.write(piece)
            if pause_s and self.site.closing.wait(pause_s):
                return

    def wait(self) -> None:
        """Until the client goes away."""
        self.connection.settimeout(0.1)
        while not self.site.closing.is_set():
            with contextlib.suppress(TimeoutError):
                if not self.connection.recv(1):
                    return

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def framed(answer: Answer, body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body) if answer.chunked else body


def ranged(answer: Answer, wanted: str, only_if: str) -> Answer:
    """What a server that knows ranges makes of its whole answer."""
    match, size = RANGE.fullmatch(wanted), len(answer.body)
    validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified", "")
    if not answer.ranges or not match or (only_if and (only_if != validator or validator.startswith("W/"))):
        return answer
    start = int(match[1])
    told = f"bytes {start}-{size - 1}/{size}" if start < size else f"bytes */{size}"
    status, body = (206, answer.body[start:]) if start < size else (416, b"")
    return replace(answer, body=body, status=status, headers=answer.headers | {"Content-Range": told})


def each_byte(body: bytes) -> list[bytes]:
    return [body[i : i + 1] for i in range(len(body))]


class Canary:
    """Listens on one port of some loopback addresses, answers nobody, and counts who came."""

    def __init__(self, *hosts: str) -> None:
        self.port, self.listeners = 0, list[socket.socket]()
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with contextlib.suppress(OSError):  # a machine without IPv6
                self.listeners.append(socket.create_server((host, self.port), family=family))
                self.port = self.listeners[0].getsockname()[1]
                self.listeners[-1].setblocking(False)

    def visits(self) -> int:
        """Connections since the last time."""
        count = 0
        for listener in self.listeners:
            with contextlib.suppress(BlockingIOError):
                while True:
                    listener.accept()[0].close()
                    count += 1
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for listener in self.listeners:
            listener.close()


@cache
def video(seed: int = 0, frames: int = 6, size: tuple[int, int] = (64, 48), container: str = "mp4") -> bytes:
    """A small MPEG-4 video at 10 frames/s; another `seed` gives other bytes."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 10)
        for n in range(frames):
            picture = np.full((size[1], size[0], 3), (seed * 37 + n * 9) % 256, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    return file.getvalue()
