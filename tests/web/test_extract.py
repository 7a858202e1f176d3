"""Pages of videos, read by yt-dlp through the guarded client, against a real server."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.errors import Filtered, ItemError, RunError
from builder.web import extract
from builder.web.client import Client
from builder.web.extract import Answer as Got
from builder.web.extract import answer_to, best, explained, media_url, plain, target
from builder.web.limits import Limits
from loopback import Answer, Site

yt_dlp = pytest.importorskip("yt_dlp", reason="needs the extra yt-dlp")

LIMITS = Limits(allow_private_hosts=True, requests_per_s=1000, attempts=3, wait_s=0.01, silence_s=5)
HTML = {"Content-Type": "text/html; charset=utf-8"}
HLS = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfirst.ts\n#EXT-X-ENDLIST\n"
MANIFEST = {"Content-Type": "application/vnd.apple.mpegurl"}


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


def page(inside: str, head: str = "") -> Answer:
    return Answer(f"<html><head><title>A page</title>{head}</head><body>{inside}</body></html>".encode(), headers=HTML)


def extracted(url: str, max_height: int = 0, limits: Limits = LIMITS) -> str:
    with Client(limits) as client:
        return media_url(url, client, max_height)


def failure(url: str, limits: Limits = LIMITS) -> ItemError:
    with pytest.raises(ItemError) as caught:
        extracted(url, limits=limits)
    return caught.value


def asked(site: Site) -> list[str]:
    return [path for path, _, _ in site.requests if path != "/robots.txt"]


def test_an_html5_video(site: Site) -> None:
    video = site.at("/files/a.mp4?n=1")
    url = site.at("/watch", page('<video><source src="/files/a.mp4?n=1" type="video/mp4"></video>'))
    assert extracted(url) == video
    assert set(asked(site)) == {"/watch"}  # the file itself is not asked for
    agents = {headers["User-Agent"] for path, _, headers in site.requests if path == "/watch"}
    assert all(agent.startswith("open-sora-dataset") for agent in agents)


def test_a_video_for_social_networks(site: Site) -> None:
    video = site.at("/b.mp4")
    assert extracted(site.at("/og", page("", f'<meta property="og:video" content="{video}">'))) == video


def test_the_address_of_a_file_is_itself(site: Site) -> None:
    url = site.at("/c.mp4", Answer(b"\0" * (1 << 20), headers={"Content-Type": "video/mp4"}))
    assert extracted(url) == url


def test_a_page_that_moved_or_embeds_another(site: Site) -> None:
    video = site.at("/d.mp4")
    site.at("/new/page", page(f'<video src="{video}"></video>'))
    assert extracted(site.at("/old", Answer(b"", 302, {"Location": "/new/page"}))) == video


def test_a_page_without_video(site: Site) -> None:
    error = failure(site.at("/text?token=s3cret", page("<p>Nothing here")))
    assert (error.kind, error.retryable) == ("unsupported_page", False)
    assert "/text" in error.message
    assert "s3cret" not in error.message


def test_a_video_in_pieces_is_refused(site: Site) -> None:
    site.at("/live/list.m3u8", Answer(HLS, headers=MANIFEST))
    error = failure(site.at("/hls", page('<video><source src="/live/list.m3u8"></video>')))
    assert (error.kind, error.retryable) == ("no_direct_file", False)


def test_a_live_stream_is_refused(site: Site) -> None:
    live = b'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic"></MPD>'
    error = failure(site.at("/now", Answer(live, headers={"Content-Type": "application/dash+xml"})))
    assert (error.kind, error.retryable) == ("live_stream", False)


def test_a_page_of_several_videos_is_refused(site: Site) -> None:
    assert failure(site.at("/two", page('<video src="/a.mp4"></video><video src="/b.mp4"></video>'))).kind == "playlist"


def test_only_what_may_pass_is_tried_again(site: Site) -> None:
    good = page('<video src="/a.mp4"></video>')
    url = site.at("/busy", good, Answer(b"", 503), good)
    assert extracted(url).endswith("/a.mp4")
    assert site.asked("/busy") == 4
    error = failure(site.at("/down", good, Answer(b"", 503)))
    assert (error.kind, error.retryable) == ("http_503", True)
    assert failure(site.at("/gone", Answer(b"", 404, HTML))).kind == "http_404"
    error = failure(site.at("/closed", good, Answer(b"", 403)))
    assert (error.kind, error.retryable) == ("page_unavailable", False)
    assert site.asked("/closed") == 2


def test_robots_txt_is_asked_about_the_page(site: Site) -> None:
    site.at("/robots.txt", Answer(b"User-agent: *\nDisallow: /private"))
    url = site.at("/private/a", page('<video src="/a.mp4"></video>'))
    with pytest.raises(Filtered, match="/private/a"):
        extracted(url)
    assert asked(site) == []


def test_a_page_in_a_private_network_sees_no_request(site: Site) -> None:
    url = site.at("/watch", page('<video src="/a.mp4"></video>'))
    assert failure(url, Limits(requests_per_s=1000)).kind == "private_host"
    assert site.requests == []


def test_a_page_cannot_have_yt_dlp_ask_without_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "MOST_REQUESTS", 3)
    for n in range(9):
        site.at(f"/{n}.m3u8", Answer(HLS, headers=MANIFEST))
    sources = "".join(f'<source src="/{n}.m3u8">' for n in range(9))
    failure(site.at("/many", page(f"<video>{sources}</video>")))
    assert len(asked(site)) == 1 + 3


def test_nothing_is_written_run_or_remembered(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    places = {name: tmp_path / name.lower() for name in names}
    programs, here = tmp_path / "bin", tmp_path / "cwd"
    for place in (*places.values(), programs, here):
        place.mkdir()
    for name in ("phantomjs", "deno", "node", "bun", "qjs", "ffmpeg", "ffprobe", "aria2c", "curl"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $@" >> {here}/ran\n')
        (programs / name).chmod(0o755)
    plugin = places["XDG_CONFIG_HOME"] / "yt-dlp/plugins/mine/yt_dlp_plugins/extractor"
    plugin.mkdir(parents=True)
    monkeypatch.setattr(yt_dlp.globals.all_plugins_loaded, "value", False)
    monkeypatch.setattr(yt_dlp.globals.plugin_dirs, "value", ["default"])
    (plugin / "mine.py").write_text(f"open({str(here / 'plugin')!r}, 'w').close()")
    for name, place in places.items():
        monkeypatch.setenv(name, str(place))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(here)
    before = sorted(tmp_path.rglob("*"))
    cookie = Answer(page('<video src="/a.mp4"></video>').body, headers={**HTML, "Set-Cookie": "who=me; Path=/"})
    assert extracted(site.at("/watch", cookie)).endswith("/a.mp4")
    failure(site.at("/text", page("nothing")))
    assert sorted(tmp_path.rglob("*")) == before
    assert not [headers for _, _, headers in site.requests if "Cookie" in headers]


def test_log_lines_hold_no_secrets(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger=extract.__name__):
        extracted(site.at("/watch?key=s3cret", page('<video src="/a.mp4"></video>')))
    assert "yt-dlp: " in caplog.text
    assert "s3cret" not in caplog.text


def test_without_yt_dlp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    with pytest.raises(RunError, match=r"open-sora-dataset\[yt-dlp\]"):
        extracted("https://example.org/watch")


def test_a_yt_dlp_that_does_not_ask_us_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    own = yt_dlp.YoutubeDL().build_request_director
    handlers = [type(handler) for handler in yt_dlp.YoutubeDL()._request_director.handlers.values()]
    monkeypatch.setattr(yt_dlp.YoutubeDL, "build_request_director", lambda self, given: own(handlers))
    with pytest.raises(RunError, match="unchecked"):
        extracted(site.at("/watch", page('<video src="/a.mp4"></video>')))
    assert site.asked("/watch") == 1


# -- requests that extractors of sites make
def sent(site: Site, url: str, method: str, body: bytes = b"", **headers: str) -> Got:
    posts = site.server.RequestHandlerClass

    def do_POST(self: Any) -> None:
        self.headers["Body"] = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.do_GET()

    posts.do_POST = do_POST  # type: ignore[attr-defined]
    with Client(LIMITS) as client:
        return answer_to(client, method, url, headers, body)


def test_a_post_arrives_with_its_body_and_headers(site: Site) -> None:
    site.at("/api", Answer(b'{"ok": 1}', headers={"X-Kind": "json"}))
    got = sent(site, site.at("/move", Answer(b"", 307, {"Location": "/api"})), "POST", b"q=1", **{"X-Api": "7"})
    assert (got.status, got.body, got.headers["x-kind"], got.error) == (200, b'{"ok": 1}', "json", None)
    assert got.url.endswith("/api")
    assert [(path, h["Body"], h["X-Api"]) for path, _, h in site.requests] == [
        ("/move", "q=1", "7"),
        ("/api", "q=1", "7"),
    ]


def test_a_redirect_turns_a_post_into_a_get_and_keeps_no_password(site: Site) -> None:
    site.at("/api", Answer(b"page"))
    other = site.at("/api").replace("127.0.0.1", "localhost")
    url = site.at("/move", Answer(b"", 303, {"Location": other}))
    sent(site, url, "POST", b"q=1", **{"Authorization": "Bearer s3cret", "Content-Type": "text/plain"})
    after = site.requests[-1][2]
    assert not {"Authorization", "Content-Type", "Body"} & after.keys()


def test_answers_that_are_none_are_told_with_their_body(site: Site) -> None:
    got = sent(site, site.at("/no", Answer(b'{"reason": "geo"}', 451)), "GET")
    assert (got.status, got.body) == (451, b'{"reason": "geo"}')
    assert got.error is not None
    assert got.error.kind == "http_451"


@pytest.mark.parametrize("place", ["/loop", "file:///etc/passwd", "ftp://example.org/a"])
def test_redirects_that_are_not_followed(site: Site, place: str) -> None:
    with pytest.raises(ItemError) as caught:
        sent(site, site.at("/loop", Answer(b"", 301, {"Location": place})), "GET")
    assert caught.value.kind == ("too_many_redirects" if place == "/loop" else "bad_url")


def test_a_redirect_does_not_leave_https() -> None:
    assert target("https://example.org/a", "//b.example.org/c") == "https://b.example.org/c"
    with pytest.raises(ItemError, match="downgrade"):
        target("https://example.org/a", "http://example.org/a")


# -- which file
def made(height: int | None, **more: Any) -> dict[str, Any]:
    return {"url": f"https://example.org/{height}", "protocol": "https", "height": height, "ext": "mp4"} | more


LADDER = [made(360), made(1080), made(720)]


@pytest.mark.parametrize(
    ("formats", "max_height", "height"),
    [
        (LADDER, 0, 1080),
        (LADDER, 800, 720),
        (LADDER, 100, 360),
        ([made(None), *LADDER], 100, 360),
        ([made(None)], 100, None),
        ([made(360), made(1080, protocol="m3u8_native"), made(1080, protocol="http_dash_segments")], 0, 360),
        ([made(360), made(1080, vcodec="none"), made(1080, fragments=[1]), made(1080, ext="mhtml")], 0, 360),
        ([made(360, acodec="none"), made(144)], 0, 360),
    ],
)
def test_the_highest_file_within_the_bound(formats: list[dict[str, Any]], max_height: int, height: int | None) -> None:
    assert best(formats, max_height, "https://example.org")["height"] == height


def test_of_equals_the_one_that_most_can_read() -> None:
    codecs = ["av01.0.05M.08", "avc1.64001F", "vp9", None]
    files = [made(720, vcodec=codec, ext="webm" if codec == "vp9" else "mp4", tbr=n) for n, codec in enumerate(codecs)]
    order = []
    while files:
        order.append(best(files, 0, "https://example.org")["vcodec"])
        files = [file for file in files if file["vcodec"] != order[-1]]
    assert order == ["avc1.64001F", "vp9", "av01.0.05M.08", None]


# -- what is told
def test_what_yt_dlp_says_is_told_in_one_plain_line() -> None:
    said = "\x1b[0;31mERROR:\x1b[0m no https://u:p@a.org/b?key=1 there.\nTraceback"
    assert plain(said) == "ERROR: no https://a.org/b?... there"


def test_kinds_of_errors() -> None:
    utils = yt_dlp.utils

    def told(error: Exception) -> tuple[str, str, bool]:
        found = explained(error, "https://example.org/v?key=s3cret")
        assert isinstance(found, ItemError)
        assert "s3cret" not in found.message
        return found.kind, found.message, found.retryable

    private = told(utils.ExtractorError("\x1b[31mPrivate video\x1b[0m\nSign in", expected=True, video_id="v"))
    assert private[0] == "page_unavailable"
    assert "https://example.org/v?...: Private video; " in private[1]
    assert told(utils.GeoRestrictedError("Not in your country"))[::2] == ("page_unavailable", False)
    assert told(utils.UnsupportedError("https://example.org/v?key=s3cret"))[::2] == ("unsupported_page", False)
    assert told(TypeError("'NoneType' object is not subscriptable"))[::2] == ("page_unavailable", False)
    network = utils.ExtractorError("Unable to download", cause=ItemError("timeout", "silent", True))
    assert told(network) == ("timeout", "silent", True)
