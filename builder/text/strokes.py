"""Where on a picture thin strokes are close together, as they are in writing: all else need not be looked at."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.text.motion import Area

SIDE = 240  # pixels, short side of what the screen sees
WIDEST = 7  # pixels: what is thinner than this and stands out to both sides is a stroke
STANDS_OUT = 12  # levels
CELL = 8  # pixels
DENSE = 0.15  # share of stroke pixels in a cell of writing
CHANGED = 5.0  # levels on average, by which a cell must differ from what was seen there before
MARGIN = 2  # cells around them: the detector needs to see what is beside a word


class Screen:
    """Of one clip: it remembers the pictures it was shown, and leaves out what was seen in one of them already."""

    def __init__(self) -> None:
        self._seen: list[NDArray[Any]] = []

    def part(self, picture: NDArray[Any]) -> Area | None:
        """The part of an RGB picture, in its pixels, with all places that could be new writing; None if none could.

        Strokes are what a morphological opening or closing takes away (top-hat transforms). A place is two cells side
        by side with enough of them, one of which has changed since each picture that was shown before.
        """
        height, width = picture.shape[:2]
        scale = min(1.0, SIDE / min(height, width))
        size = max(CELL, round(width * scale)), max(CELL, round(height * scale))
        grey = cv2.cvtColor(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        cells = cell_means(strokes(grey)) >= DENSE
        new = np.logical_and.reduce([cell_means(cv2.absdiff(grey, old)) >= CHANGED for old in self._seen] or [cells])
        self._seen.append(grey)
        pairs = cells[:, :-1] & cells[:, 1:] & (new[:, :-1] | new[:, 1:])
        rows, columns = np.flatnonzero(pairs.any(axis=1)), np.flatnonzero(pairs.any(axis=0))
        if not len(rows):
            return None
        across, down = width / cells.shape[1], height / cells.shape[0]
        left, right = columns[0] - MARGIN, columns[-1] + 2 + MARGIN
        top, bottom = rows[0] - MARGIN, rows[-1] + 1 + MARGIN
        area = Area(int(left * across), int(top * down), int(np.ceil(right * across)), int(np.ceil(bottom * down)))
        return area.within(width, height)


def strokes(grey: NDArray[Any]) -> NDArray[Any]:
    """1 on the pixels of strokes, else 0."""
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (WIDEST, WIDEST))
    light, dark = (cv2.morphologyEx(grey, kind, kernel) for kind in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT))
    return cv2.max(light, dark) > STANDS_OUT


def cell_means(values: NDArray[Any]) -> NDArray[np.float32]:
    """Of squares of CELL pixels; those at the right and lower edge may be a little smaller."""
    size = -(-values.shape[1] // CELL), -(-values.shape[0] // CELL)
    return np.asarray(cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA))
