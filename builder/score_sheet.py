"""A picture of what scorers found in a video's clips and why, so that a person can look."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.contact_sheet import COLOURS, GAP, GREY, INK, PAPER, save, text_width, write
from builder.frames import Frames
from builder.records import Scanned, Score
from builder.stages.score import Mark, Scorer
from builder.storage import Storage

if TYPE_CHECKING:
    from builder.scores import Report, Scored

Image = NDArray[Any]  # RGB
PICTURES, CELL = 5, 300  # a clip, and the width of one
LINE, BAND = 18, 60  # pixels: of a line of text, of the curves
WIDTH = PICTURES * (CELL + GAP) + GAP
MOST = 40  # clips; of more, an even choice
MOST_CHANGE = 16.0  # levels from frame to frame: the top of its curve
CURVES = (("luma", COLOURS[1], 255.0), ("diff", COLOURS[0], MOST_CHANGE), ("sharpness", COLOURS[2], 0.0))


def draw(report: "Report", scan: Scanned, scorers: Sequence[Scorer[Any]], storage: Storage, path: Path) -> None:
    """Write a PNG: of each clip some pictures with what the scorers mark there, curves over time, and the scores.

    Raises:
        RunError: the file cannot be written.
    """
    head = np.full((40, WIDTH, 3), PAPER, np.uint8)
    step = -(-len(report.clips) // MOST)
    which = "" if step == 1 else f" (every {step}. is shown)"
    write(
        head,
        f"{Path(report.video).name}   {scan.frames} frames   clips: {len(report.clips)}{which}",
        (GAP, 27),
        INK,
        0.55,
    )
    parts = [part for clip in report.clips[::step] for part in of_clip(clip, Frames(clip.clip, scan, storage), scorers)]
    save(np.concatenate([head, *parts]), path)


def of_clip(clip: "Scored", frames: Frames, scorers: Sequence[Scorer[Any]]) -> Iterator[Image]:
    cells = [marked(frames, picture, clip, scorers) for picture in frames.spread(PICTURES)]
    row = np.full((cells[0].shape[0] + GAP, WIDTH, 3), PAPER, np.uint8)
    for n, cell in enumerate(cells):
        left = GAP + n * (CELL + GAP)
        row[: cell.shape[0], left : left + CELL] = cell
    yield row
    yield curves(frames)
    where, *lines = clip.to_text().splitlines()
    yield lettering([where], INK)
    yield lettering(lines, GREY)
    yield np.full((2 * GAP, WIDTH, 3), PAPER, np.uint8)


def marked(frames: Frames, picture: int, clip: "Scored", scorers: Sequence[Scorer[Any]]) -> Image:
    """One picture of the strip with every scorer's marks, in its colour."""
    image = frames.strip.image(picture)
    size = (CELL, max(1, round(CELL * image.shape[0] / image.shape[1])))
    drawn = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    for n, scorer in enumerate(scorers):
        found = clip.answers[scorer.plugin]
        if isinstance(found, Score):
            for mark in scorer.marks(frames, found, picture):
                draw_mark(drawn, mark, COLOURS[n % len(COLOURS)])
    write(drawn, f"{float(frames.strip.times_s[picture]):.2f} s", (4, 14), INK)
    return drawn


def draw_mark(image: Image, mark: Mark, colour: tuple[int, int, int]) -> None:
    height, width = image.shape[:2]
    points = np.rint(np.array(mark.points) * (width - 1, height - 1)).astype(np.int32)
    if mark.closed:
        cv2.polylines(image, [points], True, colour, 2, cv2.LINE_AA)
    else:
        cv2.arrowedLine(image, points[0].tolist(), points[-1].tolist(), colour, 1, cv2.LINE_AA, tipLength=0.3)
    if mark.label:
        x, y = points.min(axis=0).tolist()
        write(image, mark.label, (max(2, x + 3), max(26, y + 14)), colour)


def curves(frames: Frames) -> Image:
    """Luma, change and sharpness of every frame but the first, named at the left."""
    band = np.full((BAND + GAP, WIDTH, 3), PAPER, np.uint8)
    left = GAP + CELL // 2
    for n, (name, colour, most) in enumerate(CURVES):
        values = getattr(frames.evidence, name)[frames.clip.start_frame + 1 : frames.clip.end_frame].astype(np.float64)
        top = most or max(1.0, float(values.max()))
        x = np.linspace(left, WIDTH - GAP - 1, len(values))
        y = (BAND - 1) * (1 - np.clip(values / top, 0, 1))
        cv2.polylines(band, [np.rint(np.column_stack([x, y])).astype(np.int32)], False, colour, 1, cv2.LINE_AA)
        write(band, f"{name} 0 to {top:.0f}", (GAP, 14 + n * LINE), colour)
    return band


def lettering(lines: Sequence[str], colour: tuple[int, int, int]) -> Image:
    """Lines of text; what there is no room for goes on below."""
    rows = [row for line in lines for row in wrapped(line)]
    made = np.full((LINE * len(rows), WIDTH, 3), PAPER, np.uint8)
    for n, row in enumerate(rows):
        write(made, row, (GAP, n * LINE + 13), colour)
    return made


def wrapped(line: str) -> Iterator[str]:
    """Cut between values."""
    row, indent = "", " " * 15
    for part in re.split(r"(?<=\S)(?=  )", line):
        if row.strip() and text_width(row + part) >= WIDTH - 2 * GAP:
            yield row
            row = indent
        row += part
    yield row
