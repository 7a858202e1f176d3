"""The same samples from a folder, a web server and the Hub; only the bytes that are wanted; and servers that break."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub_client import HubClient
from hub_server import HubServer
from hub_store import File, Repository
from open_sora_dataset import stream
from range_server import RangeServer
from shards import places, samples
from shards.samples import BadSampleError
from streamed_dataset import write_numbered

FIRST = "data/pexels/r0001/pexels-train-000000.tar"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("places") / "dataset", [6, 5, 7], size=20_000)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PAUSE_S", 0.001)


def read(place: str | Path, **asked: Any) -> list[dict[str, Any]]:
    return list(stream(place, decode=False, **asked))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("buffer_bytes", [1, 60_000, 1 << 28])
def test_a_web_server_gives_what_the_folder_gives(folder: Path, shuffle: bool, buffer_bytes: int) -> None:
    with RangeServer(folder) as server:
        assert read(server.url, shuffle=shuffle, buffer_bytes=buffer_bytes) == read(folder, shuffle=shuffle)
    starts = {(path, first) for path, first, _ in server.ranges}
    assert len(starts) == len(server.ranges)  # nothing twice


def test_samples_that_follow_each_other_are_one_request(folder: Path) -> None:
    with RangeServer(folder) as server:
        read(server.url, shuffle=False)
    assert len(server.ranges) == 3


def spans(data: Any, numbers: Iterator[int] | list[int]) -> set[tuple[str, int, int]]:
    c = data.catalog
    return {(c.shards[c.shard[n]], int(c.start[n]), int(c.end[n]) - 1) for n in numbers}


def test_a_rank_downloads_its_share_and_filters_what_they_keep(folder: Path) -> None:
    with RangeServer(folder) as server:
        data = stream(server.url, decode=False, rank=1, world=3, seed=2)
        keys = [unit["__key__"] for unit in data]
        mine = [n for n in range(len(data.catalog)) if data.catalog.key(n) in keys]
        assert asked(server) == covered(spans(data, mine))
        server.ranges.clear()
        data = stream(server.url, decode=False, keep=["frames >= 9", "width in 65..66"])
        keys = [unit["__key__"] for unit in data]
        assert sorted(keys) == ["s01-03", "s01-04", "s02-03", "s02-04", "s02-05", "s02-06"]
        assert {path for path, _, _ in server.ranges} == set(data.catalog.shards[1:])
        assert asked(server) == covered(spans(data, range(len(data.catalog))))


def covered(ranges: set[tuple[str, int, int]]) -> set[tuple[str, int]]:
    """The blocks in them, counting no padding between samples that follow each other."""
    return {(path, block) for path, first, last in ranges for block in range(first // 512, last // 512 + 1)}


def asked(server: RangeServer) -> set[tuple[str, int]]:
    return covered(set(server.ranges))


def test_going_on_inside_a_shard_reads_nothing_of_what_is_done(folder: Path) -> None:
    with RangeServer(folder) as server:
        data = stream(server.url, decode=False, shuffle=False)
        whole = [unit["__key__"] for unit in data]
        server.ranges.clear()
        data.load_state_dict({"seed": 0, "epoch": 0, "consumed": 4})
        assert [unit["__key__"] for unit in data] == whole[4:]
        assert min(first for path, first, _ in server.ranges if path == FIRST) == int(data.catalog.start[4])


def test_what_is_fetched_ahead_is_bounded(folder: Path) -> None:
    with RangeServer(folder) as server:
        data = stream(server.url, decode=False, shuffle=False, buffer_bytes=100_000)
        size = int((data.catalog.end - data.catalog.start).max())
        given = 0
        for unit in data:
            given += len(unit["mp4"])
            ahead = sum(last + 1 - first for _, first, last in server.ranges) - given
            assert ahead < samples.FIRST_LOT_BYTES + 100_000 + 4 * size


@pytest.mark.parametrize("status", [-1, 500, 503, 429])
def test_a_server_that_stumbles(folder: Path, status: int) -> None:
    with RangeServer(folder, fault=lambda n: status if n % 2 else 0) as server:
        assert read(server.url, shuffle=False) == read(folder, shuffle=False)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("status", [-1, 500, 429])
def test_a_server_that_is_down_is_no_bad_sample(folder: Path, status: int, on_error: str) -> None:
    with RangeServer(folder, fault=lambda n: status) as server, pytest.raises(ConnectionError, match=server.url):
        read(server.url, shuffle=False, on_error=on_error)


def test_what_is_not_there(folder: Path, tmp_path: Path) -> None:
    with RangeServer(folder, fault=lambda n: 404) as server, pytest.raises(BadSampleError, match=f"{FIRST} is missing"):
        read(server.url, shuffle=False)
    with RangeServer(folder, ranged=False) as server, pytest.raises(BadSampleError, match="the server knows no Range"):
        read(server.url, shuffle=False)
    with RangeServer(tmp_path) as server, pytest.raises(FileNotFoundError, match=r"manifest\.json: status 404"):
        read(server.url)


def test_a_shard_that_is_shorter_there(folder: Path, tmp_path: Path) -> None:
    copy = write_numbered(tmp_path / "copy", [6, 5, 7], size=20_000)
    (copy / FIRST).write_bytes((copy / FIRST).read_bytes()[:50_000])
    with (
        RangeServer(copy) as server,
        pytest.raises(BadSampleError, match=r"s00-00: .* has 50000 bytes, the manif"),
    ):
        read(server.url, shuffle=False)


HUB = """
import itertools, json, sys
from open_sora_dataset import stream
if __name__ == "__main__":
    data = stream("someone/clips", decode=False, batch_size=2)
    first = [batch["__key__"] for batch in itertools.islice(data.loader(num_workers=2), 2)]
    again = stream("hf://datasets/someone/clips", decode=False, batch_size=2, revision=sys.argv[1])
    data.load_state_dict({**again.state_dict(), "consumed": 4})
    print(json.dumps(first + [batch["__key__"] for batch in data]))
