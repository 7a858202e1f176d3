"""Taking videos out of a run, out of what was published of it, and out of the Hub's memory."""

import hashlib
import os
import shutil
import signal
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from builder import removed, takedown
from builder.errors import ConfigError
from builder.publishing import publishing
from command_line import listing, osd_build, write_crawl
from hub_author import REPO, Author
from hub_client import Done
from loopback import Answer, Site
from made_video import Made, write

SETTINGS = """allow_private_hosts = true
[split]
min_s = 0.2
[score]
use = ["brightness"]
[dedupe]
on = false
[filter]
keep = ["brightness.mean >= 0"]
[plan]
shard_bytes = 1_000_000
[caption.describe]
tags = "off"
"""
VIDEOS = 4


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run of VIDEOS videos by A0, A1, ...; the last two share a list and so a shard. Their site is gone."""
    root = tmp_path_factory.mktemp("crawled")
    with pytest.MonkeyPatch.context() as patch, Site() as site:
        patch.setenv("OSD_CACHE", str(tmp_path_factory.mktemp("cache")))
        videos = [write(root / f"{n}.mp4", Made(frames=25 + n)).read_bytes() for n in range(VIDEOS)]
        urls = [site.at(f"/{n}.mp4", Answer(data)) for n, data in enumerate(videos)]
        whose = [{"url": url, "license": "CC0-1.0", "author": f"A{n}"} for n, url in enumerate(urls)]
        lists = [listing(root / f"a{n}.csv", *whose[n:until]) for n, until in ((0, 1), (1, 2), (2, VIDEOS))]
        run = write_crawl(root / "run", *lists, settings=SETTINGS)
        done = osd_build("run", run)
        assert done.returncode == 0, done.stderr
    yield root


@dataclass
class Published:
    """A run of one's own, pushed."""

    author: Author
    run: Path

    @property
    def index(self) -> Mapping[str, Mapping[str, str]]:
        """author -> row; each made one video of one clip."""
        rows = pq.read_table(self.run / "dataset" / "index.parquet").to_pylist()
        return {row["author"]: row for row in rows}

    @property
    def hub_authors(self) -> set[str]:
        (self.run.parent / "i.parquet").write_bytes(self.author.published["index.parquet"])
        return set(pq.read_table(self.run.parent / "i.parquet")["author"].to_pylist())

    @property
    def hub_removed(self) -> frozenset[removed.Removed]:
        return removed.read(self.author.published["removed.parquet"])

    def takedown(self, *options: object) -> Done:
        return self.author.osd_build("takedown", self.run, *options)

    def done(self, *options: object) -> str:
        done = self.takedown(*options)
        assert done.code == 0, done.err
        return done.out


@pytest.fixture
def pushed(crawled: Path, tmp_path: Path) -> Published:
    shutil.copytree(crawled, tmp_path / "own")
    author = Author.new(tmp_path)
    author.dataset = tmp_path / "own" / "run"
    author.push("--rule-based-captions")
    return Published(author, author.dataset)


def test_a_takedown_reaches_the_hub_and_its_history(pushed: Published) -> None:
    gone = pushed.index["A1"]
    before = dict(pushed.author.hub.objects)
    said = pushed.done("--author", "a1", "--repo", REPO, "--purge", "--yes")
    assert (pushed.run / "takedown.txt").read_text() == "author: a1\n"
    assert tomllib.loads((pushed.run / "build.toml").read_text())["licenses"] == {"takedown": "takedown.txt"}
    assert pushed.hub_authors == set(pushed.index) == {"A0", "A2", "A3"}
    source = gone["source_sha256"]
    assert pushed.hub_removed == {
        removed.Removed(source),
        removed.Removed(source, gone["key"], gone["mp4_sha256"]),
    }
    assert "this cannot be undone" in said
    kept = {file.sha256 for file in pushed.author.repository.head.files.values()}
    assert before.keys() - pushed.author.hub.objects.keys() == before.keys() - kept
    with_it = [data for data in before.values() if gone["key"].encode() in data]
    assert len(with_it) == 1
    everything = [f.data for commit in pushed.author.repository.commits for f in commit.files.values()]
    assert not [data for data in (*everything, *pushed.author.hub.objects.values()) if data in with_it]
    commits = len(pushed.author.repository.commits)
    again = pushed.done("--author", "A1", "--repo", REPO, "--purge", "--yes")
    assert ["has already author: A1" in again, again.count("nothing to do")] == [True, 2]
    assert len(pushed.author.repository.commits) == commits


