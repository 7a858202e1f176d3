"""A run to look at, its tables written by hand around one real video: whatever texts, as many clips as asked for."""

import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.records import Caption, Clip, Failure, Record, Scanned, Verdict
from builder.scorers.motion import MotionScore
from builder.scorers.sharpness import SharpnessScore
from judged_run import video_of, write
from made_video import Made
from made_video import write as write_video
from sample_clips import sample

CONFIG = """\
name = "pictured"
[[source]]
kind = "folder"
name = "mine"
path = "../videos"
[[source]]
kind = "folder"
name = "other"
path = "../videos"
[score]
use = ["motion", "sharpness"]
[dedupe]
on = false
[filter]
keep = ["motion.flow >= 0.5", "any(sharpness.laplacian >= 4, source == other)"]
[caption.describe]
"""
FRAMES, RATE = 75, 25


@dataclass(frozen=True)
class Texts:
    """What strangers said of one video."""

    title: str
    author: str = "Mo"
    page_url: str = "https://example.org/1"
    caption: str = "A bar moves to the right."


@dataclass(frozen=True)
class Pictured:
    run: Path
    clips: list[Clip]

    def remove(self, *tables: str) -> "Pictured":
        for table in tables:
            shutil.rmtree(self.run / table)
        return self


def write_run(folder: Path) -> Path:
    """A video, and a run that has done nothing yet."""
    (folder / "videos").mkdir(parents=True)
    how = Made(frames=FRAMES, size=(320, 180), rate=RATE, shots=(25, 50), options={"g": "25"})
    write_video(folder / "videos" / "a b.mp4", how)
    run = folder / "run"
    run.mkdir()
    (run / "build.toml").write_text(CONFIG)
    return run


def pictured(folder: Path, texts: Sequence[Texts], clips_each: int = 1) -> Pictured:
    """A video of each text, all of one file, and that many clips of each; of every third `motion` failed."""
    run = write_run(folder)
    (run / "media").mkdir()
    scanned = sample(folder / "videos" / "a b.mp4", run / "media").scan
    videos: list[Record] = []
    scans: list[Record] = []
    clips: list[Clip] = []
    for n, said in enumerate(texts):
        video = f"{zlib.crc32(str(n).encode()):08x}{n:012x}"
        mine = [clip_of(video, scanned, k, clips_each) for k in range(clips_each)]
        clips += mine
        stat = (folder / "videos" / "a b.mp4").stat()
        place = {
            "size_bytes": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "root": "mine",
            "path": "a%20b.mp4",
            "title": said.title,
            "author": said.author,
        }
        licence = "CC0-1.0" if n % 2 else "CC-BY-4.0"
        videos.append(video_of(mine[0], ("mine", "other")[n % 2], licence, page_url=said.page_url, **place))
        names = {"evidence": f"media/{scanned.evidence}", "strip": f"media/{scanned.strip}"}
        scans.append(replace(scanned, video_id=video, **names))
    write(run, "merge", videos)
    write(run, "scan", scans)
    write(run, "split", clips)
    measure(run, clips)
    tell(run, clips, {row.video_id: said.caption for row, said in zip(clips[::clips_each], texts, strict=True)})
    return Pictured(run, clips)


def clip_of(video: str, scanned: Scanned, k: int, of: int) -> Clip:
    first, last = FRAMES * k // of, FRAMES * (k + 1) // of
    tick = (scanned.end_pts - scanned.start_pts) // FRAMES
    pts = (scanned.start_pts + first * tick, scanned.start_pts + last * tick)
    return Clip(f"{video}-{first:07d}-{last:07d}", video, first, last, *pts, first / RATE, last / RATE, 25.0, 320, 180)


def flow(n: int) -> float:
    return (n % 10) / 10


def measure(run: Path, clips: Sequence[Clip]) -> None:
    """motion.flow is 0.0 ... 0.9 in turn; of every 30th clip it could not be had."""
    others = dict.fromkeys(set(MotionScore.names()) - {"flow"}, 0.25)
    moving = {row.clip_id: MotionScore(clip_id=row.clip_id, flow=flow(n), **others) for n, row in enumerate(clips)}
    lost = [Failure(row.clip_id, "timeout", "took <b>too</b> long", retryable=True) for row in clips[29::30]]
    write(run, "score.motion", [row for key, row in moving.items() if key not in {f.item_id for f in lost}], lost)
    write(run, "score.sharpness", [SharpnessScore(row.clip_id, 5.0 + n, 4.0) for n, row in enumerate(clips)])
    why = [
        ("no score: motion: timeout",) if n % 30 == 29 else (f"motion.flow {flow(n)} is not >= 0.5",)
        for n in range(len(clips))
    ]
    against = [() if flow(n) >= 0.5 and n % 30 != 29 else why[n] for n in range(len(clips))]
    write(run, "judge", [Verdict(row.clip_id, not texts, texts) for row, texts in zip(clips, against, strict=True)])


def tell(run: Path, clips: Sequence[Clip], said: dict[str, str]) -> None:
    kept = [row for n, row in enumerate(clips) if flow(n) >= 0.5 and n % 30 != 29]
    how = ("ok", "some/model", "abc123", "Describe <i>it</i>.", (0.5,), '{"top_p": 1}')
    write(run, "caption.describe", [Caption(row.clip_id, "describe", said[row.video_id], *how) for row in kept])
    if kept:
        write(run, "select", [Verdict(row.clip_id, kept=True) for row in kept])
