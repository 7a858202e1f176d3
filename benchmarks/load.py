"""What reading a dataset costs: `stream()` beside a bare walk over the tars, webdataset, and `datasets` from the Hub.

    python benchmarks/load.py [--videos FOLDER] [--only undecoded,hub,decoded,resume,start]

All on the same files, in turn, 160 MB of clips of 500 kB (`--clip-bytes`); files are in the page cache, so these are
the costs of the readers themselves. CPU-seconds of the reading process (its threads included, the server not); ratios
are taken round by round. `walk` reads headers and contents of each tar into one buffer, over and over: no reader can do
less. `--videos`: real videos (shot_*.mp4) to decode; without, that part is left out.
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from open_sora_dataset import METADATA, Video, features, stream
from shards.index import index_row, write_index
from shards.manifest import Header, ShardEntry, build_manifest
from shards.order import Shuffle
from shards.write import Sample, write_shard

ROOT = Path(__file__).parents[1]
ROUNDS, SHARDS, SAMPLES = 7, 8, 40
CLIPS = 4  # real ones, to decode
VALUES: dict[str, object] = {"string": "text", "int64": 100, "float64": 25.0}
REPOSITORY = "someone/clips"


def make_sample(key: str, video: bytes, **changes: object) -> Sample:
    metadata = {name: VALUES[dtype] for name, dtype in METADATA.items()}
    metadata |= {"cut": "copy", "captioner": "describe", "clip_id": key, **changes}
    return Sample(key, metadata, video, {"describe": f"A clip of random bytes, {key}."})


def write_dataset(folder: Path, shards: Sequence[Sequence[Sample]]) -> Path:
    entries, rows = [], []
    for number, samples in enumerate(shards):
        path = f"data/made/r0001/made-train-{number:06}.tar"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        written = write_shard(folder / path, samples)
        entries.append(ShardEntry(path, len(samples), written.size_bytes, written.sha256))
        for n, sample in enumerate(samples):
            rows.append(index_row(path, sample.metadata, sample.captions, written.members[3 * n : 3 * n + 3]))
    sha256 = write_index(folder / "index.parquet", rows, [], ["describe"])
    header = Header("made", "benchmark", [], ["describe"])
    (folder / "manifest.json").write_text(build_manifest(folder, header, entries, sha256).to_json())
    return folder


def made_dataset(folder: Path, clip_bytes: int) -> Path:
    chooser = random.Random(0)
    keys = (f"{n:020x}-0" for n in range(SHARDS * SAMPLES))
    shards = [[make_sample(next(keys), chooser.randbytes(clip_bytes)) for _ in range(SAMPLES)] for _ in range(SHARDS)]
    return write_dataset(folder, shards)


def cpu_s(read: Callable[[], int], expected: int) -> float:
    started = time.process_time()
    assert read() == expected
    return time.process_time() - started


def table(title: str, runs: Mapping[str, Callable[[], int]], amount: float, unit: str, rounds: int = ROUNDS) -> None:
    """`amount` of `unit` is what each run reads; the ratios are to the first run."""
    expected = next(iter(runs.values()))()
    measured = [{name: cpu_s(read, expected) for name, read in runs.items()} for _ in range(rounds)]
    first = next(iter(runs))
    print(f"\n{title} ({rounds} rounds)")
    for name in runs:
        rate = amount / statistics.median(r[name] for r in measured)
        ratio = statistics.median(r[first] / r[name] for r in measured)
        print(f"  {name:<34} {rate:9.1f} {unit} per CPU-second   {ratio:6.2f} x {first}")


def walk(folder: Path) -> int:
    total, buffer = 0, memoryview(bytearray(1 << 24))
    header = bytearray(512)
    for path in sorted(folder.rglob("*.tar")):
        with path.open("rb", buffering=0) as file:
            while file.readinto(header) and header[0]:
                size = int(header[124:135], 8)
                file.readinto(buffer[: size + -size % 512])
                total += size if header[:100].rstrip(b"\0").endswith(b".mp4") else 0
    return total


def webdataset(folder: Path) -> int:
    from webdataset.tariterators import group_by_keys, tar_file_expander

    total = 0
    for path in sorted(folder.rglob("*.tar")):
        with path.open("rb") as file:
            source = tar_file_expander([{"stream": file, "url": str(path)}])
            total += sum(len(sample["mp4"]) for sample in group_by_keys(source))
    return total


def undecoded(folder: Path) -> None:
    ours = {
        "stream, in order, not checked": stream(folder, decode=False, shuffle=False, check="never"),
        "stream, shuffled, not checked": stream(folder, decode=False, check="never"),
        "stream, shuffled, checked before": stream(folder, decode=False),
        "stream, shuffled, every check": stream(folder, decode=False, check="always"),
    }
    runs: dict[str, Callable[[], int]] = {"walk": lambda: walk(folder), "webdataset": lambda: webdataset(folder)}
    for name, data in ours.items():
        runs[name] = lambda data=data: sum(len(sample["mp4"]) for sample in data)  # type: ignore[misc]
        runs[name]()  # the first epoch of "checked before"
    table(f"undecoded, webdataset {version('webdataset')}", runs, walk(folder) / 1e6, "MB")


SERVE = """
import sys, pathlib
from hub_server import HubServer
from hub_store import File, Repository
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
with HubServer() as hub:
    files = {}
    for path in folder.rglob("*.*"):
        data = path.read_bytes()
        files[path.relative_to(folder).as_posix()] = File(data, lfs=path.suffix == ".tar")
        hub.objects[files[path.relative_to(folder).as_posix()].sha256] = data
    hub.repositories[name] = Repository()
    hub.repositories[name].add("made", files)
    print(hub.url, flush=True)
    sys.stdin.read()
