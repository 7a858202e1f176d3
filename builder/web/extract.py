"""From the page of a video (on YouTube, Vimeo, ...) to the address of its file, which `download` then fetches.

yt-dlp, an optional package, reads the page. It gets nowhere to write, nothing to run and no cookies, and each of its
requests is sent from here: paced, guarded and redirected as all others. robots.txt is asked about the page itself.
"""

import io
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx2

from builder.errors import ItemError, OsdError, RunError
from builder.stage import require
from builder.web.address import normalised, origin, shown
from builder.web.client import MAX_REDIRECTS, PAGE_BYTES, REDIRECTS, Client, check_answer, told_plainly

LOG = logging.getLogger(__name__)
MOST_REQUESTS = 100  # for one page: it may name any number of manifests, on hosts of its choice
MOST_PAGES = 5  # a page may embed the player of another site
MEDIA_BYTES = 64 << 10  # of an answer that is a video already, only its kind is of interest
PHANTOM = ("-pornhub.*", "-iq.*", "-douyu.*")  # yt-dlp would run the program phantomjs for these
CODECS = ("av01", "vp9", "vp09", "avc1", "h264")  # the last one is the most widely read
OURS = ("cookiejar", "timeout", "legacy_ssl", "keep_header_casing")  # what a request may ask for, and does not get
LIVE = ("is_live", "is_upcoming", "post_live")
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
ADDRESS = re.compile(r"https?://[^\s'\"<>]+")
QUERY = re.compile(r"\?[^\s'\"<>=]*=[^\s'\"<>]*")
Info = dict[str, Any]


def media_url(page_url: str, client: Client, max_height: int = 0) -> str:
    """The direct address of the page's video: one file, with or without sound, the highest of at most `max_height`
    pixels (0: no bound), the lowest there is if all are higher. It may expire: use it at once.

    Raises:
        RunError: yt-dlp is not installed.
        Filtered: as `Client.open` does, for the page.
        ItemError: as `Client.open` does, and `unsupported_page`, `page_unavailable`, `live_stream`, `playlist`,
            `no_direct_file`, `too_many_requests`.
    """
    require("yt_dlp", "yt-dlp")
    return client.tried(lambda: attempt(normalised(page_url), client, max_height))


def attempt(page_url: str, client: Client, max_height: int) -> str:
    from yt_dlp import YoutubeDL
    from yt_dlp.globals import plugin_dirs

    with client.open(page_url):
        pass  # it is there, and may be read
    plugin_dirs.value = []
    with YoutubeDL(options(client, lambda formats: best(formats, max_height, page_url))) as reader:
        reader._request_director = reader.build_request_director([handler(client)])
        check_guarded(reader)
        try:
            info = video_of(page_url, reader)
            if info.get("is_live") or info.get("live_status") in LIVE:
                text = f"{shown(page_url)} is a live stream, which is no file; list its recording instead"
                raise ItemError("live_stream", text)
            return str(reader.process_ie_result(info, download=False)["url"])
        except OsdError:
            raise
        except Exception as error:  # of one of its 1,800 readers, met with a page that it did not expect
            raise explained(error, page_url) from error


def options(client: Client, choose: Callable[[list[Info]], Info]) -> Info:
    """Of yt-dlp. What is not named here is off by default."""
    return {
        "format": lambda offered: [choose(offered["formats"])],
        "http_headers": {"User-Agent": client.http.headers["User-Agent"]},
        "allowed_extractors": ["default", *PHANTOM],
        "logger": Quiet(),
        "color": "never",
        "cachedir": False,
        "js_runtimes": {},  # it would run deno
        "proxy": "",  # none, whatever the environment says
        "geo_bypass": False,
        "noplaylist": True,
        "check_formats": False,
        "extractor_retries": 0,  # `Client.tried` does
    }


class Quiet:
    """What yt-dlp says on the way. What it fails of is an exception, too."""

    def debug(self, message: str) -> None:
        LOG.debug("yt-dlp: %s", plain(message))

    warning = error = debug


