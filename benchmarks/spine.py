"""What the spine costs: the scan over plain decoding of the same files, and every stage of the demo, in CPU-seconds.

    python benchmarks/spine.py [VIDEO ...]      defaults to the demo's footage (run `make demo` first)

Plain decoding is PyAV, one thread, every frame, nothing kept: what any tool must at least pay to see the frames. The
two run in turn in one process, so that the machine's mood strikes both; ratios of the minima and medians are printed.
"""

import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import av

from builder.media.decode import ScanSettings, scan
from builder.media.sniff import open_video, video_stream

ROUNDS = 7
DEMO = Path("runs/demo")


def decode(path: Path) -> None:
    with open_video(path) as container:
        stream = video_stream(container)
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        for _ in container.decode(stream):
            pass


def cpu_s(work: object, *args: object) -> float:
    started = time.process_time()
    work(*args)  # type: ignore[operator]
    return time.process_time() - started


def compare(paths: list[Path]) -> None:
    totals: list[tuple[float, float]] = []
    print(f"scan over plain decode, CPU-seconds, {ROUNDS} interleaved rounds, PyAV {av.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            outputs = (Path(folder, "evidence"), Path(folder, "strip"), ScanSettings())
            rounds = [(cpu_s(decode, path), cpu_s(scan, path, *outputs)) for _ in range(ROUNDS)]
            plain, full = (min(times) for times in zip(*rounds, strict=True))
            ratio = statistics.median(b / a for a, b in rounds)
            print(f"  {path.name:<40} {plain:6.2f} {full:6.2f}  minima {full / plain:.2f}  median {ratio:.2f}")
            totals.append((plain, full))
    print(f"  total: {sum(b for _, b in totals) / sum(a for a, _ in totals):.2f}")


def stages(run: Path) -> None:
    """From the receipts of a finished run; the decoder processes' time is in them."""
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0])
    for path in run.glob("*.receipts/part-*.json"):
        receipt = json.loads(path.read_text())
        for n, name in enumerate(("cpu_s", "wall_s", "computed")):
            spent[receipt["table"]][n] += receipt[name]
    print(f"{run}: CPU-seconds, wall seconds over all workers, inputs computed, by stage")
    for table, (cpu, wall, computed) in sorted(spent.items(), key=lambda row: -row[1][0]):
        print(f"  {table:<20} {cpu:8.2f} {wall:8.2f} {computed:6.0f}")


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]] or sorted(DEMO.glob("media/videos/*/*"))
    if not paths:
        sys.exit("no videos: name some, or run `make demo` first")
    readable = []
    for path in paths:
        try:
            cpu_s(decode, path)
        except Exception as error:
            print(f"  {path.name} left out: {error}")
        else:
            readable.append(path)
    compare(readable)
    if DEMO.is_dir():
        stages(DEMO)


if __name__ == "__main__":
    main()
