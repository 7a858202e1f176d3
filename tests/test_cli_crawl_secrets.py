"""Crawls among strangers: no key, password or signed URL is ever written down or shown, and no list reaches home."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from command_line import SOME_FAILED, counts, crawl, left_out, listing, osd_build, rows, stock, write_crawl
from loopback import Answer, Site, video
from stock_sites import KEYS, StockSites

CANARY = "sesame"  # part of every secret here
SECRET_QUERIES = ("token", "X-Amz-Signature", "Key-Pair-Id", "apikey", "hdnea", "sig", "access_token")


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> Iterator[StockSites]:
    for name in KEYS:
        monkeypatch.setitem(KEYS, name, f"{name}-{CANARY}")
        monkeypatch.setenv(f"{name.upper()}_API_KEY", KEYS[name])
    with StockSites(videos=2) as sites:
        yield sites


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Secrets of the user that have nothing to do with a crawl, and what would see if they were used."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".netrc").write_text(f"machine 127.0.0.1 login me password {CANARY}\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN", f"hf_{CANARY}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Site() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.at("/").replace("//", f"//me:{CANARY}@"))
        yield proxy


def command_lines(done: threading.Event, seen: set[bytes]) -> None:
    """Collect those of all processes until `done`."""
    while not done.wait(0.02):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.add(path.read_bytes())
            except OSError:
                continue  # it has ended


def text_of(path: Path) -> bytes:
    """All that is in a file, also what parquet has packed."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        data += repr((table.to_pylist(), table.schema.metadata)).encode()
    return data