def video_of(page_url: str, reader: Any) -> Info:
    """What yt-dlp makes of a page, or of the page that is embedded there."""
    info = reader.extract_info(page_url, download=False, process=False) or {}
    for _ in range(MOST_PAGES):
        kind = info.get("_type", "video")
        if kind == "video":
            return dict(info)
        if kind not in ("url", "url_transparent"):
            text = f"{shown(page_url)} holds several videos; put the page of each into the list"
            raise ItemError("playlist", text)
        info = reader.extract_info(info["url"], download=False, ie_key=info.get("ie_key"), process=False) or {}
    raise ItemError("unsupported_page", f"{shown(page_url)} leads from page to page; put the last one into the list")


def best(formats: Iterable[Info], max_height: int, page_url: str) -> Info:
    """The format to download: the highest, of equals the one of the more common codec.

    Raises:
        ItemError: `no_direct_file`.
    """
    direct = sorted(filter(is_direct, formats), key=rank)
    if not direct:
        text = f"{shown(page_url)} offers its video in pieces only (HLS, DASH), which are not put together here"
        raise ItemError("no_direct_file", f"{text}; take it out")
    measured = [file for file in direct if file.get("height")] or direct
    within = [file for file in measured if not max_height or (file.get("height") or 0) <= max_height]
    return within[-1] if within else measured[0]


def is_direct(file: Info) -> bool:
    """A plain GET brings all of it, and it has a picture. Of many files the codec is not known."""
    whole = file.get("protocol") in ("http", "https") and not file.get("fragments") and not file.get("request_data")
    return bool(whole and file.get("vcodec") != "none" and file.get("ext") not in ("mhtml", "m3u8", "mpd"))


def rank(file: Info) -> tuple[float, float, float, int, bool, float, str]:
    height, width, fps, rate = (float(file.get(name) or 0) for name in ("height", "width", "fps", "tbr"))
    codec = str(file.get("vcodec") or "").lower()
    common = max((n for n, name in enumerate(CODECS, 1) if codec.startswith(name)), default=0)
    return height, width, fps, common, file.get("ext") == "mp4", rate, str(file["url"])


# -- its requests
@dataclass(frozen=True)
class Answer:
    """An answer, read; `error` is what is wrong with its status."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    error: ItemError | None = None


def handler(client: Client) -> type[Any]:
    """The one way out that yt-dlp gets."""
    from yt_dlp.networking.common import RequestHandler, Response
    from yt_dlp.networking.exceptions import HTTPError, TransportError

    class GuardedRH(RequestHandler):  # type: ignore[misc]  # published without types
        _SUPPORTED_URL_SCHEMES = ("http", "https")
        left = MOST_REQUESTS

        def _check_extensions(self, extensions: dict[str, Any]) -> None:
            super()._check_extensions(extensions)
            for name in OURS:
                extensions.pop(name, None)

        def _send(self, request: Any) -> Any:
            self.left -= 1
            try:
                if self.left < 0:
                    raise ItemError("too_many_requests", f"a page needs more than {MOST_REQUESTS} others; take it out")
                answer = answer_to(client, request.method, request.url, self._get_headers(request), sent(request.data))
            except OsdError as error:
                raise TransportError(cause=error) from error
            response = Response(io.BytesIO(answer.body), answer.url, answer.headers, answer.status)
            if answer.error:
                raise HTTPError(response) from answer.error
            return response

    return GuardedRH


def sent(data: Any) -> bytes:
    if data is None or isinstance(data, bytes):
        return data or b""
    return bytes(data.read()) if hasattr(data, "read") else b"".join(data)


def answer_to(client: Client, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Send a request, and follow where it is redirected to.

    Raises:
        ItemError: as `Client.open` does, but for a status.
    """
    asked, here = url, normalised(url)
    for _ in range(MAX_REDIRECTS + 1):
        with ExitStack() as stack:
            stack.enter_context(client.pace.turn(origin(here).partition("://")[2]))
            stack.enter_context(told_plainly(here))
            stack.enter_context(client.guard.until(time.monotonic() + client.limits.deadline_s))
            request = client.http.build_request(method, here, headers=headers, content=body or None)
            response = client.http.send(request, stream=True)
            stack.callback(response.close)
            if not (place := response.headers.get("Location")) or response.status_code not in REDIRECTS:
                return read(response, asked, client)
        asked = target(here, place)
        if response.status_code == httpx2.codes.SEE_OTHER or (method == "POST" and response.status_code in (301, 302)):
            method, body = ("HEAD" if method == "HEAD" else "GET"), b""
        headers = {name: value for name, value in headers.items() if name.lower() not in dropped(body, here, asked)}
        here = asked
    raise ItemError("too_many_redirects", f"{shown(url)} redirects more than {MAX_REDIRECTS} times; check the link")


