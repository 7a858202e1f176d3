"""Near-duplicates: how fast hashes are searched, which copies are found, and what is taken for one that is none.

    python benchmarks/duplicates.py search [--count 1000000] [--radius 4]
    python benchmarks/duplicates.py copies FOLDER      made by: duplicate_corpus.py copies FOLDER VIDEO ...
    python benchmarks/duplicates.py videos FOLDER [--same 'dup_chair*' --same '*carphone*' ...]
    python benchmarks/duplicates.py cards CARDS.mp4    made by: duplicate_corpus.py cards CARDS.mp4

`search` compares with a blocked numpy popcount of each with each, timed on some rows and multiplied. `copies` and
`videos` run `osd-build` on the folder. A copy counts as found if a clip of it is paired with a clip of the plain one of
which it shows half; a pair of videos that no `--same` names together is a false one, and so is any pair of cards.
"""

import argparse
import fnmatch
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from duplicate_corpus import CARD_FRAMES, CUT
from numpy.typing import NDArray

from builder.duplicates.describe import describe
from builder.duplicates.match import Clips, Twins, twins
from builder.duplicates.search import near_pairs
from builder.frames import Timeline
from builder.media.decode import ScanSettings, scan
from builder.media.evidence import Evidence
from builder.records import Clip, Scanned, SourceVideo
from builder.stages.dedupe import Dedupe, columns
from builder.stages.hash import Hashes
from builder.storage import Storage
from builder.table import Table

OSD_BUILD = [sys.executable, "-m", "builder.cli"]
BUILD = """name = "duplicates"
[[source]]
kind = "folder"
name = "mine"
path = "{folder}"
[score]
use = []
[filter]
keep = []
"""
SHOWN = 12
LEAST = 0.5  # of the shorter clip, for two of them to show the same
CROWDED, BUCKETS = 0.1, 100
ROWS = 200  # of the brute force that are timed


# -- search
def crowds(count: int, rng: np.random.Generator) -> Iterator[tuple[str, NDArray[np.uint64]]]:
    """Hashes spread evenly, and with CROWDED of them in BUCKETS buckets in three ways."""
    spread = rng.integers(0, 1 << 64, count, np.uint64)
    yield "uniform", spread
    crowd = int(CROWDED * count)
    centres = rng.integers(0, 1 << 64, BUCKETS, np.uint64)[rng.integers(0, BUCKETS, crowd)]
    near = centres.copy()
    for _ in range(3):
        near ^= np.uint64(1) << rng.integers(0, 64, crowd, np.uint64)
    low = np.uint64((1 << 16) - 1)
    ways = {"100 buckets of copies": centres, "100 buckets, 3 bits flipped": near}
    ways["100 buckets of 16 equal bits"] = (centres & low) | (spread[:crowd] & ~low)
    for name, crowded in ways.items():
        yield name, np.concatenate([crowded, spread[crowd:]])


def popcount(hashes: NDArray[np.uint64], rows: int, radius: int, block: int = 1 << 16) -> int:
    """Pairs of the first `rows` hashes with those after them: brute force in blocks that fit the cache."""
    found = 0
    for i in range(rows):
        for start in range(i + 1, len(hashes), block):
            found += int((np.bitwise_count(hashes[start : start + block] ^ hashes[i]) <= radius).sum())
    return found


def ours(hashes: NDArray[np.uint64], radius: int) -> tuple[int, int]:
    """All pairs, and those of the first ROWS hashes."""
    counts = [(len(i), int((i < ROWS).sum())) for i, _ in near_pairs(hashes, radius)]
    return sum(count for count, _ in counts), sum(count for _, count in counts)


def search(given: argparse.Namespace) -> None:
    print(f"{given.count} hashes, radius {given.radius}; CPU-seconds; brute force: {ROWS} rows timed and multiplied")
    for name, ordered in crowds(given.count, np.random.default_rng(1)):
        hashes = np.random.default_rng(2).permutation(ordered)
        (found, checked), ours_s = timed(lambda h=hashes: ours(h, given.radius))
        expected, rows_s = timed(lambda h=hashes: popcount(h, ROWS, given.radius))
        brute_s = rows_s * len(hashes) / 2 / ROWS
        same = "as many" if checked == expected else f"{checked}: WRONG"
        print(
            f"  {name:<30} {ours_s:6.2f} s {found:>10} pairs   brute force {brute_s:7.1f} s, {brute_s / ours_s:6.1f} x"
        )
        print(f"  {'':<30} of {ROWS} rows {expected} pairs, ours {same}")
    print(f"  peak memory {peak_mb()} MB")


