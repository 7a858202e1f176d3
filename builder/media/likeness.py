"""Whether two frames seconds apart are of one shot, from their thumbnails: what key frames are compared by.

Within seconds a shot moves, so no pixel can be held against the one at its place alone. What counts is how much of the
picture changed beside its light, and whether the colours are others. The weights are those of a logistic regression on
footage of one shot each, made by `training/likeness.py`.
"""

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
CELLS = 16, 9  # of 3x3 pixels of a thumbnail
SHADES = 4  # of a colour channel in the histogram
WEIGHTS, BIAS = np.array([2.1, 8.2, 1.65]), -12.3
DOUBT = -2.5  # 0.5 % of pairs of different shots are below; 6 % to 15 % of pairs 1 to 8 seconds apart in one are above


def difference(before: Bytes, after: Bytes) -> float:
    """Log odds that two RGB thumbnails (27, 48, 3) are of different shots; from DOUBT on they may be."""
    return float(measures(before, after) @ WEIGHTS + BIAS)


def measures(before: Bytes, after: Bytes) -> npt.NDArray[np.float64]:
    """How far two thumbnails are apart: the log of the median change of a cell's luma, beside a change all share; the
    share of pixels of another colour; the log of the mean distance of the cells' colours, sorted. Logs of 1 + levels of
    255."""
    one, other = _cells(before), _cells(after)
    light, later_light = one @ LUMA, other @ LUMA
    change = later_light - light
    colour, later_colour = np.sort(one - light[:, None], axis=0), np.sort(other - later_light[:, None], axis=0)
    moved = np.median(np.abs(change - np.median(change)))
    recoloured = np.abs(_histogram(before) - _histogram(after)).sum() / 2
    return np.array([np.log1p(moved), recoloured, np.log1p(np.abs(colour - later_colour).mean())])


def _cells(thumb: Bytes) -> Floats:
    return cv2.resize(thumb, CELLS, interpolation=cv2.INTER_AREA).astype(np.float32).reshape(-1, 3)


def _histogram(thumb: Bytes) -> npt.NDArray[np.float64]:
    shade = (thumb // (256 // SHADES)).astype(np.int64) @ np.array([SHADES * SHADES, SHADES, 1])
    counts = np.bincount(shade.ravel(), minlength=SHADES**3)
    return np.asarray(counts / shade.size, np.float64)
