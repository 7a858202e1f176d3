"""The tables that judging reads, written by hand: clips, videos, scores, and failures of scorers."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.layout import Layout, bucket
from builder.query import Inputs
from builder.records import Caption, Clip, Failure, Record, Scanned, Score, SourceVideo, Verdict
from builder.stages.dedupe import Twin
from builder.stages.judge import Judge
from builder.stages.pick import Duplicate
from builder.stages.rank import Threshold
from builder.storage import Storage
from builder.table import Answer, Stamp, Table

PARTS = 2


@dataclass(frozen=True, slots=True)
class TextScore(Score):
    area: float
    boxes: float
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MotionScore(Score):
    flow: float


RECORDS: Mapping[str, type[Record]] = {
    "split": Clip,
    "scan": Scanned,
    "merge": SourceVideo,
    "score.text": TextScore,
    "score.motion": MotionScore,
    "caption.describe": Caption,
    "judge": Verdict,
    "rank": Threshold,
    "dedupe": Twin,
    "pick": Duplicate,
}
MEASURED = (
    ("text.area", "score.text"),
    ("text.boxes", "score.text"),
    ("motion.flow", "score.motion"),
    ("caption-describe.words", "caption.describe"),
)


def clip_id(name: str) -> str:
    """Clips are named by a letter in tests; as ids they begin with the hash that parts go by."""
    return f"{zlib.crc32(name.encode()):08x}{'0' * 12}-{name}"


def clip(name: str, source: str = "mine", seconds: float = 4.0, size: tuple[int, int] = (640, 480)) -> Clip:
    frames = round(seconds * 25)
    where = {"start_frame": 0, "end_frame": frames, "start_pts": 0, "end_pts": frames, "start_s": 0.0, "end_s": seconds}
    return Clip(clip_id(name), f"{clip_id(name)[:20]}", fps=25.0, width=size[0], height=size[1], **where)  # type: ignore[arg-type]


def video_of(row: Clip, source: str = "mine", license: str = "", **more: Any) -> SourceVideo:
    probed = {"container": "mp4", "codec": "h264", "width": row.width, "height": row.height, "rotation": 0, "fps": 25.0}
    where = {"found_id": row.video_id, "root": "", "path": "a.mp4", "sha256": "", "size_bytes": 1_000_000}
    values = {"duration_s": 8.0, "has_audio": False, **probed, **where, **more}
    return SourceVideo(video_id=row.video_id, source=source, license=license, **values)


def scan_of(row: Clip, **more: Any) -> Scanned:
    figures = {"fps": 25.0, "duration_s": 8.0, "vfr": False, "decode_errors": 0, "strip_frames": 0}
    span = {"frames": 200, "start_pts": 0, "end_pts": 200, "time_base": "1/25", "evidence": "", "strip": ""}
    values = {**figures, **span, **more}
    return Scanned(row.video_id, width=row.width, height=row.height, **values)


def write(root: Path, name: str, rows: Sequence[Record], failures: Sequence[Failure] = ()) -> None:
    """In parts, as a run would."""
    grain = "one" if name in ("rank", "pick") else "video" if name in ("scan", "merge") else "clip"
    parts = 1 if grain == "one" else Layout(Storage(root)).decide(grain, PARTS)
    table: Table[Any] = Table(Storage(root), name, type(rows[0]) if rows else RECORDS[name])
    answers = {row.id: Answer("", [row]) for row in rows} | {f.item_id: Answer("", (), f) for f in failures}
    for n in range(parts):
        own = {key: answer for key, answer in sorted(answers.items()) if bucket(key, parts) == n}
        table.write(n, Stamp("test", "", of=parts), own)


def inputs(root: Path, stage: Any) -> Inputs:
    """All parts of what a stage reads."""
    tables = {name: Table(Storage(root), name, RECORDS[name]) for name in (stage.reads, *stage.joins)}
    return Inputs(stage.reads, tables, {name: table.parts() for name, table in tables.items()})


def verdicts(root: Path, judge: Judge) -> dict[str, tuple[str, ...]]:
    """Why each clip is not kept, by the clip's name; the verdicts are checked to say so."""
    found = judge.asked(inputs(root, judge)).to_pylist()
    assert all(row["kept"] == (not row["failed"]) for row in found)
    return {row["clip_id"].partition("-")[2]: tuple(row["failed"]) for row in found}
