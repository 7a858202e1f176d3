"""A picture of a video's strip with the boundaries marked, so that a person can look."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.errors import RunError
from builder.figures import one_line
from builder.frames import Footage

Image = NDArray[Any]  # RGB
Mark = tuple[int, str]  # the first frame of a new shot, and what to write there
COLUMNS, CELL, GAP = 8, 176, 8  # the last two in pixels: the long side of a picture, what is between
LABEL, HEAD, BAR = 20, 40, 5
MOST = 400  # pictures; of a longer strip an even choice, and the first of every shot
INK, GREY, PAPER = (240, 240, 240), (154, 154, 154), (24, 24, 24)
COLOURS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0))  # Okabe and Ito
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(footage: Footage, marks: Sequence[Mark], title: str, path: Path) -> None:
    """Write a PNG. Each shot has a colour; a mark stands at the first picture at or after its frame.

    Raises:
        RunError: the file cannot be written.
    """
    strip, scan = footage.strip, footage.scan
    chosen = choice(strip.frames, [frame for frame, _ in marks])
    cells = [cell(strip.image(i), int(strip.frames[i]), float(strip.times_s[i])) for i in chosen]
    mark_shots(cells, [int(strip.frames[i]) for i in chosen], marks)
    head = f"{one_line(title)}   {scan.frames} frames   {scan.fps:.5g} fps   boundaries: {len(marks)}"
    save(sheet(cells, head), path)


def save(image: Image, path: Path) -> None:
    """Write a PNG.

    Raises:
        RunError: the file cannot be written.
    """
    _, png = cv2.imencode(".png", image[..., ::-1])
    try:
        path.write_bytes(png.tobytes())
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error.strerror}); name another file for --preview") from None


def choice(frames: NDArray[np.int32], firsts: Sequence[int]) -> list[int]:
    """Which pictures of the strip, at most about MOST."""
    step = max(1, -(-len(frames) // MOST))
    first_of_shots = np.searchsorted(frames, firsts)
    return sorted({*range(0, len(frames), step), *(int(i) for i in first_of_shots if i < len(frames))})


def cell(image: Image, frame: int, time_s: float) -> Image:
    """The picture, in the middle of CELL columns, its number and time below."""
    scale = CELL / max(image.shape[:2])
    width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
    made = np.full((height + BAR + LABEL, CELL, 3), PAPER, np.uint8)
    left = (CELL - width) // 2
    made[:height, left : left + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    write(made, f"{frame}", (0, height + BAR + 15), GREY)
    clock = f"{int(time_s) // 60}:{time_s % 60:05.2f}"
    write(made, clock, (CELL - text_width(clock), height + BAR + 15), GREY)
    return made


def mark_shots(cells: Sequence[Image], frames: Sequence[int], marks: Sequence[Mark]) -> None:
    """A bar in the shot's colour below each picture; where a shot begins, an edge and what the mark says."""
    shot = 0
    for made, (before, frame) in zip(cells, pairwise([-1, *frames]), strict=True):
        here = [text for at, text in marks if before < at <= frame]
        shot += len(here)
        colour, height = COLOURS[shot % len(COLOURS)], len(made) - BAR - LABEL
        made[height : height + BAR] = colour
        for line, text in enumerate(here):
            made[line * LABEL : (line + 1) * LABEL, : text_width(text) + 14] = colour
            write(made, text, (9, line * LABEL + 15), PAPER)
        if here:
            made[:height, :BAR] = colour


def sheet(cells: Sequence[Image], head: str) -> Image:
    rows = list(rows_of(cells))
    body = np.concatenate(rows)
    top = np.full((HEAD, body.shape[1], 3), PAPER, np.uint8)
    write(top, head, (GAP, 27), INK, 0.55)
    return np.concatenate([top, body])


def rows_of(cells: Sequence[Image]) -> Iterator[Image]:
    """COLUMNS cells side by side."""
    empty = np.full_like(cells[0], PAPER)
    for start in range(0, len(cells), COLUMNS):
        row = [*cells[start : start + COLUMNS], *[empty] * COLUMNS][:COLUMNS]
        padded = [np.pad(c, ((0, GAP), (GAP, 0), (0, 0)), constant_values=PAPER[0]) for c in row]
        yield np.pad(np.concatenate(padded, axis=1), ((0, 0), (0, GAP), (0, 0)), constant_values=PAPER[0])


def write(image: Image, text: str, at: tuple[int, int], colour: tuple[int, int, int], size: float = 0.42) -> None:
    plain = text.encode("ascii", "replace").decode()  # the font has no more
    cv2.putText(image, plain, at, FONT, size, colour, 1, cv2.LINE_AA)


def text_width(text: str, size: float = 0.42) -> int:
    return int(cv2.getTextSize(text, FONT, size, 1)[0][0])
