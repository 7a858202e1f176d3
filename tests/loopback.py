"""A web site on the loopback interface that answers as told, and small real videos to serve."""

import io
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self

import av
import numpy as np


@dataclass(frozen=True)
class Answer:
    """What one request gets. `announced` replaces the true Content-Length; -1 leaves the header out."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    announced: int | None = None
    silent_s: float = 0.0  # before the body
    pause_s: float = 0.0  # after each byte


class Site:
    """`answers[path]` are given in turn, the last one again and again; what is not there is a 404."""

    def __init__(self) -> None:
        self.answers: dict[str, deque[Answer]] = {}
        self.requests: list[tuple[str, float, dict[str, str]]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(self))
        self.server.daemon_threads = True
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def at(self, path: str, *answers: Answer) -> str:
        """Answer under `path` from now on; its URL."""
        self.answers[path] = deque(answers)
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def asked(self, path: str) -> int:
        return len(self.times(path))

    def times(self, path: str) -> list[float]:
        return [when for asked, when, _ in self.requests if asked == path]

    def next(self, path: str) -> Answer:
        queue = self.answers.get(path) or deque([Answer(b"not here", 404)])
        return queue.popleft() if len(queue) > 1 else queue[0]


def handler_for(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.requests.append((self.path, time.monotonic(), dict(self.headers.items())))
            answer = site.next(self.path)
            length = len(answer.body) if answer.announced is None else answer.announced
            self.send_response(answer.status)
            self.send_header("Connection", "close")
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if length >= 0:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            time.sleep(answer.silent_s)
            self.send(answer)

        def send(self, answer: Answer) -> None:
            try:
                for piece in each_byte(answer.body) if answer.pause_s else [answer.body]:
                    self.wfile.write(piece)
                    time.sleep(answer.pause_s)
            except OSError:
                pass  # the client has had enough

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handler


def each_byte(body: bytes) -> Sequence[bytes]:
    return [body[i : i + 1] for i in range(len(body))]


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
