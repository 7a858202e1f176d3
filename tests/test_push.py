"""Publishing, with the real clients in processes of their own, to a peer of the Hub that is as strict as the Hub."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from builder.errors import ConfigError
from builder.repository import check_name
from hub_account import READER
from hub_author import LISTING, REPO, Author
from hub_client import HubClient
from hub_dataset import LAYOUT, write_dataset
from hub_store import File
from shards.manifest import read_manifest


@pytest.fixture
def author(tmp_path: Path) -> Author:
    return Author.new(tmp_path)


def test_shards_go_first_and_the_card_last_in_one_commit(author: Author) -> None:
    said = author.push()
    first, shards, last = author.repository.commits
    assert shards.files.keys() - first.files.keys() == set(LAYOUT)
    assert last.files.keys() - shards.files.keys() == LISTING
    assert said == f"published 5 clips in 3 shards: {author.hub.url}/datasets/{REPO}/commit/{last.oid}\n"
    local = {path: (author.dataset / path).read_bytes() for path in (*LAYOUT, *LISTING)}
    differing = {path for path, data in author.published.items() if data != local[path]}
    assert differing == {"README.md"}
    looked, published_last = f"GET /api/datasets/{REPO}/tree/{shards.oid}", f"POST /api/datasets/{REPO}/commit/main"
    assert looked in author.hub.requests[: author.hub.requests.index(published_last, -4)]  # the shards, before the card


def test_the_published_card_names_the_repository(author: Author) -> None:
    author.push()
    card = author.published["README.md"].decode()
    assert re.findall(r"for sample in (\w+)\(\"([^\"]+)\"", card) == [("load_dataset", REPO), ("load", REPO)]
    assert str(author.dataset) not in card


def test_an_unchanged_dataset_is_not_published_again(author: Author) -> None:
    author.push()
    author.hub.requests.clear()
    said = author.push()
    assert "nothing to do" in said
    assert len(author.repository.commits) == 3
    assert not [request for request in author.hub.requests if re.search("PUT|commit|batch", request)]


def test_everybody_can_read_it(author: Author) -> None:
    author.push()
    code = """
