"""What the scorers that read signals cost, beside the decoding of the same videos; and how well borders are found.

    python benchmarks/signals.py [VIDEO ...] [--rounds 5] [--engine]    defaults to the demo's footage
    python benchmarks/signals.py VIDEO ... --borders          bars of known widths and colours on each video, and none

Every video is scanned once, its shots are detected and split as by default; the clips are what is scored. Each round
decodes (`ffmpeg -threads 1 -an -f null`, its start included, if there is one; and our scan, which decodes and keeps
evidence and strip), then has every scorer score all clips of the video, with its files opened anew: what it does in a
run, without the engine. With --engine, `osd-build filter` over a run of the same videos tells what that adds: user and
system time of all its processes, and those of a filter that finds nothing left to do. CPU-seconds; minima of rounds.
"""

import argparse
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from shutil import which
from typing import Any

import av
import cv2
import numpy as np

from builder import registry
from builder.detectors.auto import Auto
from builder.errors import Filtered, ItemError
from builder.frames import Frames, Timeline, open_evidence, open_strip
from builder.media.decode import ScanSettings, scan
from builder.records import Clip, Failure, Scanned
from builder.stage import Context, Item
from builder.stages.score import Scorer
from builder.stages.split import Split, clip_of
from builder.storage import Storage

FOOTAGE = Path(".venv/demo-videos")
SIGNALS = ("motion", "shake", "freeze", "flicker", "brightness", "sharpness", "borders")
BUILD = """
[[source]]
kind = "folder"
name = "videos"
path = "{folder}"
license = "CC0-1.0"
[score]
use = {use}
[filter]
keep = ["motion.flow >= 0"]
"""
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
GOAL = 0.1
LONGEST = 40  # frames of a video that bars are put on
BARS = {  # of a 16:9 frame, shares of height and width on each side
    "2.39:1": (0.128, 0.0), "1.85:1": (0.02, 0.0), "4:3": (0.0, 0.125), "9:16": (0.0, 0.342), "window": (0.1, 0.1),
}  # fmt: skip
COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255), "grey": (90, 90, 90), "blue": (20, 40, 160)}


@dataclass
class Case:
    video: Path
    scan: Scanned
    clips: list[Clip]
    ffmpeg: list[float] = field(default_factory=list)
    scans: list[float] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)


def scanned(video: Path, folder: Path) -> Scanned:
    names = f"{video.stem}.evidence", f"{video.stem}.strip"
    facts = scan(video, *(folder / name for name in names), ScanSettings())
    return Scanned(video.stem, **vars(facts), evidence=names[0], strip=names[1])


def clips_of(scan: Scanned, context: Context) -> list[Clip]:
    detector, split = Auto(), Split()
    with detector.opened(context):
        [found] = detector.batch([Item(scan, "")])
    if isinstance(found, Failure):
        return []
    with suppress(Filtered):
        return split.clips(found[0], scan, Timeline(scan, context.storage), [(0, scan.frames)])
    return []


def own_s(work: Callable[[], object]) -> float:
    """Of this process, with all its threads."""
    before = time.process_time()
    work()
    return time.process_time() - before


def cpu_s(work: Callable[[], object]) -> float:
    """Of this process and of all its descendants; those whose parent went first are ours to wait for."""
    before = used_s()
    work()
    return used_s() - before


def used_s() -> float:
    with suppress(ChildProcessError):
        while True:
            os.wait()
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def score_all(scorer: Scorer[Any], case: Case, storage: Storage) -> None:
    open_evidence.cache_clear()
    open_strip.cache_clear()
    for clip in case.clips:
        with suppress(ItemError):
            scorer.score(Frames(clip, case.scan, storage))


def measure(case: Case, folder: Path, scorers: dict[str, Scorer[Any]]) -> None:
    if which("ffmpeg"):
        asked = ["ffmpeg", "-nostdin", "-v", "quiet", "-threads", "1", "-i", str(case.video), "-an", "-f", "null", "-"]
        case.ffmpeg.append(cpu_s(lambda: subprocess.run(asked, check=False)))
    again = folder / "again.evidence", folder / "again.strip"
    case.scans.append(own_s(lambda: scan(case.video, *again, ScanSettings())))
    storage = Storage(folder)
    for name, scorer in scorers.items():
        case.scores.setdefault(name, []).append(own_s(lambda scorer=scorer: score_all(scorer, case, storage)))


def show(cases: Sequence[Case]) -> None:
    clips, frames = sum(len(case.clips) for case in cases), sum(case.scan.frames for case in cases)
    scan_s = sum(min(case.scans) for case in cases)
    ffmpeg_s = sum(min(case.ffmpeg) for case in cases) if cases[0].ffmpeg else float("nan")
    print(f"\n{len(cases)} videos, {frames} frames, {clips} clips; scan {scan_s:.2f} s, ffmpeg {ffmpeg_s:.2f} s")
    print(f"  {'scorer':<12} {'CPU-s':>7} {'ms/clip':>8} {'/ scan':>7} {'/ ffmpeg':>9}")
    sums = {name: sum(min(case.scores[name]) for case in cases) for name in cases[0].scores}
    for name, spent_s in [*sums.items(), ("together", sum(sums.values()))]:
        row = f"{spent_s:7.3f} {1000 * spent_s / max(1, clips):8.2f} {spent_s / scan_s:7.4f} {spent_s / ffmpeg_s:9.4f}"
        print(f"  {name:<12} {row}")
    print(f"  goal: together at most {GOAL} of decoding")
    worst = sorted(cases, key=lambda case: -sum(map(min, case.scores.values())) / min(case.scans))[:5]
    told = [
        f"{c.video.name} {sum(map(min, c.scores.values())) / min(c.scans):.2f} ({len(c.clips)} clips)" for c in worst
    ]
    print(f"  largest share of the scan: {', '.join(told)}", flush=True)


