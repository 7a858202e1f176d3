"""What may be published, and what becomes of the rest."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from builder.publication import check_intact
from hub_author import LISTING, REPO, Author
from hub_dataset import BARRED, FREE, LAYOUT, write_dataset
from shards.links import links_path
from shards.manifest import Manifest

OPEN, SHUT, MIXED = (f"data/zoo/r0001/zoo-train-00000{n}.tar" for n in range(3))
PARTED = {OPEN: {"aa-1": FREE, "ab-1": FREE}, SHUT: {"ba-1": BARRED}}
READ = """
import json, sys
import datasets
datasets.config.USE_PARQUET_EXPORT = False
name = sys.argv[2] or None
found = []
for streaming in (True, False):
    rows = list(datasets.load_dataset(sys.argv[1], name, split="train", streaming=streaming))
    found.append(sorted(row["__key__"] for row in rows))
print(json.dumps([found, sorted(rows[0]), rows[0]["json"].get("mp4_sha256", ""), rows[0]["json"]["title"]]))
"""


@pytest.fixture
def author(tmp_path: Path) -> Author:
    return Author.new(tmp_path)


def read(author: Author, name: str = "") -> list[object]:
    """Keys, streaming and not; columns, hash and title of the last clip."""
    return json.loads(author.client.python(READ, REPO, name))


def test_what_may_not_be_passed_on_is_left_out_and_counted(author: Author) -> None:
    write_dataset(author.dataset, PARTED)
    said = author.push()
    assert "left out: 1 clips: LicenseRef-pexels forbids redistributing clips" in said
    assert said.splitlines()[-1].startswith("published 2 clips in 1 shards")
    assert author.published.keys() == {OPEN, *LISTING}
    manifest = Manifest.from_json(author.published["manifest.json"].decode())
    assert (manifest.totals.samples, manifest.licenses) == (2, {FREE: 2})
    assert b"ba-1" not in author.published["index.parquet"] + author.published["README.md"]
    assert read(author)[0] == [["aa-1", "ab-1"]] * 2


def test_a_downloaded_part_is_a_whole_dataset(author: Author, tmp_path: Path) -> None:
    write_dataset(author.dataset, PARTED)
    author.push()
    code = "import sys, huggingface_hub as hub; hub.snapshot_download(sys.argv[1], repo_type='dataset', local_dir='{}')"
    author.client.python(code.format(tmp_path / "copy"), REPO)
    assert check_intact(tmp_path / "copy").totals.samples == 2
    assert str(author.dataset) not in (tmp_path / "copy" / "README.md").read_text()


def test_a_shard_with_one_clip_that_may_not_go_stays_whole(author: Author) -> None:
    write_dataset(author.dataset, {**PARTED, MIXED: {"ca-1": FREE, "cb-1": BARRED, "cc-1": FREE}})
    said = author.push()
    assert "left out: 2 clips: LicenseRef-pexels forbids" in said
    assert "left out: 2 clips: the licence allows it, but they lie in a shard with clips of which it does not" in said
    assert {path for path in author.published if path.endswith(".tar")} == {OPEN}


def test_a_shard_that_its_maker_holds_back_is_left_out(author: Author) -> None:
    manifest = json.loads((author.dataset / "manifest.json").read_text())
    held = manifest["shards"][0]
    held["redistributable"] = False
    (author.dataset / "manifest.json").write_text(json.dumps(manifest))
    author.push()
    assert {path for path in author.published if path.endswith(".tar")} == LAYOUT.keys() - {held["path"]}


@pytest.mark.parametrize("license_", ["", "Mine alone", "CC-BY-ND-4.0"])
def test_nothing_goes_where_nothing_may(author: Author, license_: str) -> None:
    write_dataset(author.dataset, {OPEN: {"aa-1": license_}})
    line = author.refused()
    assert "nothing in it may be published (1 clips: " in line
    assert "--links" in line
    assert author.hub.requests == []


def test_a_licence_that_bars_later_takes_its_shard_away(author: Author) -> None:
    write_dataset(author.dataset, {OPEN: PARTED[OPEN], SHUT: {"ba-1": FREE}})
    author.push()
    assert SHUT in author.published
    write_dataset(author.dataset, PARTED)
    author.push()
    assert author.published.keys() == {OPEN, *LISTING}


def test_links_stand_for_what_may_not_go(author: Author) -> None:
    write_dataset(author.dataset, PARTED)
    said = author.push("--links")
    assert "links only: 1 clips: " in said
    assert "published 2 clips in 1 shards, and the links of 1 more" in said
    assert author.published.keys() == {OPEN, links_path(SHUT), "links/manifest.json", *LISTING}
    index = pq.read_table(author.dataset / "index.parquet").to_pylist()
    [sha256] = [row["mp4_sha256"] for row in index if row["key"] == "ba-1"]
    assert read(author)[0] == [["aa-1", "ab-1"]] * 2
    assert read(author, "links")[:3] == [[["ba-1"]] * 2, ["__key__", "__url__", "json", "llava.txt", "txt"], sha256]
    assert author.push("--links").splitlines()[-1].endswith("nothing to do")
    assert author.push().splitlines()[-1].startswith("published 2 clips in 1 shards: ")
    assert author.published.keys() == {OPEN, *LISTING}


def test_links_alone_are_what_the_same_line_loads(author: Author) -> None:
    write_dataset(author.dataset, {SHUT: PARTED[SHUT], MIXED: {"ca-1": "", "cb-1": BARRED}})
    author.push("--links")
    shards = {links_path(SHUT), links_path(MIXED)}
    assert author.published.keys() == {*shards, "links/manifest.json", *LISTING}
    assert read(author)[:2] == [
        [["ba-1", "ca-1", "cb-1"]] * 2,
        ["__key__", "__url__", "json", "llava.txt", "txt"],
    ]
    assert "holds no video" in author.published["README.md"].decode()
    assert author.push("--links").splitlines()[-1].endswith("nothing to do")


def test_links_of_hostile_texts_come_back_as_they_were(author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    title = '{{ x }} <script>alert(1)</script>\n---\n"]}\u2028=cmd|!'
    monkeypatch.setattr("hub_dataset.WRITTEN", {"caption_model": "a model", "license_url": "", "title": title})
    write_dataset(author.dataset, {SHUT: {"ba-1": BARRED}})
    author.push("--links")
    assert read(author)[3] == title


def test_captions_by_rule_alone_must_be_meant(author: Author) -> None:
    write_dataset(author.dataset, captioners=("describe",))
    assert "add --rule-based-captions" in author.refused()
    assert author.hub.requests == []
    assert "published 5 clips" in author.push("--rule-based-captions")


# -- dry runs
def test_a_dry_run_says_what_a_push_would_do_and_does_nothing(author: Author) -> None:
    write_dataset(author.dataset, PARTED)
    said = author.push("--dry-run", "--links")
    for line in ("links only: 1 clips", "would make", "would send, ahead of the card: ", OPEN, links_path(SHUT)):
        assert line in said
    assert said.splitlines()[-1] == "nothing was sent (--dry-run)"
    assert author.hub.repositories == {}
    assert not [request for request in author.hub.requests if request.startswith(("POST", "PUT"))]
    author.push()
    head = author.repository.head
    write_dataset(author.dataset, {SHUT: {"ba-1": FREE}})
    said = author.push("--dry-run")
    assert f"would remove in the same commit: {OPEN}" in said
    assert "would then commit" in said
    assert author.repository.head is head
    write_dataset(author.dataset, PARTED)
    assert "holds this dataset already" in author.push("--dry-run")


def test_a_dry_run_needs_no_token_but_refuses_a_wrong_one(author: Author) -> None:
    author.token = ""
    assert "would make" in author.push("--dry-run")
    author.token = "hf_strangerstranger"
    assert "does not know the token" in author.refused("--dry-run")


def test_the_repository_is_an_option(author: Author) -> None:
    done = author.osd_build("push", author.dataset, REPO)
    assert done.code == 2
    assert "--repo" in done.err
