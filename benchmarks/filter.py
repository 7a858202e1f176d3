"""How fast clips are judged: a run of made-up scores (tables only, no video), judged by `osd-build filter`.

    python benchmarks/filter.py [--clips 1000000] [--run RUN]

Five scorers, of which `text` failed for 2 % of the clips; ten clips a video. Each command is run as a user would, one
after the other on the same tables. CPU-seconds are those of all its processes, so starting Python and the workers and
counting the funnel are in them. To make the tables takes longer than all that is measured.
"""

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builder.engine import Job
from builder.execute import open_run
from builder.layout import Layout, clip_parts, found_parts, video_parts
from builder.parquet import FORMAT_VERSION, arrow_schema, to_parquet
from builder.records import Score
from builder.table import Stamp, part_name

BIN = Path(sys.executable).parent
CLIPS_A_VIDEO = 10
CLIP_S = 5.0
FAILED = 0.02
CONFIG = """
name = "judged"
[[source]]
kind = "folder"
name = "made"
path = "videos"
[score]
use = ["text", "motion", "sharpness", "brightness", "made0"]
[filter]
keep = [
    "text.area <= 0.5",
    "motion.flow >= 0.2",
    "sharpness.laplacian in 0.1..0.95",
    "brightness.mean >= 0.05",
    "any(made0.value >= 0.3, motion.camera >= 0.9)",
    "duration_s >= 2",
]
"""
SCORER = """
from dataclasses import dataclass
from typing import ClassVar
from builder.records import Score
from builder.stage import settings
from builder.stages.score import Scorer

@dataclass(frozen=True, slots=True)
class MadeScore(Score):
    value: float

@settings
class Made(Scorer[MadeScore]):
    plugin: ClassVar[str] = "made0"
    writes: ClassVar[type[MadeScore]] = MadeScore
"""
KEEP = 'filter.keep=["text.area <= 0.4", "motion.flow >= 0.3", "sharpness {}"]'
PERCENTILE, NUMBER = KEEP.format(">= p30"), KEEP.format(">= 0.3")
COMMANDS = {  # what `osd-build filter RUN` is asked
    "filter": (),
    "filter, no change": (),
    "filter, other lines": ("--set", NUMBER),
    "filter, percentile": ("--set", PERCENTILE),
    "--dry-run": ("--dry-run",),
    "--dry-run, percentile": ("--dry-run", "--set", PERCENTILE),
}
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
SOME_FAILED = 3
Columns = dict[str, Any]


def install_scorer(folder: Path) -> None:
    """The fifth scorer, as an installed package brings one."""
    (folder / "made_scorer.py").write_text(SCORER)
    metadata = folder / "made_scorer-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: made-scorer\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[open_sora_dataset.scorers]\nmade0 = made_scorer:Made\n")


def make_run(root: Path, clips: int) -> None:
    """All tables up to the scores, with the stamps that a run would have given them."""
    root.mkdir()
    (root / "videos").mkdir()
    (root / "build.toml").write_text(CONFIG)
    run = open_run(root)
    run.write_sources()
    videos = clips // CLIPS_A_VIDEO
    layout = Layout(run.storage)
    layout.decide("found", found_parts(1))
    layout.decide("video", video_parts(videos))
    layout.decide("clip", clip_parts([CLIP_S * CLIPS_A_VIDEO] * videos))
    stamps = {"sources": run.jobs()[0].main.stamps()}
    random = np.random.default_rng(1)
    for job in run.jobs():
        if job.target.name in ("rank", "judge"):
            break
        stamps[job.target.name] = make_table(job, stamps, videos, random)


