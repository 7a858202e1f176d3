"""A picture of clips with their captions, so that a person can look before a long run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.contact_sheet import COLOURS, GAP, GREY, INK, PAPER, save, text_width, write
from builder.frames import Frames
from builder.records import Caption, Failure

if TYPE_CHECKING:
    from builder.captions import Tried

Image = NDArray[Any]  # RGB
PICTURES, CELL, LINE = 4, 300, 18  # a row; pixels: the width of one, the height of a line of text
WIDTH = PICTURES * (CELL + GAP) + GAP
MOST_LINES = 40  # of one caption


def draw(tried: Sequence["Tried"], title: str, path: Path) -> None:
    """Write a PNG: of each clip the frames that were shown, and below them what each captioner says.

    Raises:
        RunError: the file cannot be written.
    """
    head = np.full((40, WIDTH, 3), PAPER, np.uint8)
    write(head, f"{title}   clips: {len(tried)}", (GAP, 27), INK, 0.55)
    save(np.concatenate([head, *(part for one in tried for part in of_clip(one))]), path)


def of_clip(tried: "Tried") -> Iterator[Image]:
    from builder.captions import facts, said

    frames = tried.frames
    times = next((f.frames_s for f in tried.outcomes.values() if isinstance(f, Caption) and f.frames_s), ())
    cells = [cell(frames, picture) for picture in pictures(frames, times)]
    for start in range(0, len(cells), PICTURES):
        yield row_of(cells[start : start + PICTURES])
    where, *_ = tried.to_text().splitlines()
    yield lettering([where], INK)
    for n, (name, found) in enumerate(tried.outcomes.items()):
        yield lettering([f"{name}: {facts(found)}"], COLOURS[n % len(COLOURS)])
        yield lettering(wrapped(said(found)), GREY if isinstance(found, Failure) else INK)
    yield np.full((2 * GAP, WIDTH, 3), PAPER, np.uint8)


def pictures(frames: Frames, times: Sequence[float]) -> list[int]:
    """Those of the strip that were shown at these times; some of the clip where none were."""
    at = frames.strip.times_s
    return [int(np.abs(at - time).argmin()) for time in times] or frames.spread(PICTURES)


def cell(frames: Frames, picture: int) -> Image:
    image = frames.strip.image(picture)
    size = (CELL, max(1, round(CELL * image.shape[0] / image.shape[1])))
    drawn = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    write(drawn, f"{float(frames.strip.times_s[picture]):.2f} s", (4, 14), INK)
    return drawn


def row_of(cells: Sequence[Image]) -> Image:
    row = np.full((max(len(one) for one in cells) + GAP, WIDTH, 3), PAPER, np.uint8)
    for n, one in enumerate(cells):
        left = GAP + n * (CELL + GAP)
        row[: len(one), left : left + CELL] = one
    return row


def lettering(lines: Sequence[str], colour: tuple[int, int, int]) -> Image:
    made = np.full((LINE * len(lines), WIDTH, 3), PAPER, np.uint8)
    for n, line in enumerate(lines):
        write(made, line, (GAP, n * LINE + 13), colour)
    return made


def wrapped(text: str) -> list[str]:
    """Cut between words, so that each line fits; the font has ASCII only."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer) > WIDTH - 2 * GAP:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], "..."]
