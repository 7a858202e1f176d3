"""Whatever goes wrong in the middle: readers see the dataset as it was or as it is, and the same again finishes it.

One moment here, all of them with `make torture`.
"""

import fnmatch
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from hub_author import LISTING, REPO, Author
from hub_client import REPOSITORY, HubClient
from hub_dataset import BARRED, FREE, LAYOUT, write_dataset
from hub_store import File, Repository

DROPPED = "data/pexels/r0001/pexels-train-000001.tar"
HELD = "data/nasa/r0003/nasa-train-000000.tar"
NEXT = {  # a shard less, one more, and links
    **{path: keys for path, keys in LAYOUT.items() if path != DROPPED},
    "data/nasa/r0002/nasa-train-000000.tar": {"bc-0001": FREE, "bd-0001": FREE},
    HELD: {"be-0001": BARRED},
}
WANTED = {*NEXT.keys() - {HELD}, HELD.replace("data/", "links/"), "links/manifest.json", *LISTING}
POLL = """
import json, sys, tempfile
import datasets
datasets.config.USE_PARQUET_EXPORT = False
found = []
while not found or found[-1] != [6, 6]:
    try:
        with tempfile.TemporaryDirectory() as cache:
            loaded = datasets.load_dataset(sys.argv[1], split="train", cache_dir=cache)
            streamed = datasets.load_dataset(sys.argv[1], split="train", streaming=True, cache_dir=cache)
            rows = [loaded.num_rows, len(list(streamed))]
    except (datasets.exceptions.DatasetNotFoundError, datasets.data_files.EmptyDatasetError):
        rows = None
    if not found or found[-1] != rows:
        found.append(rows)
        print(json.dumps(rows), flush=True)
"""


@pytest.fixture
def author(tmp_path: Path) -> Author:
    return Author.new(tmp_path)


@pytest.fixture
def grown(author: Author) -> Author:
    """Has published, then made another dataset of it."""
    author.push()
    write_dataset(author.dataset, NEXT)
    return author


def check_card(files: Mapping[str, File]) -> None:
    """Every config has exactly the shards, and the counts, that the card and the manifest promise."""
    if "README.md" not in files:
        return
    data = DatasetCard(files["README.md"].data.decode()).data
    infos = data.dataset_info if isinstance(data.dataset_info, list) else [data.dataset_info]
    promised = {info.get("config_name", "default"): info["splits"] for info in infos}
    for config in data.configs:
        [part] = config["data_files"]
        patterns = [part["path"]] if isinstance(part["path"], str) else part["path"]
        shards = [path for path in files if any(fnmatch.fnmatch(path, pattern) for pattern in patterns)]
        assert promised[config["config_name"]][0]["num_examples"] == sum(samples(files[path]) for path in shards)
    for name in {"manifest.json", "links/manifest.json"} & files.keys():
        for entry in json.loads(files[name].data)["shards"]:
            assert files[entry["path"]].sha256 == entry["sha256"]


def samples(file: File) -> int:
    with tarfile.open(fileobj=io.BytesIO(file.data)) as tar:
        return sum(name.endswith(".json") for name in tar.getnames())


def go_on(author: Author) -> None:
    """Run the same again: the dataset is there, and whatever was to be seen meanwhile was in order."""
    for commit in author.repository.commits if author.hub.repositories else ():
        check_card(commit.files)
    author.push("--links")
    assert author.published.keys() == WANTED
    check_card(author.repository.head.files)
    count = len(author.repository.commits)
    assert "nothing to do" in author.push("--links")
    assert len(author.repository.commits) == count


def back(author: Author, commits: list[object], objects: dict[str, bytes]) -> None:
    author.hub.reset()
    author.hub.repositories[REPO] = Repository(commits=list(commits))  # type: ignore[arg-type]
    author.hub.objects |= objects


def moments(author: Author, count: int) -> Iterator[int]:
    """Numbers of requests, spread over a push from the state in which the author is; each starts from there again."""
    commits, objects = list(author.repository.commits), dict(author.hub.objects)
    back(author, commits, objects)
    author.push("--links")
    requests = len(author.hub.requests)
    for n in range(min(count, requests)):
        back(author, commits, objects)
        yield n * requests // min(count, requests)


def fault(author: Author, number: int, status: int) -> None:
    author.hub.at(number, lambda: status)
    done = author.osd_build("push", author.dataset, "--repo", REPO, "--links")
    assert done.code in (0, 1)
    assert "Traceback" not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("osd-build: ")]
    assert len(lines) == done.code
    assert author.token not in done.err + done.out
    go_on(author)


def kill(author: Author, number: int) -> None:
    def act() -> None:
        os.kill(author.client.pid, signal.SIGKILL)

    author.hub.at(number, act)
    assert author.osd_build("push", author.dataset, "--repo", REPO, "--links").code == -signal.SIGKILL
    go_on(author)


def test_a_request_fails_half_way(grown: Author) -> None:
    *_, number = moments(grown, 2)
    fault(grown, number, 503)


@pytest.mark.torture
@pytest.mark.parametrize("status", [500, 0, 401, 403, 409, 412, 429])
def test_any_request_fails(grown: Author, status: int) -> None:
    for number in moments(grown, 1000):
        fault(grown, number, status)


@pytest.mark.torture
def test_killed_at_twenty_moments(grown: Author) -> None:
    for number in moments(grown, 20):
        kill(grown, number)


@pytest.mark.torture
def test_a_reader_that_polls_never_fails(author: Author, tmp_path: Path) -> None:
    """It sees nothing, then shards without a card, then the one dataset, then the other."""
    with HubClient(author.hub.url, tmp_path) as client:
        command = [sys.executable, "-c", POLL, REPO]
        with subprocess.Popen(command, env=client.environment, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout
            assert json.loads(reader.stdout.readline()) is None
            for layout in (LAYOUT, NEXT):
                write_dataset(author.dataset, layout)
                author.push("--links")
            seen = [json.loads(line) for line in reader.stdout]
    assert reader.returncode == 0
    assert seen[-1] == [6, 6]
    assert {count for counts in seen if counts for count in counts} == {5, 6}


XET = """
import json, sys
from pathlib import Path
from hub_server import HubServer
hub = HubServer(xet=Path(sys.argv[2]))
import os
os.environ["HF_ENDPOINT"] = hub.url
with hub:
    from builder.push import Wishes, push
    said = [line for _ in range(2) for line in push(Path(sys.argv[1]), "LanguageBind/Open-Sora-Plan", Wishes())]
    files = hub.repositories["LanguageBind/Open-Sora-Plan"].head.files
    print(json.dumps([said, {path: file.sha256 for path, file in files.items()}]))
"""


def test_with_xet(author: Author, tmp_path: Path) -> None:
    """In one process, since hf_xet's local store is one process's."""
    pytest.importorskip("hf_xet")
    own = {"HF_TOKEN": author.token, "HF_HUB_DISABLE_XET": "0", "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "-c", XET, author.dataset, tmp_path / "xet"],
        env={**author.client.environment, **own},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if "local://" in done.stderr or "Unsupported" in done.stderr:
        pytest.skip(f"this hf_xet has no local store: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    said, files = json.loads(done.stdout)
    assert said[0].startswith("published 5 clips")
    assert said[1].endswith("nothing to do")
    assert files.keys() == {*LAYOUT, *LISTING, ".gitattributes"}
    assert not [request for request in author.hub.requests if request.startswith("PUT")]
