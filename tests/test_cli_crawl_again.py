"""What a user does after a crawl: try failures again, allow licences, take videos down, clean up."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from command_line import SOME_FAILED, WRONG, crawl, left_out, listing, lost, osd_build, rows, write_crawl
from loopback import Answer, Site, video


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


def test_a_retry_tries_what_it_names_and_nothing_else(tmp_path: Path, site: Site) -> None:
    site.at("/robots.txt", Answer(b"User-agent: *\nDisallow: /private/"))
    good, names = Answer(video(1)), ("good", "slow", "busy", "private/x", "gone")
    answers = {"slow": Answer(video(2), silent_s=2), "busy": Answer(status=503), "gone": Answer(status=404)}
    urls = [site.at(f"/{name}.mp4", *([answers[name]] if name in answers else []), good) for name in names]
    site.at("/gone.mp4", answers["gone"])
    run = write_crawl(tmp_path / "run", listing(tmp_path / "list.csv", *urls), settings="silence_s = 0.5")
    once = ("--set", "web.attempts=1")

    def asked() -> list[int]:
        return [site.asked(f"/{name}.mp4") for name in names]

    first = crawl(run, *once)
    assert first.returncode == SOME_FAILED
    assert {(f.kind, f.filtered) for f in left_out(run, "fetch").values()} == {
        *(("timeout", False), ("http_503", False), ("robots", True), ("http_404", False))
    }
    told = [line.split() for line in first.stderr.splitlines() if line.startswith("  osd-build retry")]
    assert [words[2:] for words in told] == [
        ["fetch", f"{run}", "--kind", kind] for kind in ("http_404", "http_503", "timeout")
    ]
    assert asked() == [1, 1, 1, 0, 1]
    forgotten = osd_build("retry", "crawl", run, "--kind", "timeout").stdout
    assert forgotten.startswith(f"1 forgotten; now run: osd-build crawl {run}\n")
    assert "stays: 1 of fetch --kind http_503" in forgotten
    assert osd_build("retry", run, "crawl", "--kind", "robots").stdout.startswith("1 forgotten")
    second = crawl(run, *once, "--set", "web.robots=false")
    assert "note: web.robots is off" in second.stderr
    assert asked() == [1, 2, 1, 1, 1]
    assert sorted(f.kind for f in left_out(run, "fetch").values()) == ["http_404", "http_503"]


def test_a_retry_with_wrong_words_says_what_to_write(tmp_path: Path) -> None:
    run = write_crawl(tmp_path / "run", {"kind": "folder", "path": "."})
    wrong = osd_build("retry", "crawll", run)
    assert (wrong.returncode, "no stage writes 'crawll'; there are: crawl, split" in wrong.stderr) == (WRONG, True)
    for words in (["crawl", "fetch", run], ["crawl", tmp_path / "nowhere"]):
        wrong = osd_build("retry", *words)
        assert wrong.returncode == WRONG
        assert "write osd-build retry [WHAT] RUN" in wrong.stderr


class Reduced(NamedTuple):
    run: Path
    takedown: Path
    asked: list[list[str]]  # after each crawl
    kinds: list[Counter[str]]  # of what each crawl left out
    licenses: list[set[str]]  # of what each crawl kept
    left: set[str]  # contents of the files after `clean`


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reduced]:
    """Crawled with some licences allowed, again with two more takedowns, then cleaned. The site is gone by then."""
    root = tmp_path_factory.mktemp("reduced")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield crawl_and_reduce(root)


def crawl_and_reduce(root: Path) -> Reduced:
    licenses = ("CC0-1.0", "CC-BY-4.0", "cc by-nc 4.0", "", "CC-BY-SA-4.0", "CC-BY-3.0")
    with Site() as site:
        urls = [site.at(f"/{n}.mp4", Answer(video(n))) for n in range(len(licenses))]
        whose = [{"url": url, "license": licenses[n], "author": f"A{n}"} for n, url in enumerate(urls)]
        named = listing(root / "list.csv", *whose)
        allowed = '[licenses]\nallow = ["CC0-1.0", "CC-BY-*", "CC-BY-SA-*"]\ntakedown = "../takedown.txt"'
        run = write_crawl(root / "run", named, settings=allowed)
        asked, kinds, kept = [], [], []
        for lines in ("author: Nobody\n", f"author: a1\n{hashlib.sha256(video(4)).hexdigest()}\n"):
            (root / "takedown.txt").write_text(lines)
            assert crawl(run).returncode == 0
            asked.append([path for path, _, _ in site.requests])
            kinds.append(Counter(f.kind for table in ("admit", "merge") for f in left_out(run, table).values()))
            kept.append({row.license for row in rows(run, "merge")})
    assert osd_build("clean", run).returncode == 0
    left = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (run / "media").rglob("*.mp4")}
    return Reduced(run, root / "takedown.txt", asked, kinds, kept, left)


def test_what_is_not_allowed_is_not_asked_for_and_a_takedown_asks_for_nothing(reduced: Reduced) -> None:
    assert sorted(reduced.asked[0]) == ["/0.mp4", "/1.mp4", "/4.mp4", "/5.mp4", "/robots.txt"]
    assert reduced.asked[1] == reduced.asked[0]
    assert reduced.kinds == [{"license": 2}, {"license": 2, "taken_down": 2}]
    assert reduced.licenses == [{"CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-3.0"}, {"CC0-1.0", "CC-BY-3.0"}]
    assert hashlib.sha256(video(1)).hexdigest() not in reduced.left
    assert reduced.left >= {row.sha256 for row in rows(reduced.run, "merge")}


def test_clean_removes_what_was_taken_down_by_its_hash(reduced: Reduced) -> None:
    assert hashlib.sha256(video(4)).hexdigest() not in reduced.left


def test_what_comes_back_after_clean_is_fetched_again_or_fails(reduced: Reduced) -> None:
    reduced.takedown.write_text("")
    crawl(reduced.run, "--set", "web.attempts=1")
    assert not lost(reduced.run)
