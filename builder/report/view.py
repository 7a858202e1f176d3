"""`osd-build view`: the report of a run on loopback, where a person keeps, drops, and puts captions right.

Served by aiohttp (it comes with `datasets`), which answers ranges of videos. Only this machine is listened to; every
address begins with a random token, the host that a request names must be ours (another site's name may point here),
and what is served is looked up by id in the tables: no path comes from a request.
"""

import hmac
import os
import secrets
import socket
from asyncio import to_thread
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from aiohttp import web

from builder.decisions import Decisions, decision, from_csv, to_csv
from builder.errors import ConfigError, ItemError, OsdError, RunError
from builder.pipeline import Run
from builder.query import Inputs
from builder.records import SourceVideo
from builder.report.clips import everything, gallery
from builder.report.page import Page, block_of, packed, rendered, spans
from builder.report.pictures import Span, of_strip
from builder.stages.fetch import open_media
from builder.stages.merge import Merge

HOST = "127.0.0.1"
MOST_BYTES = 64 << 20  # of a request
TYPES = {"matroska": "video/x-matroska", "webm": "video/webm", "avi": "video/x-msvideo", "ogg": "video/ogg"}
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Viewer:
    """Answers about one run. What the tables hold is read once, when it starts; decisions are its own."""

    def __init__(self, run: Run, decisions: Decisions) -> None:
        self.run, self.decisions = run, decisions
        self.token = secrets.token_urlsafe(24)
        self.context = run.context()
        inputs = everything(run)
        found = gallery(run, inputs)
        self.videos = sources(inputs)
        hrefs = {key: f"videos/{key}" for key in found.videos}
        self.spans: dict[str, Span] = {}
        self.blocks: list[str] = []
        for rows in found.blocks():
            self.spans |= {span.clip_id: span for span in spans(found, rows)}
            self.blocks.append(packed(block_of(found, rows, hrefs) | {"pictures": [True] * len(rows)}))
        self.captioners = found.captioners
        page = Page(run, inputs, found, pictures="pictures/{}.jpg", view=True)
        self.settings, self.values = page.settings(), page.values()

    def app(self, port: int) -> web.Application:
        """The application; `port` is where it listens."""
        app = web.Application(client_max_size=MOST_BYTES, middlewares=[self.guard(port)])
        app.add_routes(
            [
                web.get("/{token}/", self.index),
                web.get("/{token}/pictures/{clip}.jpg", self.picture),
                web.get("/{token}/videos/{video}", self.video),
                web.get("/{token}/overrides.csv", self.export),
                web.post("/{token}/decide", self.decide),
                web.post("/{token}/import", self.take),
            ]
        )
        return app

    def guard(self, port: int) -> Any:
        """Lets through who knows the token and names us as we are; tells everybody else nothing."""
        hosts = {f"{HOST}:{port}", f"localhost:{port}"}

        @web.middleware
        async def checked(request: web.Request, handler: Handler) -> web.StreamResponse:
            told = request.match_info.get("token", "").encode()
            origin = request.headers.get("Origin")
            foreign = origin is not None and origin.removeprefix("http://") not in hosts
            if (
                request.headers.get("Host") not in hosts
                or foreign
                or not hmac.compare_digest(told, self.token.encode())
            ):
                return web.Response(status=404, text="not found", headers=HEADERS)
            try:
                answer = await handler(request)
            except OsdError as error:
                status = 400 if isinstance(error, ConfigError) else 500
                return web.json_response({"error": str(error)}, status=status, headers=HEADERS)
            except web.HTTPException as error:
                error.headers.update(HEADERS)
                raise
            answer.headers.update(HEADERS)
            return answer

        return checked

    async def index(self, request: web.Request) -> web.StreamResponse:
        said = {key: row.shown() for key, row in self.decisions.rows.items() if key in self.spans}
        text = "".join(rendered(self.values, self.settings | {"decisions": said}, self.blocks))
        headers = {"Content-Security-Policy": f"{self.values['policy']}; frame-ancestors 'none'"}
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def picture(self, request: web.Request) -> web.StreamResponse:
        span = self.spans.get(request.match_info["clip"])
        if span is None:
            raise web.HTTPNotFound
        [made] = await to_thread(of_strip, self.run.storage, [span])
        if not made.jpeg:
            raise web.HTTPNotFound
        return web.Response(body=made.jpeg, content_type="image/jpeg")

    async def video(self, request: web.Request) -> web.StreamResponse:
        """The whole video or a range of it; never as anything but a video."""
        video = self.videos.get(request.match_info["video"])
        if video is None:
            raise web.HTTPNotFound
        try:
            path = await to_thread(self.locate, video)
        except ItemError as error:
            raise web.HTTPNotFound(text=str(error)) from None
        kind = next((kind for name, kind in TYPES.items() if name in video.container), "video/mp4")
        return web.FileResponse(path, headers={"Content-Type": kind})

    def locate(self, video: SourceVideo) -> Path:
        """The file, if it still is what was crawled.

        Raises:
            ItemError: it is not, or its row names a file outside of the run's own or the source's folder.
        """
        named = Path(os.fsdecode(unquote_to_bytes(video.path)))  # as folder sources write paths
        if named.is_absolute() or ".." in named.parts:
            raise ItemError("outside", f"{video.path!r} is no path inside its folder")
        path = open_media(video, self.context)
        if not video.root and not path.resolve().is_relative_to((self.run.root / "media").resolve()):
            raise ItemError("outside", f"{video.path!r} is not in the run's folder")
        return path

    async def export(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=to_csv(self.decisions.rows), content_type="text/csv")

    async def decide(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = await request.json()
            clip, said, captions = asked["clip_id"], asked["decision"], asked["captions"]
            fit = isinstance(clip, str) and isinstance(said, str) and all(map(is_text, captions.items()))
        except (ValueError, KeyError, TypeError, AttributeError):
            fit = False
        if not fit or clip not in self.spans or not captions.keys() <= set(self.captioners):
            raise ConfigError("that is no decision about a clip of this run")
        row = decision(clip, said, captions)
        self.decisions.add([row])  # in this thread: decisions wait for each other
        return web.json_response(row.shown())

    async def take(self, request: web.Request) -> web.StreamResponse:
        try:
            text = (await request.read()).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigError("the file is not UTF-8; save it as CSV in UTF-8") from None
        rows = from_csv(text)
        self.decisions.add(rows)
        return web.json_response({"clips": len(rows)})


def is_text(pair: tuple[Any, Any]) -> bool:
    return all(isinstance(part, str) for part in pair)


def sources(inputs: Inputs) -> Mapping[str, SourceVideo]:
    """The rows of `merge`, by video."""
    table, numbers = inputs.tables[Merge.name], inputs.parts[Merge.name]
    return {row.id: row for row in table.rows(numbers)}


def serve(run: Run, port: int, tell: Callable[[str], None]) -> None:
    """Until it is stopped. Tells the address when it can be asked; port 0: any that is free.

    Raises:
        RunError: the port is taken, or another one has the run open.
    """
    decisions = Decisions(run.storage)
    with decisions.alone(), socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise RunError(f"port {port} cannot be listened to ({error.strerror}); name another with --port") from None
        viewer = Viewer(run, decisions)
        listener.listen()  # who is told the address may ask at once
        number = listener.getsockname()[1]
        tell(f"http://{HOST}:{number}/{viewer.token}/")
        web.run_app(viewer.app(number), sock=listener, print=None, access_log=None)
