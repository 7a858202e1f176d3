"""How well and how cheaply shots are found: `osd-build shots` against PySceneDetect's own command, on the same files.

    python benchmarks/split.py [CORPUS ...] [--rounds 3] [--also transnet]

CORPUS is a folder of NAME.mp4 beside NAME.json, as benchmarks/shot_corpus.py makes them; without one a small one is
made of the demo's footage. Every tool reads the same files in turn (plain decoding too, if `ffmpeg` is there); user and
system time of its processes are counted, with the time it takes to start (measured on a video of two frames) apart.
Scores are pooled over all files, with a 95 % interval of F1 from resampling whole videos.
"""

import argparse
import csv
import ctypes
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from shutil import which
from statistics import median
from typing import Any

import av
import numpy as np
import shot_corpus

BIN = Path(sys.executable).parent
SINGLE = [Path(".venv/demo-videos", name) for name in ("bunny.mp4", "carphone.mp4")]
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
SAMPLES = 2000  # of the bootstrap
Found = dict[Path, list[int]]
Truth = dict[str, Any]


def ours(detector: str, *options: str) -> Callable[[Sequence[Path]], Found]:
    def find(videos: Sequence[Path]) -> Found:
        asked = [BIN / "osd-build", "shots", "--detector", detector, *options, "--json", *videos]
        told = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
        rows = [json.loads(line) for line in told.splitlines()]
        return {Path(row["video"]): [b["frame"] for b in row["boundaries"]] for row in rows}

    return find


def pyscenedetect(detector: str) -> Callable[[Sequence[Path]], Found]:
    def find(videos: Sequence[Path]) -> Found:
        return {video: scenedetect(video, detector) for video in videos}

    return find


def scenedetect(video: Path, detector: str) -> list[int]:
    with tempfile.TemporaryDirectory() as folder:
        asked = [BIN / "scenedetect", "-q", "-i", video, "-o", folder, f"detect-{detector}", "list-scenes", "-q", "-s"]
        subprocess.run(asked, check=True, capture_output=True)
        listed = next(Path(folder).glob("*.csv")).read_text()
    return [int(row["Start Frame"]) - 1 for row in csv.DictReader(listed.splitlines())][1:]


def decoded(videos: Sequence[Path]) -> Found:
    for video in videos:
        asked = ["ffmpeg", "-nostdin", "-v", "quiet", "-threads", "1", "-i", video, "-an", "-f", "null", "-"]
        subprocess.run(asked, check=True)
    return {}


def children_s() -> float:
    """Of all descendants so far; those whose parent went first (decoders, the fork server) are ours to wait for."""
    with suppress(ChildProcessError):
        while True:
            os.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(find: Callable[[Sequence[Path]], Found], videos: Sequence[Path]) -> tuple[float, Found]:
    before = children_s()
    found = find(videos)
    return children_s() - before, found


def last(boundary: Truth) -> int:
    """A gradual transition may be reported up to the frame after it."""
    return int(boundary["start"] if boundary["kind"] == "cut" else boundary["end"] + 1)


def matched(truth: Truth, found: Sequence[int], tolerance: int) -> tuple[list[Truth], list[int]]:
    """Each boundary is hit once at most: those hit, and what was found that hit none."""
    left, hits, wrong = list(truth["boundaries"]), [], []
    for frame in found:
        hit = next((b for b in left if b["start"] - tolerance <= frame <= last(b) + tolerance), None)
        if hit:
            left.remove(hit)
            hits.append(hit)
        else:
            wrong.append(frame)
    return hits, wrong


def f1(rows: Sequence[tuple[int, int, int]]) -> float:
    hits, wrong, all_true = (sum(column) for column in zip(*rows, strict=True))
    return 2 * hits / max(1, hits + wrong + all_true)


def report(name: str, truths: dict[Path, Truth], found: Found) -> None:
    for tolerance in (1, 0):
        matches = [matched(truth, found[video], tolerance) for video, truth in truths.items()]
        totals = [len(truth["boundaries"]) for truth in truths.values()]
        rows = [(len(hits), len(wrong), n) for (hits, wrong), n in zip(matches, totals, strict=True)]
        rng = random.Random(0)
        drawn = sorted(f1(rng.choices(rows, k=len(rows))) for _ in range(SAMPLES))
        seen = Counter(b["kind"] for truth in truths.values() for b in truth["boundaries"])
        hit = Counter(b["kind"] for hits, _ in matches for b in hits)
        kinds = " ".join(f"{kind} {hit[kind]}/{seen[kind]}" for kind in sorted(seen))
        wrong = sum(row[1] for row in rows)
        low, high = drawn[SAMPLES // 40], drawn[-SAMPLES // 40]
        print(f"  {name:<24} tol {tolerance}  F1 {f1(rows):.4f} [{low:.4f}, {high:.4f}]  {kinds}  false {wrong}")


def two_frames(folder: Path) -> Path:
    path = folder / "two.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for _ in range(2):
            picture = np.zeros((360, 640, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def small_corpus() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="shots-"))
    for number in range(3):
        edit = shot_corpus.edited(SINGLE, random.Random(number), 25, (640, 360))
        shot_corpus.save(folder / f"{number}.mp4", edit, 25, 60)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--also", action="append", default=[], help="another of our detectors")
    given = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    corpora = given.corpora or [small_corpus()]
    truths = {p.with_suffix(".mp4"): json.loads(p.read_text()) for c in corpora for p in sorted(c.glob("*.json"))}
    tools = {"ffmpeg -threads 1 -f null": decoded} if which("ffmpeg") else {}
    tools |= {f"scenedetect {name}": pyscenedetect(name) for name in ("content", "adaptive")}
    tools |= {f"osd-build {name}": ours(name) for name in ["auto", *given.also]}
    tools["osd-build auto, key frames first"] = ours("auto", "--key-frames-first")
    frames = sum(truth["frames"] for truth in truths.values())
    seconds = sum(truth["frames"] / truth["fps"] for truth in truths.values())
    print(f"{len(truths)} videos, {frames} frames, {seconds / 60:.1f} min")
    print(f"PySceneDetect {version('scenedetect-headless')}, PyAV {av.__version__}, {given.rounds} interleaved rounds")
    spent: dict[str, list[float]] = {name: [] for name in tools}
    found: dict[str, Found] = {}
    for _ in range(given.rounds):
        for name, find in tools.items():
            cpu_s, found[name] = timed(find, list(truths))
            spent[name].append(cpu_s)
    for name in (name for name in tools if tools[name] is not decoded):
        report(name, truths, found[name])
    with tempfile.TemporaryDirectory() as folder:
        tiny = two_frames(Path(folder))
        starts = {name: median(timed(find, [tiny])[0] for _ in range(3)) for name, find in tools.items()}
    show_costs(spent, starts, len(truths), frames)


def show_costs(spent: dict[str, list[float]], starts: dict[str, float], videos: int, frames: int) -> None:
    """`net`: without starting, which PySceneDetect and ffmpeg do once a video and `osd-build shots` once."""
    print("  CPU-seconds (median of rounds)        whole    start     net   ms/frame   net, PySceneDetect content = 1")
    net = {}
    for name, rounds in spent.items():
        times = 1 if name.startswith("osd-build") else videos
        net[name] = median(rounds) - times * starts[name]
        ratio = net[name] / net["scenedetect content"] if "scenedetect content" in net else float("nan")
        row = (
            f"{median(rounds):8.2f} {starts[name]:8.2f} {net[name]:8.2f} {1000 * net[name] / frames:8.2f} {ratio:10.2f}"
        )
        print(f"  {name:<33} {row}")


if __name__ == "__main__":
    main()