def make_table(
    job: Job, stamps: Mapping[str, Mapping[int, Stamp]], videos: int, random: np.random.Generator
) -> dict[int, Stamp]:
    made = {}
    total = job.layout.parts(job.stage.grain) or 1
    fill = filler(job)
    for n in range(total):
        sources = job.unit(0 if job.stage.whole else n, stamps).sources
        stamp = Stamp(job.stage.fingerprint(), sources, f"{job.target.name}-{n}", total)
        numbers = range(-(-n * videos // total), -(-(n + 1) * videos // total))
        ids = [f"{(v << 32) // videos:08x}{v:012x}" for v in numbers]
        rows, failures = fill(ids, random)
        save(job, n, stamp, rows, failures)
        made[n] = stamp
    job.target.close(total)
    return made


Fill = Callable[[list[str], np.random.Generator], tuple[Columns, dict[str, Any]]]


def filler(job: Job) -> Fill:
    if job.target.name == "merge":
        return lambda ids, random: (videos_of(ids), {})
    if job.target.name == "split":
        return lambda ids, random: (clips_of(ids), {})
    if issubclass(job.stage.writes, Score):
        names = job.stage.writes.names()
        failed = FAILED if job.target.name == "score.text" else 0.0
        return lambda ids, random: scores_of(ids, names, failed, random)
    return lambda ids, random: ({}, {})


def videos_of(ids: list[str]) -> Columns:
    return {"video_id": ids, "source": ["made"] * len(ids), "license": ["CC0-1.0"] * len(ids)}


def clips_of(ids: list[str]) -> Columns:
    count, frames = len(ids) * CLIPS_A_VIDEO, 150
    starts = list(range(CLIPS_A_VIDEO)) * len(ids)
    return {
        "clip_id": clip_ids(ids),
        "video_id": [v for v in ids for _ in range(CLIPS_A_VIDEO)],
        "start_frame": [n * frames for n in starts],
        "end_frame": [(n + 1) * frames for n in starts],
        "start_s": [n * CLIP_S for n in starts],
        "end_s": [(n + 1) * CLIP_S for n in starts],
        "fps": [30.0] * count,
        "width": [1920] * count,
        "height": [1080] * count,
    }


def clip_ids(ids: list[str]) -> list[str]:
    return [f"{v}-{150 * n:07d}-{150 * (n + 1):07d}" for v in ids for n in range(CLIPS_A_VIDEO)]


def scores_of(ids: list[str], names: list[str], failed: float, random: np.random.Generator) -> tuple[Columns, Any]:
    clips = np.array(clip_ids(ids))
    lost = random.random(len(clips)) < failed
    rows: Columns = {name: random.random(int((~lost).sum())) for name in names}
    failures = {
        str(clip): {"item_id": str(clip), "kind": "timeout", "message": "", "retryable": True, "filtered": False}
        for clip in clips[lost]
    }
    return {"clip_id": clips[~lost].tolist(), **rows}, failures


def save(job: Job, n: int, stamp: Stamp, rows: Columns, failures: Mapping[str, Any]) -> None:
    """As builder/table.py lays out a part; columns that are not given are empty or zero."""
    record = job.target.record
    count = len(rows.get(record.KEY, []))
    schema = arrow_schema(record)
    columns = [pa.array(rows[f.name], f.type) if f.name in rows else empty(f.type, count) for f in schema]
    inputs = [[key, "", 1] for key in rows.get(record.KEY, [])] + [[key, "", found] for key, found in failures.items()]
    stamped = {"osd.format": FORMAT_VERSION, "osd.stamp": vars(stamp), "osd.inputs": sorted(inputs)}
    text = {key: json.dumps(value, separators=(",", ":")) for key, value in stamped.items()}
    table = pa.Table.from_arrays(columns, schema=schema.with_metadata(text))
    path = job.target.storage.path(f"{job.target.name}/{part_name(n)}")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(to_parquet(table))


def empty(kind: pa.DataType, count: int) -> pa.Array:
    value: Any = [] if pa.types.is_list(kind) else "" if pa.types.is_string(kind) else 0
    return pa.array([value] * count, kind) if not pa.types.is_boolean(kind) else pa.array([False] * count)


def timed(run: Path, label: str, *args: str) -> None:
    """The decoder-free workers are children of a fork server that outlives them: a sub-reaper sees them all."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([BIN / "osd-build", "filter", run, *args], check=False, capture_output=True, text=True)
    wall = time.monotonic() - start
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{label:<20} {cpu:8.1f} CPU-s {wall:8.1f} s   largest process so far {after.ru_maxrss / 1e6:.2f} GB",
        flush=True,
    )
    if done.returncode not in (0, SOME_FAILED):
        sys.exit(done.stderr)


def a_clip(run: Path) -> str:
    return str(pq.read_table(run / "split" / part_name(0), columns=["clip_id"])["clip_id"][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--run", type=Path, help="make the run here and leave it; use it if it is there")
    args = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory() as folder:
        install_scorer(Path(folder))
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
        run = args.run or Path(folder, "run")
        if not run.exists():
            start = time.monotonic()
            make_run(run, args.clips)
            print(f"{args.clips:,} clips made in {time.monotonic() - start:.0f} s", flush=True)
        for label, options in COMMANDS.items():
            timed(run, label, *options)
        timed(run, "--explain", "--explain", a_clip(run))


if __name__ == "__main__":
    main()