"""


def test_the_hub(folder: Path, tmp_path: Path) -> None:
    """Through a redirect, from two workers, of a commit by its name and by `main`; a 503 on the way."""
    with HubServer() as hub:
        files = {
            p.relative_to(folder).as_posix(): File(p.read_bytes(), p.suffix == ".tar") for p in folder.rglob("*.*")
        }
        hub.objects = {file.sha256: file.data for file in files.values()}
        hub.repositories["someone/clips"] = Repository()
        commit = hub.repositories["someone/clips"].add("made", files)
        hub.fail("GET /objects", 503, 1)
        with HubClient(hub.url, tmp_path) as client:
            printed = client.python(HUB, commit.oid)
        alone = [batch["__key__"] for batch in stream(folder, decode=False, batch_size=2)]
        assert json.loads(printed) == alone
        heads = [request for request in hub.requests if request.startswith("HEAD") and request.endswith(".tar")]
        assert len(heads) <= 3 * 3 * samples.CONNECTIONS  # a redirect is followed once by each process, or at once
        assert all(commit.oid in request for request in heads)


def test_names_of_places(tmp_path: Path) -> None:
    for name in ("someone/clips", "hf://datasets/someone/clips", "hf://datasets/someone/clips@abc"):
        place = places.place_of(name, None, None)
        assert isinstance(place, places.Hub)
        assert (place.repository, place.revision) == ("someone/clips", "abc" if "@" in name else "main")
    for wrong in ("clips", "s3://bucket/clips", "file:///etc", "../../etc/passwd/x", str(tmp_path / "nothing")):
        with pytest.raises(FileNotFoundError):
            places.place_of(wrong, None, None)


def test_a_run_is_cut_where_samples_do_not_follow(folder: Path) -> None:
    catalog = stream(folder, decode=False).catalog
    runs = list(samples.runs_of(catalog, [3, 0, 1, 7, 5, 17]))
    assert runs == [[0, 1], [3], [5], [7], [17]]
    assert list(itertools.chain(*runs)) == [0, 1, 3, 5, 7, 17]