import json, sys
import datasets
datasets.config.USE_PARQUET_EXPORT = False
from open_sora_dataset import load
plain = datasets.load_dataset(sys.argv[1], split="train", streaming=True)
nasa = datasets.load_dataset(sys.argv[1], "nasa", split="train")
videos = load(sys.argv[1], decode=True)
print(json.dumps([
    sorted(sample["__key__"] for sample in plain),
    sorted(sample["json"]["license"] for sample in nasa),
    sorted((sample["__key__"], list(sample["video"].frames().shape)) for sample in videos),
]))
"""
    keys, licenses, shapes = json.loads(author.client.python(code, REPO))
    expected = sorted(key for shard in LAYOUT.values() for key in shard)
    assert keys == expected
    assert licenses == ["CC-BY-4.0", "CC-BY-4.0"]
    assert shapes == [[key, [6, 48, 64, 3]] for key in expected]


@pytest.mark.parametrize("moment", [r"PUT /objects", r"POST .*/commit/"])
def test_kill_9_and_again(author: Author, moment: str) -> None:
    whole = author.push()
    expected = author.published
    author.hub.repositories.clear()
    author.hub.objects.clear()

    author.hub.watch(moment, lambda: os.kill(author.client.pid, signal.SIGKILL))
    assert author.client.run("push", author.dataset, "--repo", REPO, token=author.token).code == -signal.SIGKILL
    assert "README.md" not in author.published
    assert author.push() == whole
    assert author.published == expected


def test_what_has_arrived_is_not_sent_again(author: Author) -> None:
    author.hub.fail(r"POST .*/commit/", 500, times=10)
    author.refused()
    sent = [request for request in author.hub.requests if request.startswith("PUT")]
    author.hub.faults.clear()
    author.hub.requests.clear()
    author.push()
    again = [request for request in author.hub.requests if request.startswith("PUT")]
    assert len(sent) == len(LAYOUT)
    assert len(again) == 1  # the index
    assert not set(sent) & set(again)


def test_short_trouble_is_waited_out(author: Author) -> None:
    for request in (r"PUT /objects", r"/preupload/", r"/info/lfs/objects/batch"):
        author.hub.fail(request, 503, times=1)
    author.push()
    assert author.published.keys() == {*LAYOUT, *LISTING}


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (r"POST .*/commit/", 503, "trouble of its own (status 503)"),
        (r"POST .*/commit/", 429, "too many requests"),
        (r"POST .*/commit/", 413, "too large"),
        (r"GET .*/tree/", 404, "no such repository"),
        (r"GET .*/api/datasets/", 0, "cannot be talked to"),
    ],
)
def test_lasting_trouble_is_one_clear_line(author: Author, request_: str, status: int, says: str) -> None:
    author.hub.fail(request_, status, times=100)
    line = author.refused()
    assert says in line
    assert "run the same again" in line or status in (404, 413)
    assert "README.md" not in (author.published if REPO in author.hub.repositories else {})


def test_no_token(author: Author) -> None:
    author.token = ""
    assert "needs a token; log in with `hf auth login`, or set HF_TOKEN" in author.refused()
    assert author.hub.requests == []


@pytest.mark.parametrize("token", ["hf_strangerstranger", "hf_\u00fcmlaut"])
def test_a_token_that_nobody_knows(author: Author, token: str) -> None:
    author.token = token
    assert "does not know the token" in author.refused()


def test_a_token_that_may_only_read(author: Author) -> None:
    author.push()
    with (author.dataset / "open_sora_dataset.py").open("a") as file:
        file.write("# changed\n")
    author.token = READER
    assert "may not write there" in author.refused()
    assert len(author.repository.commits) == 3


def test_nobody_answers(author: Author, tmp_path: Path) -> None:
    with HubClient("http://127.0.0.1:9", tmp_path) as client:
        author.client = client
        assert "cannot be talked to" in author.refused()


def test_somebody_else_commits_meanwhile(author: Author) -> None:
    def commit() -> None:
        repository = author.repository
        repository.add("theirs", {**repository.head.files, "NOTES.md": File(b"mine")})

    author.hub.watch(r"POST .*/validate-yaml", commit)  # the card's commit is being prepared
    assert "somebody else has committed to it meanwhile" in author.refused()
    assert LISTING.isdisjoint(author.published)
    author.push()
    assert author.published.keys() == {*LAYOUT, *LISTING, "NOTES.md"}


def test_published_shards_never_change(author: Author, tmp_path: Path) -> None:
    author.push()
    entries = read_manifest(author.dataset).shards
    manifest = json.loads(author.published["manifest.json"])
    manifest["shards"][0]["sha256"] = "0" * 64
    repository = author.repository
    repository.add("other", {**repository.head.files, "manifest.json": File(json.dumps(manifest).encode())})
    line = author.refused()
    assert "published shards are never changed" in line
    assert entries[0].path in line


def test_left_over_shards_of_a_push_that_failed_are_replaced(author: Author) -> None:
    author.push()
    path, stranger = next(iter(LAYOUT)), "data/nasa/r0001/nasa-train-000009.tar"
    repository = author.repository
    files = {p: f for p, f in repository.head.files.items() if p not in LISTING}
    left = {path: File(b"other bytes", lfs=True), stranger: File(b"x", lfs=True), "data/x.txt": File(b"theirs")}
    repository.add("left over", {**files, **left})
    author.push()
    now = author.published
    assert now.keys() == {*LAYOUT, *LISTING, "data/x.txt"}
    assert now[path] == (author.dataset / path).read_bytes()


def test_shards_for_a_folder_that_readers_see_come_with_the_card(author: Author) -> None:
    """The published card reads data/pexels/r0001/*.tar: a shard more in there and its counts would be wrong."""
    smaller = drop_shard(author, "data/pexels/r0001/pexels-train-000001.tar")
    author.push()
    before = author.repository.head
    write_dataset(author.dataset)
    author.push()
    after = author.repository.commits
    assert after[-2] == before
    assert after[-1].files.keys() - before.files.keys() == {smaller}


def test_shards_no_longer_listed_go_with_the_card(author: Author) -> None:
    author.push()
    dropped = drop_shard(author, "data/pexels/r0001/pexels-train-000001.tar")
    author.push()
    before, after = author.repository.commits[-2:]
    assert before.files.keys() - after.files.keys() == {dropped}
    assert before.files["README.md"] != after.files["README.md"]


def drop_shard(author: Author, path: str) -> str:
    """Write the dataset anew without this shard."""
    write_dataset(author.dataset, {known: keys for known, keys in LAYOUT.items() if known != path})
    return path


def test_a_damaged_dataset_is_not_sent(author: Author) -> None:
    shard = author.dataset / next(iter(LAYOUT))
    shard.write_bytes(shard.read_bytes()[:-600])
    line = author.refused()
    assert "is not intact, nothing was sent" in line
    assert shard.name in line
    assert author.hub.requests == []


def test_a_folder_that_is_no_dataset(author: Author, tmp_path: Path) -> None:
    author.dataset = tmp_path
    assert "no finished dataset" in author.refused()


def test_private(author: Author) -> None:
    author.push("--private")
    assert author.repository.private
    author.repository.private = False
    assert "is public" in author.refused("--private")


def test_a_repository_of_another_kind_is_left_alone(author: Author) -> None:
    author.push()
    repository = author.repository
    repository.add("other", {**repository.head.files, "manifest.json": File(b'{"format_version": 99}')})
    assert "format_version 99" in author.refused()


@pytest.mark.parametrize("name", ["Open-Sora-Plan", "a/b/c", "a/../b", "", "a/b c", "x/open_sora_dataset"])
def test_names_that_cannot_be_used(name: str) -> None:
    with pytest.raises(ConfigError, match="loading script" if "_" in name else "OWNER/NAME"):
        check_name(name)
