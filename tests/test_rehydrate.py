"""From links to the very shards they stand for, or a clear word for each clip why not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ConfigError, RunError
from builder.rehydration.rehydrate import Outcome, rehydrate
from builder.web.limits import Limits
from command_line import digests, osd_build
from hub_client import HubClient
from hub_server import HubServer
from hub_store import File, Repository
from links_dataset import CLIPS, VIDEOS, LinksDataset, relink, write_links_dataset
from loopback import Answer, Site
from shards.manifest import read_manifest
from shards.verify import verify
from small_dataset import REPOSITORY

POLITE = Limits(allow_private_hosts=True, requests_per_s=10_000, attempts=2, wait_s=0.01)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, site: Site) -> LinksDataset:
    return write_links_dataset(tmp_path_factory.mktemp("links"), site.url)


@pytest.fixture
def dataset(made: LinksDataset, tmp_path: Path, site: Site) -> LinksDataset:
    """A copy to spoil; the site serves the videos."""
    for name in VIDEOS:
        site.at(f"/{name}", Answer((made.videos / name).read_bytes()))
    for name in ("links", "videos"):
        shutil.copytree(getattr(made, "folder" if name == "links" else name), tmp_path / name)
    return replace(made, folder=tmp_path / "links", videos=tmp_path / "videos")


def shards(folder: Path) -> dict[str, str]:
    return {entry.path: entry.sha256 for entry in read_manifest(folder).shards}


def left_out(out: Path) -> dict[str, str]:
    """Key -> kind."""
    return {row["key"]: row["kind"] for row in map(json.loads, (out / "left_out.jsonl").read_text().splitlines())}


def test_shards_come_back_byte_for_byte(dataset: LinksDataset, tmp_path: Path) -> None:
    before = digests(dataset.videos)
    outcome = rehydrate(str(dataset.folder), dataset.videos, tmp_path / "out", None)
    assert (outcome.clips, outcome.made, outcome.same, outcome.reasons) == (5, 5, 5, {})
    assert verify(tmp_path / "out") == []
    assert shards(tmp_path / "out") == shards(dataset.packed)
    assert not any(entry.redistributable for entry in read_manifest(tmp_path / "out").shards)
    assert not (tmp_path / "out/left_out.jsonl").exists()
    assert digests(dataset.videos) == before


def test_the_card_says_where_it_is_from(dataset: LinksDataset, tmp_path: Path) -> None:
    rehydrate(str(dataset.folder), dataset.videos, tmp_path / "out", None)
    card = (tmp_path / "out/README.md").read_text()
    assert "Captions named \\`llava\\`" not in card
    assert "you may not publish: osd-build push leaves these shards out" in card
    assert "config `links`" not in card


def test_files_are_known_by_their_bytes_whatever_their_names(dataset: LinksDataset, tmp_path: Path) -> None:
    elsewhere = tmp_path / "mine"
    elsewhere.mkdir()
    (elsewhere / "notes.txt").write_text("nothing")
    for number, name in enumerate(VIDEOS):
        (dataset.videos / name).rename(elsewhere / f"holiday {number}")
    assert rehydrate(str(dataset.folder), elsewhere, tmp_path / "out", None).made == 5


def test_a_file_that_differs_is_told_and_its_clips_are_left_out(dataset: LinksDataset, tmp_path: Path) -> None:
    with (dataset.videos / "pexels/101.mp4").open("ab") as file:
        file.write(b"x")
    (dataset.videos / "nasa/202.avi").unlink()
    outcome = rehydrate(str(dataset.folder), dataset.videos, tmp_path / "out", None)
    assert (outcome.made, outcome.reasons) == (2, {"differs": 2, "missing": 1})
    assert left_out(tmp_path / "out") == {"bb-000": "missing", "aa-000": "differs", "aa-001": "differs"}
    assert str(dataset.videos / "pexels/101.mp4") in (tmp_path / "out/left_out.jsonl").read_text()
    assert verify(tmp_path / "out") == []
    done = osd_build("rehydrate", dataset.folder, "--videos", dataset.videos, "--out", tmp_path / "again")
    assert done.returncode == 3
    assert "2 of 5 clips have their video now" in done.stdout
    assert "left out: 2 (differs)" in done.stdout


def test_more_videos_later_fill_in_the_rest(dataset: LinksDataset, tmp_path: Path) -> None:
    """What the first run made stays, although its videos are no longer there."""
    some, out = tmp_path / "some", tmp_path / "out"
    some.mkdir()
    shutil.copy(dataset.videos / "pexels/101.mp4", some)
    assert rehydrate(str(dataset.folder), some, out, None).made == 2
    assert verify(out) == []
    (dataset.videos / "pexels/101.mp4").unlink()
    outcome = rehydrate(str(dataset.folder), dataset.videos, out, None)
    assert (outcome.made, outcome.same) == (5, 3)
    assert shards(out) == shards(dataset.packed)
    untouched = {path: path.stat().st_mtime_ns for path in (out / "data").rglob("*.tar")}
    assert rehydrate(str(dataset.folder), some, out, None).made == 5
    assert {path: path.stat().st_mtime_ns for path in (out / "data").rglob("*.tar")} == untouched


def test_nothing_at_all_is_no_dataset(dataset: LinksDataset, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="no clip got its video"):
        rehydrate(str(dataset.folder), tmp_path / "empty", tmp_path / "out", None)
    assert not (tmp_path / "out/manifest.json").exists()
    assert len(left_out(tmp_path / "out")) == 5


# -- fetching
def test_what_is_not_there_is_fetched_and_not_kept(dataset: LinksDataset, tmp_path: Path, site: Site) -> None:
    (dataset.videos / "pexels/101.mp4").unlink()
    (dataset.videos / "nasa/201.mkv").unlink()
    site.requests.clear()
    outcome = rehydrate(str(dataset.folder), dataset.videos, tmp_path / "out", POLITE)
    assert outcome.made == 5
    assert shards(tmp_path / "out") == shards(dataset.packed)
    fetched = sorted(path for path, _, _ in site.requests if path != "/robots.txt")
    assert fetched == ["/nasa/201.mkv", "/pexels/101.mp4"]
    assert [path.name for path in (tmp_path / "out/.rehydrate").iterdir()] == ["links.json"]


def test_all_can_be_fetched(dataset: LinksDataset, tmp_path: Path) -> None:
    assert rehydrate(str(dataset.folder), None, tmp_path / "out", POLITE).made == 5


def test_what_the_web_has_must_be_the_same_video(dataset: LinksDataset, tmp_path: Path, site: Site) -> None:
    site.at("/pexels/101.mp4", Answer((dataset.videos / "pexels/102-a.mp4").read_bytes()))
    site.at("/nasa/201.mkv", Answer(b"gone", 404))
    site.at("/nasa/202.avi", Answer(b"<html>log in</html>"))
    outcome = rehydrate(str(dataset.folder), None, tmp_path / "out", POLITE)
    assert outcome.reasons == {"wrong_hash": 2, "http_404": 1, "web_page": 1}
    assert outcome.made == 1
    assert verify(tmp_path / "out") == []


def test_links_cannot_reach_into_this_network(dataset: LinksDataset, tmp_path: Path, site: Site) -> None:
    site.requests.clear()
    with pytest.raises(RunError, match=r"left out: 5 \(private_host\)"):
        rehydrate(str(dataset.folder), None, tmp_path / "out", replace(POLITE, allow_private_hosts=False))
    assert site.requests == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"source_sha256": "../../../escape"}, "no_hash"),
        ({"source_sha256": ""}, "no_hash"),
        ({"source_sha256": "A" * 64}, "no_hash"),
        ({"media_url": "file:///etc/passwd"}, "bad_url"),
        ({"media_url": "https://cdn.example/v.mp4?token=***"}, "secret"),
        ({"media_url": ""}, "bad_url"),
        ({"start_frame": -5}, "other_frames"),
        ({"end_frame": 10**9, "end_s": 1e9}, "other_frames"),
        ({"start_s": 100.0, "end_s": 200.0, "start_frame": 7, "end_frame": 5}, "other_frames"),
    ],
)
def test_hostile_links_fail_by_name(dataset: LinksDataset, tmp_path: Path, changes: dict[str, Any], kind: str) -> None:
    relink(dataset, **changes)
    wanted = "media_url" in changes
    videos = None if wanted else dataset.videos
    with pytest.raises(RunError, match=rf"left out: \d \({kind}\)"):
        rehydrate(str(dataset.folder), videos, tmp_path / "out", POLITE if wanted else None)
    assert not list(tmp_path.rglob("*escape*"))


# -- whole or not at all
def test_another_folder_is_not_taken(dataset: LinksDataset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/README.md").write_text("mine")
    with pytest.raises(ConfigError, match="holds something else"):
        rehydrate(str(dataset.folder), dataset.videos, tmp_path / "mine", None)
    rehydrate(str(dataset.folder), dataset.videos, tmp_path / "out", None)
    relink(dataset, title="another")
    with pytest.raises(ConfigError, match="holds something else"):
        rehydrate(str(dataset.folder), dataset.videos, tmp_path / "out", None)
    assert (tmp_path / "mine/README.md").read_text() == "mine"


def test_options_that_do_not_fit(dataset: LinksDataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--videos FOLDER"):
        rehydrate(str(dataset.folder), None, tmp_path / "out", None)
    with pytest.raises(ConfigError, match="which is only read"):
        rehydrate(str(dataset.folder), dataset.videos, dataset.videos / "pexels/out", None)
    with pytest.raises(ConfigError, match="is no folder"):
        rehydrate(str(dataset.folder), tmp_path / "nowhere", tmp_path / "out", None)
    with pytest.raises(RunError, match="has no links"):
        rehydrate(str(dataset.packed), dataset.videos, tmp_path / "out", None)
    with pytest.raises(RunError, match="cannot be read"):
        rehydrate(str(tmp_path), dataset.videos, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


def test_killed_it_goes_on(dataset: LinksDataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        f"import sys; sys.argv = {['osd-build', 'rehydrate', str(dataset.folder), '--videos', str(dataset.videos)]!r}"
    )
    code += f" + ['--out', {str(out)!r}]; from builder.cli import main; main()"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    for files in (2, 5):  # the note; a clip; a shard
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL)
        while process.poll() is None and len([path for path in out.rglob("*") if path.is_file()]) < files:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (out / "manifest.json").exists() or verify(out) == []
    outcome = rehydrate(str(dataset.folder), dataset.videos, out, None)
    assert outcome.made == 5
    assert shards(out) == shards(dataset.packed)
    assert not list((out / ".scratch").iterdir())


@pytest.mark.parametrize("place", [0, 300, 600, -1500])
def test_links_that_are_not_what_was_listed(dataset: LinksDataset, tmp_path: Path, place: int) -> None:
    tar = next(dataset.folder.rglob("nasa-*.tar"))
    data = bytearray(tar.read_bytes())
    data[place] ^= 1
    tar.write_bytes(data)
    assert [problem.path for problem in verify(dataset.folder)] == [tar.relative_to(dataset.folder).as_posix()]
    with pytest.raises(RunError, match="fetch it again"):
        rehydrate(str(dataset.folder), dataset.videos, tmp_path / "out", None)


def test_verify_knows_links(dataset: LinksDataset) -> None:
    assert verify(dataset.folder) == []
    tar = next(dataset.folder.rglob("nasa-*.tar"))
    shutil.copy(tar, tar.with_name("nasa-train-000001.tar"))
    assert next(problem.what for problem in verify(dataset.folder)) == "is not listed in links/manifest.json: remove it"
    tar.with_name("nasa-train-000001.tar").unlink()
    tar.unlink()
    assert next(problem.what for problem in verify(dataset.folder)) == "is listed in links/manifest.json but missing"


# -- from the Hub
def test_from_the_hub(dataset: LinksDataset, tmp_path: Path) -> None:
    repo = "LanguageBind/Open-Sora-Plan"
    with HubServer() as hub, HubClient(hub.url, tmp_path) as client:
        paths = [path for path in dataset.folder.rglob("*") if path.is_file()]
        files = {str(p.relative_to(dataset.folder)): File(p.read_bytes(), p.suffix == ".tar") for p in paths}
        hub.repositories[repo] = Repository()
        hub.repositories[repo].add("published", files)
        hub.objects.update({file.sha256: file.data for file in files.values()})
        proven = client.run("verify", f"hf://{repo}")
        done = client.run("rehydrate", f"hf://{repo}", "--videos", dataset.videos)
        code = f"""
from datasets import load_dataset
for row in load_dataset("{repo}", split="train", streaming=True):
    print(row["__key__"], row["txt"], row["json"]["mp4_sha256"])
"""
        printed = client.python(code)
    assert (proven.code, proven.out) == (0, f"hf://{repo}: verified\n"), proven.err
    assert done.code == 0, done.err
    out = tmp_path / "Open-Sora-Plan-with-videos"
    assert f"5 of 5 clips have their video now, 5 cut now are byte for byte as they were packed: {out.name}" in done.out
    assert shards(out) == shards(dataset.packed)
    keys = [key for source in ("nasa", "pexels") for key, clip in CLIPS.items() if clip[0].startswith(source)]
    assert printed.splitlines() == [f"{key} A bar in {key}. {dataset.mp4s[key]}" for key in keys]


def test_what_is_told(tmp_path: Path) -> None:
    told = Outcome(tmp_path, 5, 3, 0, {"missing": 2}).told()
    assert told[0] == f"3 of 5 clips have their video now: {tmp_path}"
    assert told[-1] == f"  which, and why: {tmp_path / 'left_out.jsonl'}"
