"""Keys, passwords and tokens are in nothing that is logged, kept or handed on, also when the server says them."""

import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import Filtered, ItemError
from builder.records import Failure, Found
from builder.stage import Context, Item
from builder.stages.fetch import Fetch
from builder.storage import Storage
from builder.web.access import Access, Window
from builder.web.client import Client, Page
from builder.web.limits import Limits
from builder.web.state import shared_folder
from loopback import Answer, Canary, Site

KEY, TOKEN, PASSWORD = "c4n4ry-k3y+/=", "c4n4ry-t0ken", "c4n4ry-w0rd"
FORMS = ("c4n4ry", "k3y%2B%2F%3D")
WINDOWS = (Window(1000, 3600.0),)
HEADER = Access("Site", KEY, header="Authorization", windows=WINDOWS)
QUERY = Access("Site", KEY, query="key", windows=WINDOWS)


class Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record)


@pytest.fixture(autouse=True)
def everything_is_logged() -> Iterator[None]:
    """Of all libraries, to the last detail."""
    listener, loggers = Listener(), [logging.root, *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.root.addHandler(listener)
    yield
    logging.root.removeHandler(listener)
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
    assert_clean(*(f"{logging.Formatter().format(record)} {vars(record)}" for record in listener.heard))


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Canary]:
    """Where other tools look for passwords; the proxy counts who asks it."""
    (tmp_path / ".netrc").write_text(f"default login me password {PASSWORD}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with Canary("127.0.0.1") as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            for variable in (name, name.lower()):
                monkeypatch.setenv(variable, f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}")
        yield proxy
        assert proxy.visits() == 0


def assert_clean(*texts: str) -> None:
    for text in texts:
        for form in FORMS:
            at = text.lower().find(form)
            assert at < 0, text[max(0, at - 300) : at + 100]


def assert_folder_clean(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.name != ".netrc" and path.is_file():
            assert_clean(str(path), path.read_bytes().decode("latin-1"))


def told(error: BaseException | None) -> Iterator[str]:
    """All that an error may say to anybody, and what led to it."""
    while error:
        yield from (str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error)))
        if isinstance(error, ItemError | Filtered):
            yield pickle.dumps(error).decode("latin-1")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