def test_what_names_nothing_here_is_listed_and_said(pushed: Published) -> None:
    before = len(pushed.author.repository.commits)
    done = pushed.takedown("--id", "nothing:here", "--repo", REPO)
    assert done.code == 1
    assert "is what was named (nothing:here); it is on the list" in done.err
    assert len(pushed.author.repository.commits) == before


def test_a_shard_that_others_share_is_issued_anew(pushed: Published) -> None:
    old, new = (f"data/a2/r000{n}/a2-train-000000.tar" for n in (1, 2))
    before = pushed.author.published
    pushed.done("--author", "A3", "--repo", REPO)
    assert pushed.hub_authors == {"A0", "A1", "A2"}
    shards = {path for path in pushed.author.published if path.endswith(".tar")}
    assert shards ^ {path for path in before if path.endswith(".tar")} == {old, new}
    assert new in shards


@pytest.mark.torture
def test_a_clip_can_be_named_by_its_id_or_hash_and_a_video_by_its_address(pushed: Published) -> None:
    rows = pushed.index
    clip, sha256, video, url = (
        rows["A0"]["key"],
        rows["A1"]["mp4_sha256"],
        rows["A2"]["video_id"],
        rows["A3"]["media_url"],
    )
    pushed.done("--id", clip, "--sha256", sha256, "--repo", REPO)
    assert pushed.hub_authors == {"A2", "A3"}
    lines = (pushed.run / "takedown.txt").read_text().splitlines()
    assert lines == [rows["A0"]["source_sha256"], rows["A1"]["source_sha256"]]
    assert "has already" in pushed.done("--id", clip)  # which is gone
    pushed.done("--id", video)
    said = pushed.done("--url", url, "--repo", REPO)
    assert "nothing is left of the dataset" in said
    assert pushed.author.published.keys() == {"removed.parquet"}
    assert {row.source_sha256 for row in pushed.hub_removed} == {row["source_sha256"] for row in rows.values()}
    assert {path.name for path in (pushed.run / "dataset").iterdir() if path.is_file()} == {
        *("removed.parquet", "open_sora_dataset.py")
    }
    assert "nothing to do" in pushed.done("--url", url, "--repo", REPO)


@pytest.mark.torture
@pytest.mark.parametrize("moment", [r"PUT /objects", r"POST .*/lfs-files/batch"])
def test_kill_9_and_again(pushed: Published, moment: str) -> None:
    options = ("--author", "A1", "--repo", REPO, "--purge", "--yes")
    hub, client = pushed.author.hub, pushed.author.client
    hub.watch(moment, lambda: os.kill(client.pid, signal.SIGKILL))
    gone = pushed.index["A1"]["key"].encode()
    assert pushed.takedown(*options).code == -signal.SIGKILL
    pushed.done(*options)
    assert pushed.hub_authors == {"A0", "A2", "A3"}
    shards = [data for data in hub.objects.values() if b".mp4" in data]
    assert shards
    assert not [data for data in shards if gone in data]


@pytest.mark.torture
def test_links_stay_links(pushed: Published) -> None:
    text = (pushed.run / "build.toml").read_text()
    assert "nothing to do" in pushed.author.push("--rule-based-captions", "--links")
    named = pushed.run.parent / "a0.csv"
    named.write_text(named.read_text().replace("CC0-1.0", "LicenseRef-pexels"))
    assert osd_build("run", pushed.run).returncode == 0
    pushed.author.push("--rule-based-captions", "--links")
    assert [path for path in pushed.author.published if path.startswith("links/") and path.endswith(".tar")]
    pushed.done("--author", "A3", "--repo", REPO)
    assert "links/manifest.json" in pushed.author.published
    assert pushed.hub_authors == {"A1", "A2"}
    assert text in (pushed.run / "build.toml").read_text()


@pytest.mark.torture
def test_what_was_taken_down_cannot_be_published_again(pushed: Published, tmp_path: Path) -> None:
    shutil.copytree(pushed.run, tmp_path / "old")
    pushed.done("--author", "A1", "--repo", REPO)
    sha256 = next(row.source_sha256 for row in pushed.hub_removed)
    pushed.author.dataset = tmp_path / "old"
    line = pushed.author.refused("--rule-based-captions")
    assert f"was taken down (removed.parquet); take it out first: osd-build takedown RUN --sha256 {sha256}" in line


