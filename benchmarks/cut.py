"""What cutting costs, in CPU-seconds: ours against ffmpeg, which re-encodes each clip or copies its packets.

    python benchmarks/cut.py --parts 4 VIDEO...
    python benchmarks/cut.py --spans spans.json VIDEO...      {"name.mp4": [[0.0, 2.5], [2.5, 6.0]]}, seconds

`encode` in ffmpeg is what `scenedetect split-video` runs for each scene (libx264, veryfast, crf 22), without sound;
`copy` its packets from the key frame before. Without `ffmpeg` on the path these two are left out. The ways take turns,
round by round.
"""

import argparse
import itertools
import json
import resource
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from builder.errors import ItemError
from builder.media.cut import CutSettings, Mode, Span, cut, index
from builder.media.sniff import open_video, video_stream

DEMO = Path(".venv/demo-videos")
ENCODE = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "22")
COPY = ("-c:v", "copy")


@dataclass(frozen=True)
class Video:
    """The spans to cut, and where each begins and ends in seconds as ffmpeg counts them: from the file's start."""

    path: Path
    spans: Sequence[Span]
    times: Sequence[tuple[float, float]]


def video(path: Path, parts: int, wanted: Sequence[tuple[float, float]]) -> Video:
    packets = index(path)
    shown = np.sort(packets.pts)
    edges_pts = [*shown.tolist(), int(2 * shown[-1] - shown[-2])]
    seconds = [float((pts - shown[0]) * packets.time_base) for pts in edges_pts]
    if wanted:
        pairs = [tuple(int(np.searchsorted(seconds, t - 1e-6)) for t in span) for span in wanted]
    else:
        cuts = np.linspace(0, len(shown), parts + 1).astype(int).tolist()
        pairs = list(itertools.pairwise(cuts))
    pairs = [(a, min(b, len(shown))) for a, b in pairs if b > a]
    spans = [Span(edges_pts[a], edges_pts[b], b - a, clean=True) for a, b in pairs]
    return Video(path, spans, [(seconds[a], seconds[b]) for a, b in pairs])


def ours(mode: Mode, clips: Sequence[Video], folder: Path, made: Counter[str]) -> None:
    """The file's packets are looked through once, as a run does."""
    for clip in clips:
        packets = index(clip.path)
        for span in clip.spans:
            try:
                facts = cut(clip.path, folder / "clip.mp4", span, CutSettings(mode), packets)
            except ItemError as error:
                made[error.kind] += 1
                continue
            made[facts.method] += 1
            made["frames"] += facts.frames
            made["exact"] += facts.frames == span.frames


def ffmpeg(options: Sequence[str], clips: Sequence[Video], folder: Path, made: Counter[str]) -> None:
    for clip in clips:
        for span, (start_s, end_s) in zip(clip.spans, clip.times, strict=True):
            target = folder / "clip.mp4"
            seek = ["-ss", f"{start_s:.6f}", "-i", str(clip.path), "-t", f"{end_s - start_s:.6f}"]
            command = ["ffmpeg", "-v", "quiet", "-nostdin", "-y", *seek, "-map", "0:v:0", *options, "-sn", str(target)]
            failed = subprocess.run(command, check=False).returncode
            frames = 0 if failed else shown_frames(target)
            made["frames"] += frames
            made["exact"] += frames == span.frames


def shown_frames(path: Path) -> int:
    with open_video(path) as container:
        stream = video_stream(container)
        return sum(1 for packet in container.demux(stream) if packet.size and not packet.is_discard)


def measured(run: Callable[[], None]) -> float:
    """CPU-seconds of this process and of those it has waited for."""
    before = time.process_time() + children_s()
    run()
    return time.process_time() + children_s() - before


def children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ways(clips: Sequence[Video], folder: Path) -> Iterator[tuple[str, Callable[[Counter[str]], None]]]:
    yield "ours, auto", lambda made: ours("auto", clips, folder, made)
    yield "ours, copy", lambda made: ours("copy", clips, folder, made)
    yield "ours, encode", lambda made: ours("encode", clips, folder, made)
    if not shutil.which("ffmpeg"):
        print("no `ffmpeg` on the path: only our own ways are measured")
        return
    yield "ffmpeg, encode", lambda made: ffmpeg(ENCODE, clips, folder, made)
    yield "ffmpeg, copy", lambda made: ffmpeg(COPY, clips, folder, made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path, help="the demo's, unless given (run `make demo` first)")
    parser.add_argument("--parts", type=int, default=4, help="cut each video into so many equal parts")
    parser.add_argument("--spans", type=Path, help="JSON: seconds by file name")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    spans = json.loads(options.spans.read_text()) if options.spans else {}
    chosen = [path for path in options.videos or sorted(DEMO.glob("*.mp4")) if not spans or path.name in spans]
    clips = [video(path, options.parts, spans.get(path.name, ())) for path in chosen]
    costs: dict[str, list[float]] = {}
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name, run in ways(clips, Path(folder)):
                counts[name] = Counter()
                costs.setdefault(name, []).append(measured(lambda run=run, name=name: run(counts[name])))
    total, wanted = sum(len(clip.spans) for clip in clips), sum(span.frames for clip in clips for span in clip.spans)
    print(f"{len(clips)} videos, {total} clips of {wanted} frames, {options.rounds} rounds (median CPU-seconds)\n")
    base = median(costs.get("ffmpeg, encode", costs["ours, encode"]))
    print("| way | CPU-s | an encoding = 1 | copied | encoded | failed | frames | clips of just the frames wanted |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, seconds in costs.items():
        made, cost = counts[name], median(seconds)
        parts = [f"{cost:.2f}", f"{cost / base:.3f}"]
        parts += [str(made[key]) for key in ("copy", "encode", "no_copy", "frames", "exact")]
        print("| " + " | ".join([name, *parts]) + " |")


if __name__ == "__main__":
    main()