def engine(videos: Sequence[Path]) -> None:
    """A real run over links to the videos: filter with motion alone, then with all, then with nothing left to do."""
    build = Path(sys.executable).with_name("osd-build")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "videos")
        folder.mkdir()
        for number, video in enumerate(videos):
            (folder / f"{number}{video.suffix}").hardlink_to(video)
        run = Path(name, "run")
        run.mkdir()
        (run / "build.toml").write_text(BUILD.format(folder=folder, use=list(SIGNALS)))

        def step(verb: str) -> float:
            return cpu_s(lambda: subprocess.run([build, verb, run], check=False, capture_output=True))

        step("crawl")
        step("split")
        filtered_s, idle_s = step("filter"), step("filter")
    print(
        f"\nosd-build filter, all {len(SIGNALS)} scorers: {filtered_s:.2f} s, of which to start and see {idle_s:.2f} s"
    )


def bordered(video: Path, bars: tuple[float, float], colour: tuple[int, int, int], path: Path) -> tuple[float, ...]:
    """The first frames of a video, scaled into what the bars leave of 640x360; the crop, in shares."""
    width, height = 640, 360
    y, x = round(bars[0] * height), round(bars[1] * width)
    with av.open(str(path), "w") as out, av.open(str(video)) as container:
        stream = out.add_stream("libx264", rate=25, options={"crf": "26", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for number, frame in enumerate(container.decode(video=0)):
            if number == LONGEST:
                break
            picture = np.full((height, width, 3), colour, np.uint8)
            inner = cv2.resize(frame.to_ndarray(format="rgb24"), (width - 2 * x, height - 2 * y))
            picture[y : height - y, x : width - x] = inner
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return x / width, 1 - x / width, y / height, 1 - y / height


def borders(videos: Sequence[Path]) -> None:
    scorer = registry.find("scorers", Scorer, "borders")()  # type: ignore[type-abstract]
    kinds = {"none": ((0.0, 0.0), COLOURS["black"])}
    kinds |= {f"{bars} {colour}": (BARS[bars], COLOURS[colour]) for bars in BARS for colour in COLOURS}
    counts = {kind: [0, 0, 0.0] for kind in kinds}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for video in videos:
            for kind, (bars, colour) in kinds.items():
                with suppress(ItemError, av.error.FFmpegError):
                    truth = bordered(video, bars, colour, folder / "made.mp4")
                    made = scanned(folder / "made.mp4", folder)
                    clip = clip_of(made, Timeline(made, Storage(folder)), 0, (0, made.frames))
                    open_strip.cache_clear()
                    found = scorer.score(Frames(clip, made, Storage(folder)))
                    crop = found.s_x / 640, found.e_x / 640, found.s_y / 360, found.e_y / 360
                    off = max(abs(a - b) for a, b in zip(crop, truth, strict=True))
                    counts[kind][0] += 1
                    counts[kind][1] += off <= 0.02  # noqa: PLR2004
                    counts[kind][2] = max(counts[kind][2], off)
                    if off > 0.02:  # noqa: PLR2004
                        print(f"  {video.name}, {kind}: {tuple(round(c, 3) for c in crop)} for {truth}", flush=True)
    for kind, (times, right, worst) in counts.items():
        print(f"  {kind:<16} {right} of {times} within 2 % of the frame; furthest off {worst:.3f}")


def cases(videos: Sequence[Path], folder: Path) -> Iterator[Case]:
    for video in videos:
        try:
            found = scanned(video, folder)
            clips = clips_of(found, Context(Storage(folder)))
        except ItemError as error:
            print(f"  {video.name} left out: {error}")
        else:
            yield Case(video, found, clips)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--borders", action="store_true")
    parser.add_argument("--engine", action="store_true")
    asked = parser.parse_args()
    videos = asked.videos or sorted(path for path in FOOTAGE.iterdir() if path.is_file())
    if asked.borders:
        borders(videos)
        return
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    cv2.setNumThreads(1)
    scorers = {name: registry.find("scorers", Scorer, name)() for name in SIGNALS}  # type: ignore[type-abstract]
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        found = list(cases(videos, Path(name)))
        for _ in range(asked.rounds):
            for case in found:
                measure(case, Path(name), scorers)
        show(found)
    if asked.engine:
        engine([case.video for case in found])
    print(f"{asked.rounds} rounds, PyAV {av.__version__}, OpenCV {cv2.__version__}, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
