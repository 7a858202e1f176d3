"""What the decode pass costs and leaves: CPU against FFmpeg's plain decoding, bytes an hour, memory of long videos.

    python benchmarks/scan.py [VIDEO ...]         defaults to the demo's footage (run `make demo` first)
    python benchmarks/scan.py --content VIDEO ...  also with PySceneDetect's statistic
    python benchmarks/scan.py --long 7200          memory of a 1080p video of that many seconds, and of one of 10

The peer is `ffmpeg -threads 1 -an -f null`, its start included; the scan is one call in a process that has started,
as in a run, where one process scans 200 videos (its start is printed apart). Rounds are interleaved, so that the
machine's mood strikes both. CPU-seconds; the median and the ratio of the minima.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from builder.media.decode import ScanFacts, ScanSettings, scan
from builder.media.guard import Guard

DEMO = Path("runs/demo")
FFMPEG = ["ffmpeg", "-nostdin", "-v", "quiet", "-threads", "1"]
HD = 720  # short side from which the goal holds
START = "import builder.media.decode"
MB = 1 << 20


@dataclass
class Measured:
    name: str
    facts: ScanFacts
    plain: list[float]
    scans: dict[str, list[float]]
    evidence_bytes: int
    strip_bytes: int

    def ratio(self, kind: str) -> float:
        return min(self.scans[kind]) / min(self.plain)

    @property
    def is_hd(self) -> bool:
        return min(self.facts.width, self.facts.height) >= HD


def cpu_s(work: Callable[[], object]) -> float:
    """Of this process and of the children it waited for."""
    before = os.times()
    work()
    after = os.times()
    return sum(after[:4]) - sum(before[:4])


def measure(path: Path, rounds: int, kinds: dict[str, ScanSettings]) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        evidence, strip = Path(folder, "evidence"), Path(folder, "strip")
        facts = scan(path, evidence, strip, ScanSettings())
        sizes = evidence.stat().st_size, strip.stat().st_size
        peer = [*FFMPEG, "-i", str(path), "-an", "-f", "null", "-"]
        plain: list[float] = []
        scans: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(rounds):
            plain.append(cpu_s(lambda: subprocess.run(peer, check=False)))
            for kind, settings in kinds.items():
                scans[kind].append(cpu_s(lambda settings=settings: scan(path, evidence, strip, settings)))
    return Measured(path.name, facts, plain, scans, *sizes)


def compare(paths: list[Path], rounds: int, kinds: dict[str, ScanSettings]) -> None:
    version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split()[2]
    codecs = ".".join(map(str, av.library_versions["libavcodec"]))
    print(f"ffmpeg {version}, PyAV {av.__version__} (libavcodec {codecs})")
    start = min(cpu_s(lambda: subprocess.run([sys.executable, "-c", START], check=True)) for _ in range(3))
    print(f"start of the scanning process, once per 200 videos: {start:.2f} CPU-s")
    print(f"{rounds} rounds; ffmpeg s; of each kind of scan s, ratio of minima, median ratio; evidence + strip")
    done = []
    for path in paths:
        try:
            done.append(measure(path, rounds, kinds))
        except Exception as error:
            print(f"  {path.name} left out: {error}")
        else:
            show(done[-1])
    for title, group in (
        (f">= {HD}", [m for m in done if m.is_hd]),
        (f"< {HD}", [m for m in done if not m.is_hd]),
    ):
        if group:
            total(title, group, kinds)


def show(m: Measured) -> None:
    size = f"{m.facts.width}x{m.facts.height}"
    parts = [f"{m.name[:36]:<36} {size:>9} {m.facts.duration_s:7.1f} s  {min(m.plain):6.2f}"]
    for times in m.scans.values():
        median = statistics.median(b / a for a, b in zip(m.plain, times, strict=True))
        parts.append(f"{min(times):6.2f} {min(times) / min(m.plain):5.2f} {median:5.2f}")
    hours = m.facts.duration_s / 3600
    parts.append(f"{m.evidence_bytes / hours / MB:6.1f} + {m.strip_bytes / hours / MB:6.1f} MB/h")
    print("  " + "  ".join(parts), flush=True)


def total(title: str, group: list[Measured], kinds: dict[str, ScanSettings]) -> None:
    seconds = sum(m.facts.duration_s for m in group)
    frames = sum(m.facts.frames for m in group)
    plain = sum(min(m.plain) for m in group)
    print(f"{title}: {len(group)} files, {seconds / 60:.1f} min, {frames:,} frames, ffmpeg {plain:.2f} CPU-s")
    for kind in kinds:
        minima = sum(min(m.scans[kind]) for m in group) / plain
        rounds = zip(*(m.scans[kind] for m in group), strict=True), zip(*(m.plain for m in group), strict=True)
        median = statistics.median(sum(ours) / sum(peers) for ours, peers in zip(*rounds, strict=True))
        print(f"  {kind}: {minima:.3f} (minima), {median:.3f} (median of rounds)")
    each = (sum(m.evidence_bytes for m in group), sum(m.strip_bytes for m in group))
    evidence, strip = (size / seconds * 3600 / MB for size in each)
    print(f"  an hour of source leaves {evidence:.1f} MB of evidence and {strip:.1f} MB of strip")


def long_video(path: Path, seconds: int) -> Path:
    """1080p at 30 fps: ten seconds of a moving gradient, H.264 with B-frames, whose packets repeat."""
    with av.open(str(path), "w") as out:
        track = out.add_stream("libx264", rate=30, options={"preset": "veryfast", "bf": "3", "g": "60"})
        track.width, track.height, track.pix_fmt = 1920, 1080, "yuv420p"
        track.codec_context.time_base = Fraction(1, 30)
        packets = []
        for n in range(300):
            picture = np.roll(np.tile(np.linspace(0, 255, 1920, dtype=np.uint8), (1080, 1)), n * 6, axis=1)
            frame = av.VideoFrame.from_ndarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 30)
            packets += track.encode(frame)
        packets += track.encode(None)
        told = [(bytes(p), p.pts, p.dts, p.is_keyframe, p.time_base) for p in packets]
        for turn in range(seconds // 10):
            for data, pts, dts, key, base in told:
                packet = av.Packet(data)
                packet.pts, packet.dts, packet.time_base = pts + 300 * turn, dts + 300 * turn, base
                packet.stream, packet.is_keyframe = track, key
                out.mux(packet)
    return path


def memory(seconds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        peaks = {}
        for length in (10, seconds):
            video = long_video(Path(folder, f"{length}.mp4"), length)
            started = time.perf_counter()
            with Guard() as guard:
                outputs = Path(folder, "evidence"), Path(folder, "strip")
                facts = guard.call(scan, video, *outputs, ScanSettings(), wall_s=36000, cpu_s=36000)
                peaks[length] = guard.call(resource.getrusage, resource.RUSAGE_SELF).ru_maxrss / 1024
            wall_s = time.perf_counter() - started
            print(f"  {length:6} s, {facts.frames:,} frames: peak {peaks[length]:.0f} MB, {wall_s:.0f} s", flush=True)
        print(f"  {peaks[seconds] / peaks[10]:.3f} times the memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--content", action="store_true")
    parser.add_argument("--long", type=int, default=0, metavar="SECONDS")
    asked = parser.parse_args()
    if asked.long:
        memory(asked.long)
        return
    paths = asked.videos or sorted(DEMO.glob("media/videos/*/*"))
    if not paths:
        sys.exit("no videos: name some, or run `make demo` first")
    kinds = {"scan": ScanSettings(), **({"with content": ScanSettings(content=True)} if asked.content else {})}
    compare(paths, asked.rounds, kinds)


if __name__ == "__main__":
    main()
