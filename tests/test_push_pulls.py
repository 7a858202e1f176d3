"""Publishing through a pull request."""

import json
import os
import signal
from pathlib import Path

import pytest

from hub_account import READER
from hub_author import LISTING, REPO, Author
from hub_dataset import LAYOUT, SECOND, write_dataset
from hub_store import File

MERGE = "import sys, huggingface_hub as hub; hub.HfApi().merge_pull_request(sys.argv[1], 1, repo_type='dataset')"
COUNT = """
import sys, json, datasets
datasets.config.USE_PARQUET_EXPORT = False
print(json.dumps([datasets.load_dataset(sys.argv[1], split="train", revision=r).num_rows for r in sys.argv[2:]]))
"""


@pytest.fixture
def author(tmp_path: Path) -> Author:
    return Author.new(tmp_path)


def merge(author: Author) -> None:
    author.client.python(MERGE, REPO, token=author.token)


def test_a_pull_request_gets_all_and_main_nothing_until_it_is_merged(author: Author) -> None:
    said = author.push("--create-pr")
    repository = author.repository
    [pull] = repository.pulls
    assert author.published == {}
    assert pull.status == "open"
    assert pull.commits[-1].files.keys() - repository.head.files.keys() == {*LAYOUT, *LISTING}
    assert [commit.files.keys().isdisjoint(LISTING) for commit in pull.commits] == [True, True, False]
    assert said.endswith(
        f"/commit/{pull.commits[-1].oid}; to be merged at {author.hub.url}/datasets/{REPO}/discussions/1\n"
    )
    assert json.loads(author.client.python(COUNT, REPO, "refs/pr/1")) == [5]
    merge(author)
    assert author.published.keys() == {*LAYOUT, *LISTING}
    assert author.push("--create-pr").endswith("nothing to do\n")
    assert len(repository.pulls) == 1


def test_the_same_again_goes_on_in_the_same_pull_request(author: Author) -> None:
    author.push("--create-pr")
    commits = len(author.repository.pulls[0].commits)
    assert "nothing to do" in author.push("--create-pr")
    write_dataset(author.dataset, {**LAYOUT, **SECOND})
    author.push("--create-pr")
    [pull] = author.repository.pulls
    assert len(pull.commits) == commits + 2
    assert pull.commits[-1].files.keys() >= SECOND.keys()


@pytest.mark.parametrize(
    "moment", [r"POST .*/discussions$", r"GET .*/discussions/1", r"POST .*/status", r"PUT /objects"]
)
def test_kill_9_and_again(author: Author, moment: str) -> None:
    author.hub.watch(moment, lambda: os.kill(author.client.pid, signal.SIGKILL))
    assert author.osd_build("push", author.dataset, "--repo", REPO, "--create-pr").code == -signal.SIGKILL
    assert author.published == {}
    author.push("--create-pr")
    pull = author.repository.pulls[-1]
    assert pull.status == "open"
    assert len(author.repository.pulls) == 1
    assert pull.commits[-1].files.keys() >= {*LAYOUT, *LISTING}


def test_who_may_not_write_to_main_may_propose(author: Author) -> None:
    author.push()
    write_dataset(author.dataset, {**LAYOUT, **SECOND})
    before = author.published
    author.token = READER
    assert "may not write there" in author.refused()
    assert "to be merged at" in author.push("--create-pr")
    assert author.published == before
    assert author.repository.pulls[0].author == "visitor"


@pytest.mark.torture
def test_the_pull_requests_of_others_and_closed_ones_are_left_alone(author: Author) -> None:
    author.push()
    author.token = READER
    write_dataset(author.dataset, {**LAYOUT, **SECOND})
    author.push("--create-pr")
    author.token = "hf_writerwriterwriter"
    for number in (2, 3, 4):  # more than a page of them
        author.push("--create-pr")
        assert len(author.repository.pulls) == number
        author.repository.pulls[-1].status = "closed"
    theirs = author.repository.pulls[0]
    assert (theirs.author, theirs.status, len(theirs.commits)) == ("visitor", "open", 3)


@pytest.mark.torture
def test_a_pull_request_waits_while_main_moves_on(author: Author) -> None:
    author.push()
    write_dataset(author.dataset, {**LAYOUT, **SECOND})
    author.push("--create-pr")
    repository = author.repository
    repository.add("notes", {**repository.head.files, "NOTES.md": File(b"mine")})
    merge(author)
    assert author.published.keys() == {*LAYOUT, *SECOND, *LISTING, "NOTES.md"}
    assert json.loads(author.client.python(COUNT, REPO, "main")) == [6]


def test_a_dry_run_tells_of_the_pull_request(author: Author) -> None:
    said = author.push("--create-pr", "--dry-run")
    assert "would put all of it into a pull request" in said
    assert author.hub.repositories == {}
    author.push("--create-pr")
    assert f"/datasets/{REPO}/discussions/1 holds this dataset already" in author.push("--create-pr", "--dry-run")
