"""How fast samples come out of a shard, undecoded: ours, webdataset and tarfile on the same 300 MB, in turn.

    python benchmarks/read_shard.py

The file is in the page cache, so this is what the readers themselves cost. CPU-seconds of one process; ratios are taken
round by round.
"""

import random
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from webdataset.tariterators import group_by_keys, tar_file_expander

from open_sora_dataset import METADATA
from shards.stream import read_shard
from shards.write import Sample, write_shard

ROUNDS, SAMPLES, CLIP_BYTES = 9, 600, 500_000
VALUES: dict[str, object] = {"string": "text", "int64": 1, "float64": 1.0}


def samples() -> Iterator[Sample]:
    chooser = random.Random(0)
    for n in range(SAMPLES):
        metadata = {name: VALUES[dtype] for name, dtype in METADATA.items()} | {"cut": "copy", "captioner": "describe"}
        yield Sample(f"{n:020x}-0", metadata, chooser.randbytes(CLIP_BYTES), {"describe": "A clip of random bytes."})


def ours(path: Path) -> int:
    return sum(len(sample["mp4"]) for sample in read_shard(path))


def webdataset(path: Path) -> int:
    with path.open("rb") as stream:
        source = tar_file_expander([{"stream": stream, "url": str(path)}])
        return sum(len(sample["mp4"]) for sample in group_by_keys(source))


def plain_tarfile(path: Path) -> int:
    total = 0
    with tarfile.open(path, "r|") as tar:
        for member in tar:
            file = tar.extractfile(member)
            data = file.read() if file else b""
            total += len(data) if member.name.endswith(".mp4") else 0
    return total


def cpu_s(read: Callable[[Path], int], path: Path) -> float:
    started = time.process_time()
    assert read(path) == SAMPLES * CLIP_BYTES
    return time.process_time() - started


def main() -> None:
    readers = {"ours": ours, "webdataset": webdataset, "tarfile": plain_tarfile}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shard.tar")
        size = write_shard(path, samples()).size_bytes
        rounds = [{name: cpu_s(read, path) for name, read in readers.items()} for _ in range(ROUNDS)]
    print(f"{size / 1e6:.0f} MB, {SAMPLES} samples, {ROUNDS} rounds, webdataset {version('webdataset')}")
    for name in readers:
        rate = size / statistics.median(r[name] for r in rounds) / 1e6
        ratio = statistics.median(r[name] / r["ours"] for r in rounds)
        print(f"  {name:<12} {rate:7.0f} MB per CPU-second   {ratio:.1f} x our time")


if __name__ == "__main__":
    main()
