"""Proving a published dataset from afar, with the real clients, against a peer of the Hub."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import ConfigError
from builder.published import published
from hub_account import READER, WRITER
from hub_client import HubClient
from hub_server import HubServer
from hub_store import File, Repository
from small_dataset import LAYOUT, write_small_dataset

REPO = "LanguageBind/Open-Sora-Plan"
SHARD = next(iter(LAYOUT))


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubServer, HubClient]]:
    with HubServer() as hub, HubClient(hub.url, tmp_path_factory.mktemp("home")) as client:
        yield hub, client


@pytest.fixture
def hub(peers: tuple[HubServer, HubClient], tmp_path: Path) -> HubServer:
    """It holds a dataset."""
    hub = peers[0]
    hub.reset()
    folder = write_small_dataset(tmp_path / "dataset").folder
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = {p.relative_to(folder).as_posix(): File(p.read_bytes(), p.suffix in (".tar", ".parquet")) for p in paths}
    hub.repositories[REPO] = Repository()
    hub.repositories[REPO].add("published", files)
    hub.objects.update({file.sha256: file.data for file in files.values()})
    return hub


@pytest.fixture
def client(peers: tuple[HubServer, HubClient]) -> HubClient:
    return peers[1]


def change(hub: HubServer, **files: bytes | None) -> None:
    """A new commit; None takes a file away."""
    now = dict(hub.repositories[REPO].head.files)
    for path, data in files.items():
        if data is None:
            del now[path]
        else:
            now[path] = File(data, path.endswith(".tar"))
            hub.objects[now[path].sha256] = data
    hub.repositories[REPO].add("changed", now)


def test_a_whole_dataset_is_proven_by_reading_each_shard_once(hub: HubServer, client: HubClient) -> None:
    done = client.run("verify", f"hf://{REPO}")
    assert (done.code, done.out) == (0, f"hf://{REPO}: verified\n"), done.err
    for path in LAYOUT:
        sha256 = hub.repositories[REPO].head.files[path].sha256
        assert hub.requests.count(f"GET /objects/{sha256}") == 1
    assert not [path for path in client.home.rglob("*.tar")]


def test_one_flipped_bit_is_named(hub: HubServer, client: HubClient) -> None:
    data = bytearray(hub.repositories[REPO].head.files[SHARD].data)
    data[700] ^= 1
    change(hub, **{SHARD: bytes(data)})
    done = client.run("verify", f"hf://datasets/{REPO}@main")
    assert done.code == 1
    assert f"{SHARD}: its sha256 is not the manifest's" in done.err
    assert "problems: " in done.out


@pytest.mark.parametrize(
    ("path", "data", "says"),
    [
        (SHARD, None, "is listed in the manifest but missing"),
        ("data/nasa/r0001/nasa-train-000009.tar", b"x" * 512, "is not listed in the manifest"),
        ("README.md", None, "README.md: is missing"),
        ("README.md", b"---\nconfigs: []\n---\n", "config nasa: is missing"),
        ("manifest.json", None, "manifest.json: "),
        ("index.parquet", b"none", "index.parquet: cannot be read"),
        ("../../outside.tar", b"x", "verified"),
        ("/tmp/osd-outside.tar", b"x", "verified"),
    ],
)
def test_what_is_missing_strange_or_broken(
    hub: HubServer, client: HubClient, path: str, data: bytes | None, says: str
) -> None:
    change(hub, **{path: data})
    done = client.run("verify", f"hf://{REPO}")
    assert says in done.out + done.err
    assert done.code == (0 if says == "verified" else 1)
    assert "Traceback" not in done.err


def test_an_earlier_revision_stays_what_it_was(hub: HubServer, client: HubClient) -> None:
    before = hub.repositories[REPO].head.oid
    change(hub, **{SHARD: b"broken"})
    assert client.run("verify", f"hf://{REPO}@{before}").code == 0
    assert client.run("verify", f"hf://{REPO}").code == 1


def test_a_connection_that_breaks_is_taken_up_again(hub: HubServer, client: HubClient) -> None:
    sha256 = hub.repositories[REPO].head.files[SHARD].sha256
    hub.fail(f"GET /objects/{sha256}", 0)
    done = client.run("verify", f"hf://{REPO}")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (r"GET /api/datasets/", 404, "check the name and the revision"),
        (r"GET /api/datasets/", 403, "may not read it"),
        (r"GET /api/datasets/", 418, "the Hub answered 418"),
        (r"GET /objects/", 0, "run the same again"),
    ],
)
def test_trouble_is_one_clear_line(hub: HubServer, client: HubClient, request_: str, status: int, says: str) -> None:
    hub.fail(request_, status, times=100)
    done = client.run("verify", f"hf://{REPO}", token=READER)
    assert (done.code, done.out) == (1, "")
    [line] = [line for line in done.err.splitlines() if line.startswith("osd-build: ")]
    assert says in line
    assert READER not in done.err
    assert "Traceback" not in done.err


def test_private_datasets_need_a_token(hub: HubServer, client: HubClient) -> None:
    hub.repositories[REPO].private = True
    done = client.run("verify", f"hf://{REPO}")
    assert done.code == 1
    assert "log in with `hf auth login`" in done.err
    assert client.run("verify", f"hf://{REPO}", token=WRITER).code == 0


@pytest.mark.parametrize("address", ["hf://", "hf://one", "hf://a/b/c", "hf://a/b@", "hf://a/../b", "hf://a b/c"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match="names no dataset"):
        published(address)


def test_the_manifest_is_the_published_one(hub: HubServer, client: HubClient) -> None:
    manifest = json.loads(hub.repositories[REPO].head.files["manifest.json"].data)
    manifest["format_version"] = 99
    change(hub, **{"manifest.json": json.dumps(manifest).encode()})
    done = client.run("verify", f"hf://{REPO}")
    assert done.code == 1
    assert "format_version 99" in done.err


def test_the_card_is_read_and_accepted_by_the_hub(hub: HubServer, client: HubClient) -> None:
    code = f"""
from huggingface_hub import DatasetCard
card = DatasetCard.load("{REPO}")
card.validate(repo_type="dataset")
print(card.data.license, card.data.task_categories, [config["config_name"] for config in card.data.configs])
"""
    said = client.python(code)
    assert said == "other ['text-to-video'] ['default', 'describe', 'llava', 'nasa', 'pexels']\n"
    assert "POST /api/validate-yaml" in hub.requests


def test_each_config_loads_from_the_hub(hub: HubServer, client: HubClient) -> None:
    code = f"""
from datasets import load_dataset
for config in (None, "nasa", "describe", "llava"):
    rows = list(load_dataset("{REPO}", config, split="train", streaming=True))
    print(len(rows), sorted(rows[0]), type(rows[0]["mp4"]["bytes"]).__name__)
"""
    shared = ["__key__", "__url__", "json"]
    assert client.python(code).splitlines() == [
        f"5 {[*shared, 'llava.txt', 'mp4', 'txt']} bytes",
        f"2 {[*shared, 'llava.txt', 'mp4', 'txt']} bytes",
        f"5 {[*shared, 'mp4', 'txt']} bytes",
        f"5 {[*shared, 'llava.txt', 'mp4']} bytes",
    ]