"""
READ = """
import json, sys
sys.path.insert(0, sys.argv[1])
import load
print(json.dumps(load.hub_readers()[sys.argv[2]](int(sys.argv[3]))))
"""


def hub_readers() -> Mapping[str, Callable[[int], list[float]]]:
    """Each reads all of the repository twice, as many bytes of video as it is told, and gives the CPU-seconds."""
    import datasets

    columns = features([], ["describe"], binary=True)
    options = {"streaming": True, "split": "train", "features": columns}

    def theirs() -> int:
        tars = f"hf://datasets/{REPOSITORY}/data/made/r0001/*.tar"
        read = datasets.load_dataset("webdataset", data_files={"train": tars}, **options)
        return sum(len(sample["mp4"]) for sample in read)

    def timed(read: Callable[[], int]) -> Callable[[int], list[float]]:
        return lambda expected: [cpu_s(read, expected) for _ in range(2)]

    def ours(**asked: object) -> Callable[[], int]:
        return lambda: sum(len(sample["mp4"]) for sample in stream(REPOSITORY, decode=False, **asked))

    return {
        "datasets hf://": timed(theirs),
        "stream, in order": timed(ours(shuffle=False)),
        "stream, in order, not checked": timed(ours(shuffle=False, check="never")),
        "stream, shuffled": timed(ours(shuffle=Shuffle(8, 64 << 20))),
        "stream, shuffled, not checked": timed(ours(shuffle=Shuffle(8, 64 << 20), check="never")),
    }


def hub(folder: Path, rounds: int = 5) -> None:
    """Each reader in a process of its own, a round of each in turn; the first read of a process is not counted."""
    home, total = folder.parent / "home", walk(folder)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "HF_HOME": str(home)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", SERVE, str(folder), REPOSITORY]
    with subprocess.Popen(command, env=environment, text=True, **pipes) as server:  # type: ignore[call-overload]
        environment |= {"HF_ENDPOINT": server.stdout.readline().strip(), "HF_HUB_DISABLE_XET": "1"}
        measured: dict[str, list[float]] = {}
        for _ in range(rounds):
            for which in hub_readers():
                read = [sys.executable, "-c", READ, str(ROOT / "benchmarks"), which, str(total)]
                done = subprocess.run(read, env=environment, check=True, capture_output=True, text=True)
                measured.setdefault(which, []).append(json.loads(done.stdout)[1])
        server.stdin.close()
    print(f"\nfrom a Hub on loopback, datasets {version('datasets')} ({rounds} rounds)")
    base = measured["datasets hf://"]
    for which, times in measured.items():
        rate = total / 1e6 / statistics.median(times)
        ratio = statistics.median(b / t for b, t in zip(base, times, strict=True))
        print(f"  {which:<34} {rate:9.1f} MB per CPU-second   {ratio:6.2f} x datasets")


def decoded(videos: Path, folder: Path) -> None:
    """Frames of real clips, beside the decoder alone on the same bytes."""
    import av

    samples = []
    for path in sorted(videos.glob("shot_*.mp4")):
        with av.open(str(path)) as container:
            count = sum(1 for _ in container.decode(video=0))
            picture = container.streams.video[0]
            if picture.codec_context.name == "h264" and len(samples) < CLIPS:
                key = re.sub(r"[^a-z0-9-]", "-", path.stem)
                samples.append(make_sample(key, path.read_bytes(), frames=count, fps=float(picture.average_rate)))
    write_dataset(folder, [samples])
    clips = [(sample.video, int(str(sample.metadata["frames"]))) for sample in samples]

    def plain(pick: Callable[[int], Sequence[int]]) -> int:
        return sum(len(Video(video, count).frames(pick(count))) for video, count in clips if isinstance(video, bytes))

    for count, clip in ((64, "64 frames"), (16, "16 frames")):
        runs = {"plain decode": lambda count=count: plain(lambda n: range((n - count) // 2, (n + count) // 2))}
        data = stream(folder, shuffle=False, check="always", num_frames=count, start="center")
        runs["stream"] = lambda data=data: sum(len(sample["video"]) for sample in data)
        table(f"{clip} out of the middle of {len(clips)} clips", runs, count * len(clips), "frames", 5)


def resume(folder: Path) -> None:
    """Bytes read between a place in a shard and the first sample after it."""
    data = stream(folder, decode=False, shuffle=False)
    for consumed in (1, SAMPLES // 2, SAMPLES - 1):
        data.load_state_dict({"seed": 0, "epoch": 0, "consumed": consumed})
        before = read_bytes()
        sample = next(iter(data))
        size = len(sample["mp4"])
        read = read_bytes() - before
        print(
            f"  after {consumed:>3} of {SAMPLES} samples of a shard: {read:>8} bytes read for one whose mp4 has {size}"
        )


def read_bytes() -> int:
    """What this process has asked the kernel for."""
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])  # type: ignore[index]


START = """
import sys, time
import torch
from open_sora_dataset import stream
import shards.training
wall, cpu = time.perf_counter(), time.process_time()
next(iter(stream(sys.argv[1], decode=False)))
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def start(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = [
        subprocess.run([sys.executable, "-c", START, str(folder)], env=environment, check=True, capture_output=True)
        for _ in range(5)
    ]
    times = [[float(x) for x in run.stdout.split()] for run in done]
    wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"\nfrom stream() to the first sample, imports done: {wall * 1000:.0f} ms, {cpu * 1000:.0f} ms of CPU")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--videos", type=Path)
    arguments.add_argument("--clip-bytes", type=int, default=500_000)
    arguments.add_argument("--only", default="undecoded,hub,decoded,resume,start")
    asked = arguments.parse_args()
    parts = asked.only.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        folder = made_dataset(Path(temporary, "clips"), asked.clip_bytes)
        print(f"{SHARDS} shards of {SAMPLES} samples, {asked.clip_bytes} bytes each")
        if "undecoded" in parts:
            undecoded(folder)
        if "hub" in parts:
            hub(folder)
        if "decoded" in parts and asked.videos:
            decoded(asked.videos, Path(temporary, "real"))
        if "resume" in parts:
            print("\nresume")
            resume(folder)
        if "start" in parts:
            start(folder)


if __name__ == "__main__":
    main()
