"""How much of each edge and corner of the picture text covers."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.text.crop import LEAST

BAND = 1 - LEAST  # share of the height or width: what a crop of one side may take away
CORNERS = tuple((down, across) for down in ("top", "bottom") for across in ("left", "right"))


def covered(width: int, height: int, boxes: Iterable[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """1 on the pixels inside boxes (corners in pixels), (height, width)."""
    mask = np.zeros((height, width), np.uint8)
    for corners in boxes:
        cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), (1,))
    return mask


def fractions(mask: NDArray[np.uint8]) -> dict[str, float]:
    """Share of each zone that is covered, 0..1: top, bottom, left, right, and where two meet, top_left and so on."""
    height, width = mask.shape
    down, across = max(1, round(BAND * height)), max(1, round(BAND * width))
    rows = {"top": slice(0, down), "bottom": slice(height - down, height)}
    columns = {"left": slice(0, across), "right": slice(width - across, width)}
    zones = {name: mask[part] for name, part in rows.items()} | {name: mask[:, part] for name, part in columns.items()}
    zones |= {f"{a}_{b}": mask[rows[a], columns[b]] for a, b in CORNERS}
    return {name: float(zone.mean()) for name, zone in zones.items()}
