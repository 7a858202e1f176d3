"""What `osd-build crawl` makes of a line: 200 videos from a server on this machine, against `curl --parallel`.

    python benchmarks/crawl.py [MB A FILE] [ROUNDS]      defaults to 20 and 3; needs curl, and 4 GB of disk

The two run in turn, once with the server held to 1 Gbit/s in all and once at full speed, both with 8 connections. curl
writes files and is done; ours also hashes them, syncs them to the disk, looks into each, and keeps tables, so it is
timed twice: the whole command, and from the first request to the last byte at the server. CPU-seconds are those of all
processes of the command. At last it is told to ask at most 20 times a second, and the server counts.
"""

import json
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import numpy as np

FILES, CONNECTIONS, GIGABIT = 200, 8, 125_000_000
CHUNK = 1 << 18
OSD_BUILD = Path(sys.executable).with_name("osd-build")
BUILD = """
[[source]]
kind = "urls"
name = "line"
path = "list.csv"
license = "CC0-1.0"
[web]
allow_private_hosts = true
connections = {connections}
per_host = {connections}
requests_per_s = {rate}
"""


def small_video(path: Path) -> bytes:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(6):
            picture = np.full((48, 64, 3), n * 9, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


class Line:
    """At most so many bytes a second, over all connections; 0 is no limit."""

    def __init__(self, bytes_per_s: int) -> None:
        self.bytes_per_s, self.lock, self.free_at = bytes_per_s, threading.Lock(), time.monotonic()

    def wait(self, size_bytes: int) -> None:
        if self.bytes_per_s:
            with self.lock:
                self.free_at = max(self.free_at, time.monotonic() - 0.05) + size_bytes / self.bytes_per_s
                due = self.free_at
            time.sleep(max(0.0, due - time.monotonic()))


def serve(talk: Connection, video: bytes, size_bytes: int, bytes_per_s: int) -> None:
    """A process of its own: `/N.mp4` is the video, and a free box that makes it large and different from the others."""
    line, requests, bytes_at = Line(bytes_per_s), list[float](), list[float]()
    zeros = memoryview(bytes(CHUNK))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            requests.append(time.monotonic())
            if not self.path.endswith(".mp4"):
                return self.send_error(404)
            padding = size_bytes - len(video) - 16
            head = video + (padding + 16).to_bytes(4, "big") + b"free" + f"{self.path[1:-4]:>8}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(size_bytes))
            self.send_header("ETag", f'"{self.path}"')
            self.end_headers()
            self.wfile.write(head)
            for sent in range(0, padding, CHUNK):
                piece = zeros[: min(CHUNK, padding - sent)]
                line.wait(len(piece))
                self.connection.sendall(piece)
            bytes_at.append(time.monotonic())

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    talk.send(server.server_port)
    while talk.recv():
        talk.send((requests.copy(), bytes_at.copy()))
        requests.clear(), bytes_at.clear()


@dataclass
class Server:
    """The server process; `seen` gives the times of requests and of last bytes since it was last asked."""

    size_bytes: int
    bytes_per_s: int

    def __enter__(self) -> "Server":
        with tempfile.TemporaryDirectory() as folder:
            video = small_video(Path(folder, "v.mp4"))
        self.talk, theirs = multiprocessing.Pipe()
        values = (theirs, video, self.size_bytes, self.bytes_per_s)
        self.process = multiprocessing.get_context("spawn").Process(target=serve, args=values)
        self.process.start()
        self.urls = [f"http://127.0.0.1:{self.port()}/{n}.mp4" for n in range(FILES)]
        return self

    def port(self) -> int:
        self.number = getattr(self, "number", None) or self.talk.recv()
        return int(self.number)

    def seen(self) -> tuple[list[float], list[float]]:
        self.talk.send(True)
        times: tuple[list[float], list[float]] = self.talk.recv()
        return times

    def __exit__(self, *args: object) -> None:
        self.talk.send(False)
        self.process.join()


def timed(command: list[str | Path], cwd: Path) -> tuple[float, float]:
    """Seconds and CPU-seconds of a command and all processes of its session, seen twenty times a second."""
    started, spent = time.monotonic(), dict[str, float]()
    environment = os.environ | {"OSD_CACHE": str(cwd / "cache")}
    with (cwd / "log").open("w+") as log:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=log, stderr=log, start_new_session=True)
        while process.poll() is None:
            spent |= session(process.pid)
            time.sleep(0.05)
        log.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(map(str, command[:3]))} ended with {process.returncode}:\n{log.read()[-2000:]}")
    return time.monotonic() - started, sum(spent.values())