# -- clips of real videos
def run_on(folder: Path) -> tuple[list[Clip], dict[str, str], Twins, Clips]:
    """The clips of a folder's videos, the files they come from, the pairs found and the clips as they were compared."""
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "build.toml").write_text(BUILD.format(folder=folder.absolute()))
        for verb in ("crawl", "split", "filter"):
            subprocess.run(
                [*OSD_BUILD, verb, scratch], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        storage = Storage(Path(scratch))
        rows = sorted(Table(storage, "hash", Hashes).rows(), key=lambda row: row.clip_id)
        clips = sorted(Table(storage, "split", Clip).rows(), key=lambda row: row.clip_id)
        files = {row.video_id: row.path for row in Table(storage, "merge", SourceVideo).rows()}
        print(f"{len(files)} videos, {len(clips)} clips")
    compared = columns(rows)
    return clips, files, twins(compared, Dedupe().radius, Dedupe().similarity), compared


def copies(given: argparse.Namespace) -> None:
    clips, files, found, compared = run_on(given.path)
    of: dict[tuple[str, str], list[int]] = {}
    for n, clip in enumerate(clips):
        name, _, way = Path(files[clip.video_id]).stem.partition("__")
        of.setdefault((name, way), []).append(n)
    hits, seen, silent, missed = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for (name, way), members in of.items():
        plain = of.get((name, "plain"), [])
        length_s = max((clips[n].end_s for n in plain), default=0.0)
        for n in members if way != "plain" else []:
            same = [p for p in plain if shared_s(clips[n], clips[p], CUT.get(way, (0, 0))[0] * length_s)]
            if not same:
                continue
            told = compared.of(n)["telling"].any() and any(compared.of(p)["telling"].any() for p in same)
            seen[way] += bool(told)
            silent[way] += not told
            hit = any((min(n, p), max(n, p)) in found for p in same)
            hits[way] += hit and bool(told)
            missed[f"{name}__{way}[{clips[n].start_s:.1f} s]"] += not hit and bool(told) and way != "mirror"
    for way in seen:
        print(
            f"  {way:<12} {hits[way]:>4} / {seen[way]:<4} = {hits[way] / seen[way]:.3f}   flat or black {silent[way]}"
        )
    print("  not found:", ", ".join(sorted(key for key, count in missed.items() if count)) or "none")
    wrong = [pair for pair in found if len({Path(files[clips[n].video_id]).stem.partition("__")[0] for n in pair}) > 1]
    print(f"  pairs of copies of different videos: {len(wrong)}")


def shared_s(one: Clip, plain: Clip, later_s: float) -> bool:
    shared = min(one.end_s + later_s, plain.end_s) - max(one.start_s + later_s, plain.start_s)
    return shared >= LEAST * min(one.duration_s, plain.duration_s)


def videos(given: argparse.Namespace) -> None:
    clips, files, found, _ = run_on(given.path)
    pairs = Counter(tuple(sorted(files[clips[n].video_id] for n in pair)) for pair in found)
    declared = [sorted(f for f in files.values() if fnmatch.fnmatch(f, same)) for same in given.same]
    wanted = {pair for group in declared for pair in combinations(group, 2)}
    for (a, b), count in sorted(pairs.items()):
        print(f"  {'' if (a, b) in wanted else 'NOT DECLARED '}{a} ~ {b}: {count}")
    print(f"  declared pairs of videos found: {sum(pair in pairs for pair in wanted)} of {len(wanted)}")
    print("  declared and not found:", sorted(wanted - set(pairs)) or "none")


# -- cards
def cards(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        storage = Storage(Path(scratch))
        facts = scan(given.path, storage.path("evidence"), storage.path("strip"), ScanSettings())
        row = Scanned("cards", **vars(facts), evidence="evidence", strip="strip")
        evidence, times_s = Evidence(storage.path("evidence")), Timeline(row, storage).times_s
        spans = [(n, n + CARD_FRAMES) for n in range(0, facts.frames, CARD_FRAMES)]
        found = [describe(evidence.thumbs(a, b), times_s[a : b + 1]) for a, b in spans]
    rows = [Hashes(f"{n:05d}", f"{n:05d}", d.first, d.moments.tobytes(), d.picture) for n, d in enumerate(found)]
    compared = columns(rows)
    pairs = twins(compared, Dedupe().radius, Dedupe().similarity)
    telling = sum(bool(d.moments["telling"].any()) for d in found)
    print(f"{len(rows)} cards, {telling} with a moment that tells; pairs: {len(pairs)}")
    for (a, b), overlap in list(pairs.items())[:SHOWN]:
        print(f"  {a} ~ {b} {overlap}")


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    before = time.process_time()
    return work(), time.process_time() - before


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "copies", "videos", "cards"))
    parser.add_argument("path", type=Path, nargs="?", default=Path())
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--radius", type=int, default=4)
    parser.add_argument("--same", action="append", default=[])
    given = parser.parse_args()
    ways = {"search": search, "copies": copies, "videos": videos, "cards": cards}
    ways[given.what](given)


if __name__ == "__main__":
    main()