ECHO = f"you sent {KEY} {FORMS[1]}"
ECHOES: dict[str, Answer] = {
    "error": Answer(ECHO.encode(), 401),
    "busy": Answer(ECHO.encode(), 503, {"X-Echo": ECHO}),
    "page": Answer(ECHO.encode(), headers={"ETag": ECHO, "X-RateLimit-Key": KEY, "Set-Cookie": f"key={KEY}"}),
    "redirect": Answer(b"", 302, {"Location": f"/login/{KEY}?key={KEY}"}),
    "redirect away": Answer(b"", 302, {"Location": f"http://example.org/{KEY}#{KEY}"}),
    "redirect with a password": Answer(b"", 302, {"Location": f"http://me:{KEY}@127.0.0.1/"}),
    "redirect to nowhere": Answer(b"", 302, {"Location": f"http://127.0.0.1:{KEY}/"}),
    "redirect to a file": Answer(b"", 302, {"Location": f"file:///{KEY}"}),
    "status line": Answer(raw=f"{KEY}\r\n\r\n".encode()),
    "reason": Answer(raw=f"HTTP/1.1 403 {ECHO}\r\nContent-Length: 0\r\n\r\n".encode()),
    "header": Answer(raw=f"HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n".encode()),
    "chunk": Answer(raw=f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n".encode()),
    "length": Answer(raw=f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n".encode()),
    "cut": Answer(ECHO.encode(), cut=5),
    "reset": Answer(ECHO.encode(), cut=5, reset=True),
    "packed": Answer(ECHO.encode(), headers={"Content-Encoding": "gzip"}),
    "opt-out": Answer(b"", headers={"X-Robots-Tag": f"{KEY}: noai, noai {KEY}"}),
}


@pytest.mark.parametrize("access", [HEADER, QUERY], ids=["header", "query"])
@pytest.mark.parametrize("name", ECHOES)
def test_a_key_that_the_server_says(site: Site, limits: Limits, name: str, access: Access) -> None:
    path = "/a?q=1" + ("&key=c4n4ry-k3y%2B%2F%3D" if access.query else "")
    site.at(path, ECHOES[name])
    with Client(replace(limits, attempts=2)) as client:
        try:
            page: Page = client.get(f"{site.url}/a?q=1", access=access, keep_s=60)
            assert_clean(
                page.url, page.text, repr(page), repr(client.get(f"{site.url}/a?q=1", access=access, keep_s=60))
            )
        except ItemError as error:
            assert_clean(*told(error))
    assert site.asked(path) > 0
    assert_folder_clean(shared_folder())
    sent = " ".join(f"{name}: {value}" for name, value in site.requests[0][2].items())
    assert (KEY in sent) == bool(access.header)
    assert TOKEN not in sent and PASSWORD not in sent


def test_the_key_does_arrive(site: Site, client: Client) -> None:
    """Else the tests above could not fail."""
    site.at("/a?key=c4n4ry-k3y%2B%2F%3D", Answer(b"x"))
    assert client.get(f"{site.url}/a", access=QUERY).url == f"{site.url}/a"
    client.get(site.at("/b", Answer(b"x")), access=HEADER)
    assert site.requests[-1][2]["Authorization"] == KEY


def test_no_connection_with_a_key(limits: Limits) -> None:
    with Client(replace(limits, attempts=1)) as client:
        for url in (
            "http://127.0.0.1:9/",
            "http://nowhere.invalid/",
            "https://127.0.0.1:9/",
            "http://\x00/",
            "ftp://a/",
        ):
            with pytest.raises(ItemError) as caught:
                client.get(url, access=QUERY)
            assert_clean(*told(caught.value))


def test_requests_are_logged_without_their_secrets(
    client: Client, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        client.get(site.at(f"/a?token={TOKEN}", Answer(b"x")))
    assert f"{site.url}/a?...: 200" in caplog.messages


def test_a_token_in_the_address_of_a_page_that_is_kept(client: Client, site: Site) -> None:
    url = site.at(f"/a?token={TOKEN}", Answer(b"x"))
    assert [client.get(url, keep_s=60).kept for _ in range(2)] == [False, True]
    assert_folder_clean(shared_folder())


def test_a_quota_that_is_used_up(limits: Limits, site: Site) -> None:
    access = Access("Site", KEY, header="X-Key", windows=(Window(1, 1e9),))
    with Client(limits) as client:
        client.get(site.at("/a", Answer(b"x")), access=access)
        with pytest.raises(ItemError) as caught:
            client.get(f"{site.url}/a", access=access)
    assert_clean(*told(caught.value))


# -- what a list holds
LISTED: list[Callable[[Site], str]] = [
    lambda site: f"http://me:{PASSWORD}@127.0.0.1/a.mp4",
    lambda site: f"http://{PASSWORD}@127.0.0.1/a.mp4",
    lambda site: f"http://me:{PASSWORD}/x@127.0.0.1/a.mp4",
    lambda site: f"http://me:{PASSWORD}?x@127.0.0.1/a.mp4",
    lambda site: f"http://me:#{PASSWORD}@127.0.0.1:x/a.mp4",
    lambda site: f"//me:{PASSWORD}@127.0.0.1/a.mp4",
    lambda site: f"ftp://127.0.0.1/a.mp4?token={TOKEN}",
    lambda site: f"http://127.0.0.1:99999/a.mp4?t={TOKEN}",
    lambda site: f"http://127.0.0.1:9/a.mp4?token={TOKEN}",
    lambda site: f"http://nowhere.invalid/a.mp4?token={TOKEN}",
    lambda site: site.at(f"/none.mp4?token={TOKEN}", Answer(b"no", 404)),
    lambda site: site.at(f"/page.mp4?token={TOKEN}", Answer(f"<html>{TOKEN}".encode())),
    lambda site: site.at(f"/empty.mp4?token={TOKEN}", Answer(b"")),
    lambda site: site.at(f"/text.mp4?token={TOKEN}", Answer(b"no video " * 99)),
    lambda site: site.at(f"/garbage.mp4?token={TOKEN}", Answer(raw=f"/garbage.mp4?token={TOKEN}\r\n\r\n".encode())),
    lambda site: site.at(f"/chunk.mp4?token={TOKEN}", replace(ECHOES["chunk"], headers={})),
    lambda site: site.at(f"/cut.mp4?token={TOKEN}", Answer(b"x" * 999, cut=600, headers={"ETag": '"x"'})),
    lambda site: site.at(f"/loop.mp4?token={TOKEN}", Answer(b"", 302, {"Location": f"?token={TOKEN}"})),
    lambda site: site.at(f"/out.mp4?token={TOKEN}", Answer(b"x", headers={"X-Robots-Tag": "noai"})),
    lambda site: site.at(f"/private.mp4?token={TOKEN}", Answer(b"x")),
]


def test_what_a_url_holds_is_in_no_file_of_a_run(site: Site, limits: Limits, tmp_path: Path) -> None:
    site.at("/robots.txt", Answer(b"User-agent: *\nDisallow: /private"))
    rows = [Found(f"{n:02}", "list", url=made(site), license="CC0-1.0") for n, made in enumerate(LISTED)]
    context, stage = Context(Storage(tmp_path / "run"), base=tmp_path, web=replace(limits, attempts=2)), Fetch()
    with stage.opened(context):
        answers: list[Any] = stage.batch([Item(row, "") for row in rows])
    context.close()
    assert all(isinstance(answer, Failure) for answer in answers)
    assert_clean(*map(repr, answers))
    assert len({answer.kind for answer in answers}) > 8
    assert_folder_clean(tmp_path)
    assert_folder_clean(shared_folder())


@pytest.mark.parametrize("made", LISTED, ids=range(len(LISTED)))
def test_what_a_url_holds_is_in_no_error(site: Site, limits: Limits, made: Callable[[Site], str]) -> None:
    url = made(site)
    with Client(replace(limits, attempts=2)) as client:
        try:
            client.get(url, keep_s=60)
        except (ItemError, Filtered) as error:
            assert_clean(*told(error))
    with suppress(FileNotFoundError):
        for path in (shared_folder() / "hosts").iterdir():
            assert_clean(str(path), path.read_text())
