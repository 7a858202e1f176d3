"""A crawl from the command line: three stock sites, lists and a folder; at once, in part, or only told of."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from command_line import SOME_FAILED, counts, crawl, digests, left_out, listing, osd_build, rows, stock, write_crawl
from loopback import Answer, Site, video
from stock_sites import FIRST_ID, KEYS, SIZES, WORDS, StockSites, slug

VIDEOS = 4  # of each site
MODIFIED = "Tue, 01 Sep 2026 10:00:00 GMT"
TITLES = ("../../x", "<script>alert(1)</script>", "\x1b]0;t\x07\x1b[2J", "t" * 4096, "a\0b", "caf\u00e9 \u202e")
IDS = ("../../etc/passwd", "a/b\\c", "x\0y", "..", "\x1b[2J", "i" * 4096)


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keys to the sites, and what crawls share away from the user's own, also for the fixtures of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSD_CACHE", str(tmp_path_factory.mktemp("cache")))
        for site, key in KEYS.items():
            patch.setenv(f"{site.upper()}_API_KEY", key)
        yield


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def sites() -> Iterator[StockSites]:
    with StockSites(videos=3) as sites:
        yield sites


def served(site: Site, n: int, **headers: str) -> str:
    return site.at(f"/{n}.mp4", Answer(video(n), headers=headers))


# -- one crawl of everything
class Crawled(NamedTuple):
    run: Path
    sites: StockSites
    site: Site
    listed: list[dict[str, str]]
    folder: dict[str, tuple[str, int]]  # before the crawl
    said: str


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crawled]:
    """Three sites, a folder, and a list of 20 rows: 8 are listed elsewhere, and 2 more have the bytes of others."""
    root = tmp_path_factory.mktemp("everything")
    (root / "videos" / "deep").mkdir(parents=True)
    for n in range(3):
        (root / "videos" / "deep" / f"my {n}.mp4").write_bytes(video(100 + n))
    with StockSites(videos=VIDEOS) as sites, Site() as site:
        contents = [*range(10), 0, 100]
        answers = [Answer(video(content), headers={"Last-Modified": MODIFIED}) for content in contents]
        answers[10] = replace(answers[10], silent_s=0.7)  # the others with these bytes are there before
        urls = [site.at(f"/{n}.mp4", answer) for n, answer in enumerate(answers)]
        aliases = [urls[0], urls[1], urls[2].replace("http", "HTTP"), urls[3] + "#t=1", urls[4] + "?X-Amz-Signature=1"]
        abroad = ["https://videos.pexels.com/video-files/1000002/1000002-hd_1280_720_25fps.mp4"]
        abroad += ["https://pixabay.com/videos/sea-2000003/", "https://assets.mixkit.co/videos/3000001/3000001-720.mp4"]
        listed = [{"url": url, "license": "CC-BY-4.0", "page_url": f"{url}#page"} for url in urls + aliases]
        listed += [{"url": url} for url in abroad]
        for n, row in enumerate(listed):
            row |= {"title": TITLES[n % len(TITLES)], "id": f"{IDS[n % len(IDS)]} {n}", "author": f"Zo\u00eb {n}"}
            row["author_url"] = f"https://example.org/@{n}"
        (root / "the-list.jsonl").write_text("\n".join(map(json.dumps, listed)))
        before = digests(root / "videos")
        the_list = {"kind": "urls", "name": "the-list", "path": "../the-list.jsonl"}
        mine = {"kind": "folder", "name": "mine", "path": "../videos", "license": "CC0-1.0", "author": "me"}
        run = write_crawl(root / "run", *stock(sites.url), the_list, mine)
        done = crawl(run)
        assert done.returncode == 0, done.stderr
        yield Crawled(run, sites, site, listed, before, done.stdout + done.stderr)


def test_counts_add_up_at_every_stage(everything: Crawled) -> None:
    found = 3 * VIDEOS + 20 + 3
    assert counts(everything.run) == {
        "find": (5, 5, 0, 0),
        "admit": (found, found - 8, 8, 0),
        "fetch": (found - 8, found - 8, 0, 0),
        "merge": (found - 8, found - 10, 2, 0),
    }
    assert [len(rows(everything.run, table)) for table in ("find", "admit", "fetch", "merge")] == [35, 27, 27, 25]
    status = osd_build("status", everything.run).stdout
    for table, numbers in counts(everything.run).items():
        assert re.search(rf"^{table} +{' +'.join(map(str, numbers))} ", status, re.M), status
    for table in ("admit", "merge"):
        assert Counter(f.kind for f in left_out(everything.run, table).values()).keys() == {"duplicate"}


def test_every_video_tells_where_it_comes_from_and_whose_it_is(everything: Crawled) -> None:
    run, root = everything.run, everything.sites.url
    known = {(row.site or row.source, row.site_id or row.path): row for row in rows(run, "merge")}
    for n in range(VIDEOS):
        row = known["pexels", f"{FIRST_ID['pexels'] + n}"]
        assert (row.author, row.author_url) == (f"Ann Author{n}", f"{root}/@ann-{n}")
        assert (row.title, row.license) == (f"{WORDS[n].capitalize()} and sky", "LicenseRef-pexels")
        assert row.page_url == f"{root}/video/{slug(n)}-{row.site_id}/"
        row = known["pixabay", f"{FIRST_ID['pixabay'] + n}"]
        assert (row.author, row.author_url) == (f"bo{n}", f"https://pixabay.com/users/bo{n}-{n}/")
        assert (row.license, row.page_url) == ("LicenseRef-pixabay-content", f"{root}/videos/id-{row.site_id}/")
        row = known["mixkit", f"{FIRST_ID['mixkit'] + n}"]
        assert (row.author, row.author_url, row.title) == ("cleo", f"{root}/@cleo/", f"Video {n}: {slug(n)}")
        assert (row.license, row.page_url) == ("LicenseRef-mixkit-free", f"{root}{everything.sites.item_path(n)}")
    for row in (row for row in known.values() if row.source == "the-list"):
        given = next(given for given in everything.listed if given["url"] == row.url)
        assert given == {"id": row.site_id, **{name: getattr(row, name) for name in given if name != "id"}}
        assert row.last_modified == MODIFIED
    for row in known.values():
        assert row.root or (row.url and row.page_url and row.author and row.author_url and row.license)
        assert row.license_url or row.source in ("the-list", "mine")
        assert row.root or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row.retrieved_at)
        assert bool(row.etag) == (row.source in KEYS or row.source == "mixkit")
        content = ((run.parent / "videos") if row.root else run).joinpath(row.path).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (row.sha256, row.size_bytes)
        assert (row.width, row.height) in SIZES.values() and row.video_id == row.sha256[:20]


def test_no_title_and_no_id_names_a_file_and_the_folder_is_as_it_was(everything: Crawled) -> None:
    root = everything.run.parent
    assert digests(root / "videos") == everything.folder
    assert {path.name for path in root.iterdir()} == {"run", "videos", "the-list.jsonl"}
    names = [path.name for path in everything.run.rglob("*")]
    assert all(re.fullmatch(r"[a-z0-9._-]{1,60}", name) for name in names)
    text = "\n".join(names)
    assert not [word for word in (*WORDS, "script", "passwd", "10000", "20000", "30000") if word in text]
    assert "\x1b" not in everything.said
    media = [path for path in (everything.run / "media").rglob("*") if path.is_file()]
    assert all(hashlib.sha256(path.read_bytes()).hexdigest().startswith(path.stem) for path in media)


def test_one_request_a_video_and_one_file_a_content(everything: Crawled) -> None:
    media = everything.sites.asked("/media/")
    assert len(media) == len(set(media)) == 3 * VIDEOS
    assert Counter(path for path, _, _ in everything.site.requests).most_common(1)[0][1] == 1
    assert len(everything.site.requests) == 12 + 1  # robots.txt
    kept = rows(everything.run, "merge")
    assert len({row.sha256 for row in kept}) == len(kept)
    files = [path for path in (everything.run / "media").rglob("*") if path.is_file()]
    assert len(files) == len({row.sha256 for row in rows(everything.run, "fetch") if not row.root})
    also = [json.loads(text)["found_id"] for row in kept for text in row.also]
    assert sorted([*also, *(row.found_id for row in kept)]) == sorted(row.id for row in rows(everything.run, "find"))


def test_every_listing_of_a_video_is_recorded(everything: Crawled) -> None:
    known = {(row.source, name) for row in rows(everything.run, "merge") for name in (row.author, *authors(row))}
    assert {author for source, author in known} >= {row["author"] for row in everything.listed}


def authors(row: Any) -> list[str]:
    return [json.loads(text).get("author", "") for text in row.also]


def test_no_part_of_a_file_is_left(everything: Crawled) -> None:
    assert not [path for path in (everything.run / "fetch.parts").rglob("*") if path.is_file()]


def test_the_site_itself_stands_for_a_video_that_a_list_names_too(tmp_path: Path, sites: StockSites) -> None:
    pages = listing(tmp_path / "a-list.csv", "https://www.pexels.com/video/sea-1000001/")
    run = write_crawl(tmp_path / "run", pages, stock(sites.url)[0])
    assert crawl(run, "--set", "web.attempts=1").returncode == 0
    assert {row.author for row in rows(run, "merge")} == {"Ann Author0", "Ann Author1", "Ann Author2"}


# -- before a crawl, and some of it
def test_a_dry_run_fetches_and_writes_nothing(tmp_path: Path, sites: StockSites, site: Site) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "mine.mp4").write_bytes(video(1))
    the_list = listing(tmp_path / "list.csv", served(site, 1), served(site, 2))
    run = write_crawl(tmp_path / "run", *stock(sites.url), the_list, {"kind": "folder", "path": "../videos"})
    before = [*tmp_path.rglob("*")]
    done = crawl(run, "--dry-run")
    assert done.returncode == 0, done.stderr
    sizes = sum(len(sites.media_bytes("pexels", n, "large")) for n in range(3))
    table = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line and line[0] != " "}
    assert table["pexels"][:5] == ["3", "0", "1", f"{sizes / 1000:.3g}", "kB"]
    assert table["pixabay"][:3] == ["3", "0", "1"]
    assert table["mixkit"][:5] == ["about", "3", "0", "4", "not"]
    assert table["list"][:3] == ["2", "0", "0"]
    assert table["folder"][:3] == ["1", "0", "0"]
    assert all(
        line[-1] in ("s", "min", "h") for name, line in table.items() if name not in ("source", "split", "nothing")
    )
    assert [*tmp_path.rglob("*")] == before
    assert not sites.asked("/media/") and not site.requests


def test_a_dry_run_names_what_cannot_be_asked(
    tmp_path: Path, sites: StockSites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PEXELS_API_KEY")
    with Site() as gone:
        nowhere = gone.at("/")
    run = write_crawl(tmp_path / "run", *stock(sites.url), {"kind": "pixabay", "name": "down", "api": nowhere})
    done = crawl(run, "--dry-run", "--set", "web.attempts=1")
    assert done.returncode == SOME_FAILED
    assert "pexels: no_key: PEXELS_API_KEY is not set" in done.stdout
    assert f"down: connection: no connection to {nowhere}api/videos/" in done.stdout
    assert re.search(r"^pixabay +3 ", done.stdout, re.M)


def test_a_dry_run_with_a_list_on_the_web_leaves_no_trace(tmp_path: Path, site: Site) -> None:
    the_list = site.at("/list.csv", Answer(f"url\n{served(site, 1)}\n".encode()))
    run = write_crawl(tmp_path / "run", {"kind": "urls", "path": the_list})
    assert crawl(run, "--dry-run").returncode == 0
    assert [path.name for path in run.rglob("*")] == ["build.toml"]


def test_some_first_then_all_then_what_is_new(tmp_path: Path, site: Site) -> None:
    urls = [served(site, n) for n in range(4)]
    the_list = site.at("/list.csv", Answer("\n".join(["url", *urls[:3]]).encode()))
    run = write_crawl(tmp_path / "run", {"kind": "urls", "path": the_list}, settings="[split]\nmin_s = 0.2")

    def asked() -> list[int]:
        return [site.asked(f"/{n}.mp4") for n in range(4)]

    assert crawl(run, "--limit", "2").returncode == 0
    assert asked() == [1, 1, 0, 0]
    assert osd_build("split", run).returncode == 0
    assert len(list((run / "split").glob("part-*"))) > 0
    assert crawl(run).returncode == 0
    assert asked() == [1, 1, 1, 0]
    site.at("/list.csv", Answer("\n".join(["url", *urls[1:]]).encode()))
    lists = site.asked("/list.csv")
    assert crawl(run).returncode == 0
    assert (asked(), site.asked("/list.csv")) == ([1, 1, 1, 0], lists)
    assert crawl(run, "--refresh").returncode == 0
    assert (asked(), site.asked("/list.csv")) == ([1, 1, 1, 1], lists + 1)
    assert {row.url for row in rows(run, "merge")} == set(urls[1:])
    assert len(list((run / "media" / "videos").rglob("*.mp4"))) == 4  # nothing is thrown away


def test_a_refresh_that_fails_loses_nothing(tmp_path: Path, site: Site) -> None:
    the_list = site.at("/list.csv", Answer(f"url\n{served(site, 1)}\n".encode()))
    run = write_crawl(tmp_path / "run", {"kind": "urls", "path": the_list})
    assert crawl(run).returncode == 0
    site.at("/list.csv", Answer(status=503))
    refreshed = crawl(run, "--refresh")
    assert (refreshed.returncode, len(rows(run, "merge"))) == (0, 1)
    assert "keeps its last listing" in refreshed.stderr
    assert "503" in refreshed.stderr