@pytest.mark.torture
def test_nothing_is_deleted_for_good_unasked(pushed: Published) -> None:
    objects = dict(pushed.author.hub.objects)
    refused = pushed.takedown("--author", "A1", "--repo", REPO, "--purge")
    assert (refused.code, "add --yes" in refused.err) == (2, True)
    assert not (pushed.run / "takedown.txt").exists()
    pushed.done("--author", "A1", "--repo", REPO)
    code = """
from builder.retract import purge
print(list(purge("LanguageBind/Open-Sora-Plan", lambda question: print(question))))
"""
    said = pushed.author.client.python(code, token=pushed.author.token)
    assert "files from LanguageBind/Open-Sora-Plan for good?" in said
    assert "nothing was removed for good" in said
    assert pushed.author.hub.objects.keys() >= objects.keys()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "name what to take down"),
        (("--id", "nothing-like-it"), "has no clip or video 'nothing-like-it'"),
        (("--sha256", "12"), "cannot be listed"),
        (("--author", "A1 #2"), "cannot be listed"),
        (("--author", " "), "cannot be listed"),
        (("--author", "A1\nA2"), "cannot be listed"),
        (("--url", "ftp://x"), "cannot be listed"),
        (("--author", "A1", "--purge", "--yes"), "--purge goes with --repo"),
        (("--author", "A1", "--repo", "x"), "OWNER/NAME"),
    ],
)
def test_wrong_words_change_nothing(crawled: Path, options: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(publishing, ["takedown", str(crawled / "run"), *options])
    assert isinstance(done.exception, ConfigError)
    assert says in str(done.exception)
    assert not (crawled / "run" / "takedown.txt").exists()


def test_a_repository_that_is_not_there_is_not_made(pushed: Published) -> None:
    pushed.author.hub.reset()
    done = pushed.takedown("--author", "A1", "--repo", REPO)
    assert (done.code, "nothing was published there" in done.err) == (1, True)
    assert pushed.author.hub.repositories == {}


# -- the list
@pytest.mark.parametrize(
    "text",
    [
        'name = "x"\n',
        'name = "x"',
        '[licenses]\nallow = ["CC0-1.0"]\n[web]\nrobots = true\n',
        '[[source]]\nkind = "folder"\n[ licenses ] # what\n',
        "[licenses]",
        '# [licenses]\n# takedown = "takedown.txt"\n[plan]\nshard_bytes = 5\n',
    ],
)
def test_build_toml_is_made_to_name_the_list_and_keeps_the_rest(tmp_path: Path, text: str) -> None:
    build = tmp_path / "build.toml"
    build.write_text(text)
    before = tomllib.loads(text)
    takedown.name_list(build)
    after = tomllib.loads(build.read_text())
    assert after.pop("licenses") == {**before.pop("licenses", {}), "takedown": "takedown.txt"}
    assert after == before
    assert all(line in build.read_text().splitlines() for line in text.splitlines())


@pytest.mark.parametrize("text", ["licenses = {}\n", "licenses.allow = []\n", '[licenses]\ntakedown = ""\n'])
def test_where_it_is_not_clear_the_user_is_asked(tmp_path: Path, text: str) -> None:
    build = tmp_path / "build.toml"
    build.write_text(text)
    with pytest.raises(ConfigError, match=r"into \[licenses\] of"):
        takedown.name_list(build)
    assert build.read_text() == text


def test_only_what_is_new_is_added_to_the_list(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("# ours\npexels:1  # asked on Monday\nauthor: Ann  Lee")
    said = list(takedown.add(path, ["PEXELS:1", "author: ann lee", "author: Bo", "author: Bo"]))
    assert path.read_text() == "# ours\npexels:1  # asked on Monday\nauthor: Ann  Lee\nauthor: Bo\n"
    assert [line.endswith("author: Bo") and "added" in line for line in said] == [False, False, True, True]


def test_removed_parquet_is_the_same_for_the_same_rows(tmp_path: Path) -> None:
    rows = [removed.Removed("s", "c", "m"), removed.Removed("s"), removed.Removed("t")]
    data = removed.as_bytes(rows)
    assert data == removed.as_bytes(reversed(rows))
    assert removed.read(data) == frozenset(rows)
    assert hashlib.sha256(data).hexdigest() == hashlib.sha256(removed.as_bytes([*rows, *rows])).hexdigest()
    for damaged in (data[:-9], b"PAR1", b""):
        with pytest.raises(ValueError, match="damaged"):
            removed.read(damaged)
