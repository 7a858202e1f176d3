"""What the stage `dedupe` costs as a corpus grows: made-up clips, a fifth of them copies, through the engine.

    python benchmarks/duplicate_scale.py [--clips 100000] [--moments 8]

Only the stage is measured: a process of its own writes the tables before it. Random hashes are the easy half of the
truth (no crowds); the number of moments is four for every second of a clip, less one.
"""

import argparse
import math
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.duplicates.describe import MOMENT
from builder.engine import Job
from builder.layout import Layout, bucket, clip_parts
from builder.records import Record, Scanned, SourceVideo
from builder.stage import Context
from builder.stages.dedupe import Dedupe, Twin
from builder.stages.hash import Hashes
from builder.storage import Storage
from builder.table import Answer, Stamp, Table

CLIPS_PER_VIDEO = 10
KINDS: dict[str, type[Record]] = {"hash": Hashes, "scan": Scanned, "merge": SourceVideo, "dedupe": Twin}
VIDEO = SourceVideo(
    video_id="", found_id="", source="made", root="", path="", sha256="", size_bytes=1_000_000, container="mp4",
    codec="h264", width=640, height=360, rotation=0, fps=24.0, duration_s=60.0, has_audio=False, license="CC-BY-4.0",
)  # fmt: skip
SCAN = Scanned("", 1440, 640, 360, 24.0, 60.0, 0, 1440, "1/24", False, 0, 120, "evidence", "strip")


def made_up(clips: int, length: int) -> NDArray[Any]:
    """Moments (clip, moment); the last fifth are copies of the first with one bit of every hash flipped."""
    rng = np.random.default_rng(1)
    moments = np.zeros((clips, length), MOMENT)
    for hash_ in ("middle", "closer"):
        moments[hash_] = rng.integers(0, 1 << 64, moments.shape, np.uint64)
    moments["changes"], moments["telling"] = rng.integers(-40, 41, moments["changes"].shape), True
    copies = clips // 5
    moments[-copies:] = moments[:copies]
    moments["middle"][-copies:] ^= np.uint64(1) << rng.integers(0, 64, (copies, length), np.uint64)
    return moments


def write(storage: Storage, clips: int, length: int) -> None:
    """The tables that dedupe reads, in parts as a run has them."""
    names = [
        f"{n * CLIPS_PER_VIDEO * (1 << 32) // clips:08x}{n:012x}" for n in range(math.ceil(clips / CLIPS_PER_VIDEO))
    ]
    rows: dict[str, list[Record]] = {"hash": []}
    for n, moments in enumerate(made_up(clips, length)):
        video, first = names[n // CLIPS_PER_VIDEO], n % CLIPS_PER_VIDEO * length
        rows["hash"].append(Hashes(f"{video}-{first:07d}-{first + length:07d}", video, first, moments.tobytes(), 1.0))
    rows["scan"] = [replace(SCAN, video_id=name) for name in names]
    rows["merge"] = [replace(VIDEO, video_id=name, found_id=name) for name in names]
    parts = clip_parts([SCAN.duration_s] * len(names))
    for grain in ("video", "clip"):
        Layout(storage).decide(grain, parts)
    for name, all_ in rows.items():
        split: list[dict[str, Answer[Record]]] = [{} for _ in range(parts)]
        for row in all_:
            split[bucket(row.id, parts)][row.id] = Answer("", [row])
        for n, answers in enumerate(split):
            Table(storage, name, KINDS[name]).write(n, Stamp("made up", "", of=parts), answers)


def measure(storage: Storage) -> None:
    tables: dict[str, Table[Any]] = {name: Table(storage, name, kind) for name, kind in KINDS.items()}
    stage: Any = Dedupe()
    grains = {"hash": "clip", "scan": "video", "merge": "video", "dedupe": "clip"}
    sides = {name: tables[name] for name in stage.joins}
    job = Job(stage, tables["hash"], sides, tables["dedupe"], Layout(storage), grains)
    stamps = {name: table.stamps() for name, table in tables.items()}
    before = peak_mb()
    with stage.opened(Context(storage)):
        start = time.process_time()
        job.items(0)
        read_s = time.process_time() - start
        job.run(job.unit(0, stamps))
        whole_s = time.process_time() - start - read_s
    rows = tables["dedupe"].rows()
    left_out = sum(row.group != row.clip_id for row in rows)
    print(f"{len(rows)} clips, {left_out} left out; {whole_s:.1f} CPU-seconds, {read_s:.1f} of them to read and join")
    print(f"memory: {before} MB before, {peak_mb()} MB at most")


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--moments", type=int, default=8)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        write(Storage(given.write), given.clips, given.moments)
        return
    with tempfile.TemporaryDirectory() as scratch:
        sizes = ["--clips", str(given.clips), "--moments", str(given.moments)]
        subprocess.run([sys.executable, __file__, *sizes, "--write", scratch], check=True)
        measure(Storage(Path(scratch)))


if __name__ == "__main__":
    main()
