"""What tells drawn text from photographed text where nothing moves: its angle and its place."""

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.text.motion import Area

LEVEL, NEARLY = 2.5, 5.0  # degrees that drawn text may seem to lean by: anywhere, and where overlays are put
BAND, SIDE = 0.2, 0.1  # share of the height at the upper and lower edge, and of the width at the sides


def tilt(corners: NDArray[np.float32]) -> float:
    """Degrees by which a box leans from the upright, 0..45."""
    _, _, angle = cv2.minAreaRect(corners)
    return float(min(angle % 90, 90 - angle % 90))


def usual(area: Area, width: int, height: int) -> bool:
    """Whether an area is where subtitles, captions and logos are put: at the lower edge, or in a corner."""
    middle = (area.y0 + area.y1) / 2 / height
    return middle >= 1 - BAND or (middle <= BAND and min(area.x0, width - area.x1) <= SIDE * width)


def drawn(corners: NDArray[np.float32], area: Area, width: int, height: int) -> bool:
    return tilt(corners) <= (NEARLY if usual(area, width, height) else LEVEL)