def target(url: str, place: str) -> str:
    found = normalised(str(httpx2.URL(url).join(place)))
    if url.startswith("https:") and not found.startswith("https:"):
        raise ItemError("downgrade", f"{shown(url)} redirects to http, which is not followed; check the link")
    return found


def dropped(body: bytes, url: str, next_url: str) -> set[str]:
    """Headers that a redirect must not take along."""
    about_body = set() if body else {"content-type", "content-length"}
    return about_body | (set() if origin(url) == origin(next_url) else {"authorization", "cookie"})


def read(response: httpx2.Response, url: str, client: Client) -> Answer:
    media = response.headers.get("Content-Type", "").lower().startswith(("video/", "audio/"))
    body, most = bytearray(), MEDIA_BYTES if media else PAGE_BYTES
    for chunk in response.iter_bytes():
        body += chunk[: most - len(body)]
        if len(body) == most:
            break
    error = None
    if not response.is_success:
        try:
            check_answer(response, url, ranged=False, access=None, pace=client.pace)
        except ItemError as problem:
            error = problem
    return Answer(url, response.status_code, dict(response.headers), bytes(body), error)


def check_guarded(reader: Any) -> None:
    """That its requests come here is arranged with names that yt-dlp may change: an address that nobody can fetch.

    Raises:
        RunError: they do not.
    """
    from yt_dlp.networking.exceptions import NoSupportingHandlers

    try:
        reader.urlopen("guard:check")
    except NoSupportingHandlers as error:
        if [refused.handler.RH_KEY for refused in error.unsupported_errors] == ["Guarded"]:
            return
    raise RunError("this version of yt-dlp sends requests unchecked; install another one, as 2026.10.26")


# -- its errors
def explained(error: BaseException, page_url: str) -> OsdError:
    """What went wrong: in the network, if that is the cause, else as yt-dlp says it."""
    from yt_dlp.utils import ExtractorError, UnsupportedError

    errors = list(causes(error))
    for cause in errors:
        lasting = isinstance(cause, ItemError) and cause.kind.startswith("http_") and not cause.retryable
        if isinstance(cause, OsdError) and not lasting:
            return cause
    if any(isinstance(cause, UnsupportedError) for cause in errors):
        text = f"yt-dlp finds no video in {shown(page_url)}; is it the page of one? Else take it out"
        return ItemError("unsupported_page", text)
    said = next((cause.orig_msg for cause in errors if isinstance(cause, ExtractorError)), "") or repr(error)
    return ItemError("page_unavailable", f"{shown(page_url)}: {plain(said)}; look at the page, or update yt-dlp")


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, the nearest first."""
    seen: list[BaseException] = []
    left: list[Any] = [error]
    while left:
        found = left.pop(0)
        if isinstance(found, BaseException) and not any(found is known for known in seen):
            seen.append(found)
            yield found
            left += [getattr(found, "cause", None), found.__cause__, found.__context__]


def plain(message: str) -> str:
    """The first line, without colours, and without what may be secret in a URL or in the end of one."""
    line = next(iter(ESCAPES.sub("", message).strip().splitlines()), "")
    line = ADDRESS.sub(lambda match: shown(match[0]), line.rstrip("."))
    return QUERY.sub("?...", line)[:200]
