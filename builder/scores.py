"""What `osd-build score` does: the scores of single videos, outside of any run. Nothing is left behind.

A clip is what the defaults of `detect` and `split` make of the video.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import registry
from builder.errors import Filtered, ItemError
from builder.figures import as_number, one_line
from builder.frames import Timeline
from builder.loose_videos import check_preview, look_at, sheet_name, shots_of, told_short
from builder.pipeline import DEFAULT_PLUGINS
from builder.records import Clip, Failure, Scanned, Score
from builder.shots import make_detector
from builder.stage import Item
from builder.stages.detect import Detector
from builder.stages.score import Scorer
from builder.stages.split import Split

Answers = Mapping[str, Score | Failure]  # by scorer


@dataclass(frozen=True)
class Scored:
    """One clip: `number` counts from 1 within its video."""

    video: str
    number: int
    clip: Clip
    answers: Answers

    def to_json(self) -> str:
        """One line. Scores go by the names that conditions use; a scorer that failed says why."""
        scores = {f"{name}.{key}": value for name, found in self._scores() for key, value in values(found).items()}
        failed = {name: f"{f.kind}: {f.message}" for name, f in self.answers.items() if isinstance(f, Failure)}
        keys = ("start_frame", "end_frame", "start_s", "end_s")
        where = {key: getattr(self.clip, key) for key in keys}
        return json.dumps({"video": self.video, "clip": self.number, **where, "scores": scores, "failed": failed})

    def to_text(self) -> str:
        clip = self.clip
        span = f"{clip.start_s:.3f} to {clip.end_s:.3f} s, frames {clip.start_frame} to {clip.end_frame - 1}"
        return "\n".join([f"clip {self.number}: {span}", *(f"  {name:<12} {line}" for name, line in self.lines())])

    def lines(self) -> Iterator[tuple[str, str]]:
        """Each scorer's name, and what it found or why it failed."""
        for name, found in self.answers.items():
            if isinstance(found, Failure):
                yield name, one_line(f"{found.kind}: {found.message}")
            else:
                yield name, "  ".join(f"{key} {shown(value)}" for key, value in values(found).items())

    def _scores(self) -> Iterator[tuple[str, Score]]:
        return ((name, found) for name, found in self.answers.items() if isinstance(found, Score))


@dataclass(frozen=True)
class Report:
    """One video. `note` tells of a file that breaks off."""

    video: str
    fps: float
    frames: int
    clips: Sequence[Scored]
    note: str = ""

    @property
    def failed(self) -> bool:
        """Whether any score could not be had."""
        return any(isinstance(found, Failure) for clip in self.clips for found in clip.answers.values())

    def to_json(self) -> str:
        """A line a clip."""
        return "\n".join(clip.to_json() for clip in self.clips)

    def to_text(self) -> str:
        head = f"{one_line(self.video)}: {self.frames} frames, {self.fps:.6g} fps, clips: {len(self.clips)}"
        return "\n".join([head, *(clip.to_text() for clip in self.clips)])


def values(found: Score) -> dict[str, Any]:
    return {key: value for key, value in dataclasses.asdict(found).items() if key != Score.KEY}


def shown(value: Any) -> str:
    if isinstance(value, float):
        return as_number(value)
    if isinstance(value, (tuple, list)):
        return one_line(", ".join(f"“{part}”" if isinstance(part, str) else shown(part) for part in value)) or "-"
    return one_line(str(value))


def make_scorers(only: str) -> list[Scorer[Any]]:
    """Those named in `only`, separated by commas; the usual ones when it is empty.

    Raises:
        ConfigError: there is none of that name.
    """
    names = [name.strip() for name in only.split(",")] if only else DEFAULT_PLUGINS["scorers"]
    return [registry.find("scorers", Scorer, name)() for name in dict.fromkeys(names)]


def find_scores(
    videos: Sequence[Path], scorers: Sequence[Scorer[Any]], preview: Path | None = None
) -> Iterator[Report | Failure]:
    """A report or a failure for each video, in order; with `preview` a picture of each is drawn.

    Raises:
        ConfigError: `preview` is no name for a PNG.
    """
    from builder.media.decode import ScanSettings

    if preview:
        check_preview(preview, videos)
    detector = make_detector("", ())

    def look(number: int, video: Path, scan: Scanned) -> Report:
        clips = [Scored(str(video), n, *row) for n, row in enumerate(scored(scan, detector, scorers), 1)]
        report = Report(str(video), scan.fps, scan.frames, clips, told_short(scan))
        if preview:
            from builder.score_sheet import draw

            sheet = sheet_name(preview, number, len(videos))
            draw(report, scan, scorers, detector.context.storage, sheet)
        return report

    yield from look_at(videos, ScanSettings(content="content" in detector.wants), [detector, *scorers], look)


def scored(scan: Scanned, detector: Detector, scorers: Sequence[Scorer[Any]]) -> Iterator[tuple[Clip, Answers]]:
    """Every clip with what each scorer says of it."""
    split, shots = Split(), shots_of(scan, detector)
    try:
        clips = split.clips(shots, scan, Timeline(scan, detector.context.storage), [(0, scan.frames)])
    except Filtered as error:
        raise ItemError(error.kind, f"there is no clip to score: {error.message}") from None
    items = [Item(clip, "", {"scan": scan}) for clip in clips]
    answers = {scorer.plugin: scorer.batch(items) for scorer in scorers}
    for n, clip in enumerate(clips):
        found = {name: column[n] for name, column in answers.items()}
        yield clip, {name: row if isinstance(row, Failure) else row[0] for name, row in found.items()}
