"""What a report costs: processor time and memory of `osd-build report` on runs of many clips, and what the page weighs.

    python benchmarks/report.py [CLIPS ...]      # default 1000 10000 100000 1000000

Each run has 25 clips a video, all scores of the usual scorers (random), verdicts and captions; every video has a
strip of its own with 100 real JPEGs (none with more than 20,000 clips). Pages hold all clips up to 20,000, of more an
even choice; figures and histograms hold all.
With a Chromium and Playwright here: how long the page takes until it can be used, what the script takes to count anew
when a slider moves (median of 20), and the longest task of the page's own thread (0: none of 50 ms or more) while the
gallery is scrolled from end to end in 60 steps.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import typing
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from builder.layout import Layout, bucket
from builder.media.strip import StripWriter
from builder.parquet import arrow_schema
from builder.pipeline import DEFAULT_PLUGINS
from builder.records import Caption, Clip, Record, Scanned, Score, SourceVideo, Verdict
from builder.registry import find
from builder.stages.score import Scorer
from builder.storage import Storage
from builder.table import Stamp, Table

CONFIG = """\
name = "many"
[[source]]
kind = "folder"
name = "mine"
path = "videos"
[dedupe]
on = false
[caption.describe]
"""
EACH = 25  # clips a video
PICTURES = 100  # in a strip
TEXT = "A wide shot of a harbour at dusk; boats with lit windows move slowly to the left, and the water is calm. "
PLAIN: dict[str, typing.Any] = {"string": "", "int64": 0, "bool": False}
MOST_STRIPS = 20_000 // EACH
KEPT = 0.6
Columns = dict[str, typing.Any]


def strip(path: Path) -> None:
    random = np.random.default_rng(0)
    writer = StripWriter(path)
    for n in range(PICTURES):
        blobs = random.integers(30, 220, (9, 16, 3), np.uint8)
        _, jpeg = cv2.imencode(".jpg", cv2.resize(blobs, (854, 480), interpolation=cv2.INTER_CUBIC))
        writer.add({"frame": n, "pts": n, "time_s": n / 2, "jpeg": jpeg.tobytes(), "width": 854, "height": 480})
    writer.close()


def columns(record: type[Record], given: Columns, rows: int, random: np.random.Generator) -> pa.Table:
    """What is not given is random, or empty."""
    made = {}
    for field in arrow_schema(record):
        if field.name in given:
            made[field.name] = pa.array(given[field.name], field.type)
        elif pa.types.is_floating(field.type):
            made[field.name] = pa.array(random.gamma(2.0, 1.0, rows))
        elif pa.types.is_list(field.type):
            made[field.name] = pa.array([[]] * rows, field.type)
        else:
            made[field.name] = pa.array([PLAIN[str(field.type)]] * rows, field.type)
    return pa.table(made)


def write(root: Path, name: str, record: type[Record], table: pa.Table) -> None:
    grain = "video" if name in ("merge", "scan") else "clip"
    parts = Layout(Storage(root)).decide(grain, 1 << max(0, (len(table) // 20_000).bit_length()))
    places = np.array([bucket(key, parts) for key in table[record.KEY].to_pylist()])
    for n in range(parts):
        Table(Storage(root), name, record).write_columns(
            n, Stamp("made", "", of=parts), table.filter(pa.array(places == n))
        )


def make(root: Path, clips: int) -> None:
    random = np.random.default_rng(1)
    (root / "build.toml").write_text(CONFIG)
    names = films(root, -(-clips // EACH), random)
    k = np.arange(clips) % EACH
    videos = [names[n // EACH] for n in range(clips)]
    ids = [f"{video}-{100 * place:07d}-{100 * place + 100:07d}" for video, place in zip(videos, k, strict=True)]
    spans: Columns = {"start_frame": 100 * k, "end_frame": 100 * k + 100, "start_pts": 4 * k, "end_pts": 4 * k + 4}
    ends = 2.0 * k + random.choice([2.0, 4.0, 8.0], clips)
    own: Columns = {"clip_id": ids, "video_id": videos, "start_s": 2.0 * k, "end_s": ends, "fps": [25.0] * clips}
    write(root, "split", Clip, columns(Clip, own | spans | shape(clips), clips, random))
    judge(root, ids, random)


def films(root: Path, videos: int, random: np.random.Generator) -> list[str]:
    """Their ids. Of few videos each has a strip, a link to the one there is."""
    names = [f"{random.integers(1 << 32):08x}{n:012x}" for n in range(videos)]
    for folder in ("videos", "media"):
        (root / folder).mkdir()
    strip(root / "media" / "0")
    strips = [f"media/{n}" for n in range(videos)]
    for name in strips[1:] if videos <= MOST_STRIPS else ():
        os.link(root / "media" / "0", root / name)
    facts: Columns = {"video_id": names, "source": ["mine"] * videos, "root": ["mine"] * videos}
    licence = {"license": ["CC0-1.0"] * videos}
    write(root, "merge", SourceVideo, columns(SourceVideo, facts | licence | shape(videos), videos, random))
    seen: Columns = {"video_id": names, "strip": strips, "frames": [2500] * videos, "end_pts": [100] * videos}
    ratios: Columns = {"sar": ["1/1"] * videos, "time_base": ["1/2"] * videos}
    write(root, "scan", Scanned, columns(Scanned, seen | ratios | shape(videos), videos, random))
    return names


def shape(rows: int) -> Columns:
    return {"width": [1920] * rows, "height": [1080] * rows}


def judge(root: Path, ids: list[str], random: np.random.Generator) -> None:
    """Scores, verdicts and captions of these clips."""
    clips = len(ids)
    for name in DEFAULT_PLUGINS["scorers"]:
        scorer = find("scorers", Scorer, name)
        record = typing.cast(type[Score], scorer.writes)
        write(root, f"score.{name}", record, columns(record, {"clip_id": ids}, clips, random))
    kept = random.random(clips) < KEPT
    why = [[] if good else ["motion.flow 0.2104 is not >= 0.3"] for good in kept]
    write(
        root, "judge", Verdict, pa.table({"clip_id": ids, "kept": kept, "failed": pa.array(why, pa.list_(pa.string()))})
    )
    said = [key for key, good in zip(ids, kept, strict=True) if good]
    told: Columns = {
        "clip_id": said,
        "text": [TEXT * (1 + n % 4) for n in range(len(said))],
        "model": ["a/model"] * len(said),
    }
    write(root, "caption.describe", Caption, columns(Caption, told, len(said), random))


def measure(root: Path) -> str:
    code = "import sys; from builder.cli import main; sys.argv[0] = 'osd-build'; main()"
    process = subprocess.Popen([sys.executable, "-c", code, "report", str(root)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"osd-build report ended with {process.returncode}")
    cpu_s, memory = used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3
    page = (root / "report.html").stat().st_size / 1e6
    beside = [path.stat().st_size for path in (root / "report_files").glob("*.jpg")]
    return f"{cpu_s:8.1f} s CPU {memory:8.0f} MB at most   page {page:6.1f} MB   beside {sum(beside) / 1e6:6.1f} MB"


def look(page: Path) -> str:
    """In a browser, if there is one."""
    chromium = os.environ.get("OSD_CHROMIUM") or shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return ""
    if not chromium:
        return ""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        begun = time.monotonic()
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-ready]", timeout=120_000)
        ready = time.monotonic() - begun
        slider, frame = tab.evaluate(SLIDER), tab.evaluate(SCROLL)
        browser.close()
    return f"   ready {ready:5.1f} s   slider {slider:6.1f} ms   longest task {frame:4.0f} ms"


SLIDER = """(() => {
    const input = document.querySelector("#conditions input[type=range]"), times = [];
    for (let n = 0; n < 20; n++) {
        const begun = performance.now();
        input.value = Number(input.min) + (input.max - input.min) * n / 20;
        input.dispatchEvent(new Event("input"));
        times.push(performance.now() - begun);
    }
    return times.sort((a, b) => a - b)[10];
})()"""
SCROLL = """new Promise((done) => {
    const top = document.getElementById("gallery").offsetTop, high = document.getElementById("gallery").offsetHeight;
    let n = 0;
    const longest = { ms: 0 };
    new PerformanceObserver((list) => {
        for (const task of list.getEntries()) longest.ms = Math.max(longest.ms, task.duration);
    }).observe({ type: "longtask" });
    const step = () => {
        if (n++ === 60) return setTimeout(() => done(longest.ms), 200);
        scrollTo({top: top + high * n / 60, behavior: "instant"});
        requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
})"""


def main() -> None:
    for clips in [int(text) for text in sys.argv[1:]] or [1000, 10_000, 100_000, 1_000_000]:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), clips)
            print(f"{clips:>9,} clips", measure(Path(folder)) + look(Path(folder) / "report.html"), flush=True)


if __name__ == "__main__":
    main()