def telling(*folders: Path) -> list[Path]:
    """Files that hold a secret, or whose name does."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if CANARY in path.name or CANARY.encode() in text_of(path)]


def test_no_secret_is_written_down_or_shown(tmp_path: Path, sites: StockSites, site: Site, proxy: Site) -> None:
    signed = [site.at(f"/{n}.mp4?{q}={CANARY}{n}", Answer(video(n))) for n, q in enumerate(SECRET_QUERIES)]
    moved = site.at("/away.mp4?token=x", Answer(status=302, headers={"Location": f"/0.mp4?token={CANARY}0"}))
    broken = site.at(f"/broken.mp4?token={CANARY}", Answer(f"no {CANARY}".encode(), 503))
    page = site.at(f"/page.mp4?token={CANARY}", Answer(f"<html>{CANARY}".encode()))
    entered = site.at("/entered.mp4").replace("//", f"//me:{CANARY}@")
    text = "\n".join(["url,page_url", *(f"{url},{url}" for url in (*signed, moved, broken, page, entered))])
    the_list = site.at(f"/list.csv?key={CANARY}", Answer(text.encode()))
    echoing = []
    for source, place in zip(stock(sites.url), ("v1/videos/search", "api/videos/"), strict=False):
        key = KEYS[source["kind"]]
        sites.answers[f"/refusing/{place}"] = Answer(f"{key} is no key of mine".encode(), 403)
        sites.answers[f"/plain/{place}"] = Answer(json.dumps({"hits": key, "videos": key}).encode())
        for name in ("refusing", "plain"):
            echoing.append(source | {"name": f"{name}-{source['kind']}", "api": f"{sites.url}/{name}"})
    run = write_crawl(tmp_path / "run", *stock(sites.url), *echoing, {"kind": "urls", "path": the_list})
    written_by_the_user = (run / "build.toml").read_text()
    done, lines = threading.Event(), set[bytes]()
    watcher = threading.Thread(target=command_lines, args=(done, lines))
    watcher.start()
    try:
        said = [crawl(run, "--dry-run"), crawl(run)]
    finally:
        done.set()
        watcher.join()
    assert [one.returncode for one in said] == [SOME_FAILED, SOME_FAILED]
    assert CANARY not in "".join(one.stdout + one.stderr for one in said)
    (run / "build.toml").unlink()
    assert telling(run, Path(os.environ["OSD_CACHE"])) == []
    (run / "build.toml").write_text(written_by_the_user)
    assert any(b"forkserver" in line for line in lines) and not any(CANARY.encode() in line for line in lines)
    assert {kind.kind for kind in left_out(run, "fetch").values()} == {"bad_url", "http_503", "web_page"}
    assert len(left_out(run, "find")) == 4
    assert sum(row.source == "urls" for row in rows(run, "merge")) == len(signed)
    assert not proxy.requests
    assert all("Authorization" not in headers for _, _, headers in site.requests)
    assert {r.path.partition("?")[0] for r in sites.requests if "Authorization" in r.headers} == {
        *("/v1/videos/search", "/refusing/v1/videos/search", "/plain/v1/videos/search")
    }


def test_no_secret_of_an_odd_row_is_written_down(tmp_path: Path, site: Site) -> None:
    odd = (f"http://me:{CANARY}/x@example.org/a.mp4", f"me:{CANARY}@example.org/a.mp4", f"ftp://a/b#token={CANARY}")
    more: list[str | dict[str, str]] = [
        site.at(f"/b.mp4?Authorization={CANARY}", Answer(video(1)))
    ]  # as Backblaze has it
    more += [{"url": site.at("/c.mp4", Answer(video(2))), "author_url": f"https://example.org/me?token={CANARY}"}]
    (tmp_path / "run").mkdir()
    done = crawl(write_crawl(tmp_path / "run", listing(tmp_path / "list.csv", *more, *odd)))
    assert counts(tmp_path / "run")["fetch"] == (5, 2, 0, 3)
    assert CANARY not in done.stdout + done.stderr
    assert telling(tmp_path / "run") == []


def test_less_usual_secrets_are_not_written_down_either(tmp_path: Path, site: Site) -> None:
    """Parameters of Akamai, YouTube and Java, a URL inside a URL, and URLs beside that of the file."""
    names = ("__token__=", "lsig=", "jsessionid=", "u=https%3A%2F%2Fexample.org%2F%3Ftoken%3D")
    urls = [site.at(f"/{n}.mp4?{name}{CANARY}", Answer(video(n))) for n, name in enumerate(names)]
    pages = [f"http://me:{CANARY}/x@example.org/a", f"https://example.org/a#access_token={CANARY}"]
    beside = [{"url": urls[0], "page_url": page, "author_url": page, "license_url": page} for page in pages]
    run = write_crawl(tmp_path / "run", listing(tmp_path / "list.csv", *urls, *beside))
    assert crawl(run).returncode == 0
    assert telling(run) == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=302, headers={"Location": "/login/{key}?key={key}"}),
        Answer(b"\x1b]0;owned\x07\x1b[2J", 403),
    ],
    ids=["redirect", "controls"],
)
def test_what_an_api_says_is_shown_without_harm(tmp_path: Path, sites: StockSites, answer: Answer) -> None:
    headers = {name: value.format(key=KEYS["pixabay"]) for name, value in answer.headers.items()}
    sites.answers["/api/videos/"] = Answer(answer.body, answer.status, headers)
    done = crawl(write_crawl(tmp_path / "run", stock(sites.url)[1]), "--dry-run")
    assert done.returncode == SOME_FAILED
    assert CANARY not in done.stdout
    assert "\x1b" not in done.stdout


def test_no_list_reaches_this_machine_or_its_files(tmp_path: Path, site: Site) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "mine.mp4").write_bytes(video(1))
    port = site.at("/").rpartition(":")[2].rstrip("/")
    here = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]")
    urls = {f"http://{host}:{port}/x.mp4": "private_host" for host in here}
    urls |= {"http://169.254.169.254/latest/meta-data/": "private_host", "http://10.0.0.1/x.mp4": "private_host"}
    urls |= {"file:///etc/passwd": "bad_url", "/etc/passwd": "bad_url", f"ftp://127.0.0.1:{port}/x.mp4": "bad_url"}
    urls |= {f"http://me:{CANARY}@127.0.0.1:{port}/x.mp4": "bad_url", "http://127.0.0.1:22/x.mp4": "bad_url"}
    the_list = listing(tmp_path / "list.csv", *urls)
    on_the_web = {"kind": "urls", "name": "web", "path": site.at("/list.csv")}
    run = write_crawl(tmp_path / "run", the_list, on_the_web, {"kind": "folder", "path": "../videos"})
    done = osd_build("crawl", run, "--set", "web.attempts=1")
    assert done.returncode == SOME_FAILED
    assert CANARY not in done.stderr
    assert not site.requests
    url_of = {row.id: list(urls)[row.position] for row in rows(run, "find") if row.source == "list"}
    assert {url_of[key]: failure.kind for key, failure in left_out(run, "fetch").items()} == urls
    assert [(key, failure.kind) for key, failure in left_out(run, "find").items()] == [("web", "private_host")]
    assert counts(run)["merge"] == (1, 1, 0, 0)
