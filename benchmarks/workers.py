"""How much sooner two workers are done than one: `osd-build split` of the same videos, by the clock.

    python benchmarks/workers.py FOLDER [--rounds 3] [--workers 2]

Every round makes two new runs over the folder, crawls them (not measured), and splits one with one worker and the
other with `--workers`; which goes first alternates. On an idle machine only: this is the one benchmark that asks for
wall time. Prints both times and the ratio of the medians. The results are compared, too.
"""

import argparse
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OSD = [sys.executable, "-m", "builder.cli"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    times: dict[int, list[float]] = {1: [], asked.workers: []}
    for nth in range(asked.rounds):
        made = set()
        for workers in sorted(times, reverse=bool(nth % 2)):
            wall_s, digest = split(asked.folder.resolve(), workers)
            times[workers].append(wall_s)
            made.add(digest)
            print(f"round {nth}: {workers} workers {wall_s:7.2f} s", flush=True)
        if len(made) > 1:
            sys.exit("the clips differ")
    one, many = (statistics.median(times[n]) for n in (1, asked.workers))
    print(f"median {one:.2f} s / {many:.2f} s = {one / many:.2f}")


def split(folder: Path, workers: int) -> tuple[float, str]:
    """Seconds by the clock, and a digest of the clips made."""
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        say("init", str(run), "--folder", str(folder), "--license", "CC0-1.0")
        say("crawl", str(run))
        since = time.perf_counter()
        say("split", str(run), "--set", f"run.workers={workers}")
        wall_s = time.perf_counter() - since
        parts = sorted((run / "split").glob("part-*.parquet"))
        return wall_s, hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()


def say(*words: str) -> None:
    done = subprocess.run([*OSD, *words], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):  # 3: some videos failed, in every run the same
        sys.exit(f"osd-build {' '.join(words)}: {done.stderr}")


if __name__ == "__main__":
    main()