def session(leader: int) -> dict[str, float]:
    """CPU-seconds so far of each process of a session: fields 6, 14 and 15 of proc(5)'s stat."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[3] == str(leader):
            found[path.parent.name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def curl(server: Server, folder: Path) -> tuple[float, float]:
    lines = [f'url = "{url}"\noutput = "out/{n}.mp4"' for n, url in enumerate(server.urls)]
    (folder / "curl.txt").write_text("\n".join(lines))
    (folder / "out").mkdir()
    command: list[str | Path] = ["curl", "--silent", "--show-error", "--fail", "--parallel"]
    return timed([*command, "--parallel-max", str(CONNECTIONS), "--config", "curl.txt"], folder)


def ours(server: Server, folder: Path, rate: float = 1000) -> tuple[float, float]:
    (folder / "build.toml").write_text(BUILD.format(connections=CONNECTIONS, rate=rate))
    (folder / "list.csv").write_text("\n".join(["url", *server.urls]))
    spent = timed([OSD_BUILD, "crawl", "."], folder)
    fetched = sum(json.loads(p.read_text())["kept"] for p in (folder / "fetch.receipts").iterdir())
    assert fetched == FILES, f"{fetched} of {FILES} files were fetched"
    return spent


def compare(server: Server, rounds: int) -> None:
    size_bytes = server.size_bytes * FILES
    rows: dict[str, list[tuple[float, float, float]]] = {"curl": [], "osd-build": []}
    for _ in range(rounds):
        for name, run in (("curl", curl), ("osd-build", ours)):
            folder = Path(tempfile.mkdtemp(prefix="bench-crawl-"))
            server.seen()
            wall_s, cpu_s = run(server, folder)
            requests, ends = server.seen()
            rows[name].append((wall_s, max(ends) - min(requests), cpu_s))
            shutil.rmtree(folder)
    whole, line, cpu = ({n: statistics.median(r[k] for r in rows[n]) for n in rows} for k in range(3))
    speed = f"{server.bytes_per_s / 1e6:.0f} MB/s" if server.bytes_per_s else "full speed"
    print(f"\nserver at {speed}, {size_bytes / 1e9:.1f} GB, medians of {rounds} rounds")
    for name in rows:
        rate, transfer = size_bytes / whole[name] / 1e6, size_bytes / line[name] / 1e6
        cost = cpu[name] / size_bytes * 1e9
        print(f"  {name:<10} {rate:7.1f} MB/s whole command  {transfer:7.1f} MB/s on the line  {cost:.2f} CPU-s a GB")
    for what, times in (("whole command", whole), ("on the line", line)):
        print(f"  ours / curl, {what}: {times['curl'] / times['osd-build']:.3f}")


def manners(server: Server, rate: int = 20) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-crawl-"))
    server.seen()
    ours(server, folder, rate)
    times = sorted(server.seen()[0])
    most = max(sum(start <= t < start + 1 for t in times) for start in times)
    lasted_s = times[-1] - times[0]
    print(f"\nasked for at most {rate} requests a second: {len(times)} requests in {lasted_s:.1f} s,")
    print(f"  {most} in the busiest second; {(len(times) - 1) / lasted_s / rate:.2f} of what was allowed")
    shutil.rmtree(folder)


def main() -> None:
    given = sys.argv[1:]
    megabytes, rounds = (int(n) for n in [*given, *("20", "3")[len(given) :]])
    tool = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    versions = f"osd-build {version('open-sora-dataset')}, httpx2 {version('httpx2')}, curl {tool}"
    print(f"{FILES} files of {megabytes} MB; {versions}")
    for bytes_per_s in (GIGABIT, 0):
        with Server(megabytes * 1_000_000, bytes_per_s) as server:
            compare(server, rounds)
    with Server(100_000, 0) as server:
        manners(server)


if __name__ == "__main__":
    main()
