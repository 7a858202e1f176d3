"""How alike two frames are, from their thumbnails: of one shot, the same picture, or that in another light.

Within seconds a shot moves, so no pixel can be held against the one at its place alone. What counts is how much of the
picture changed beside its light, and whether the colours are others. The weights are those of a logistic regression on
footage of one shot each, made by `training/likeness.py`.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
CELLS = 16, 9  # of 3x3 pixels of a thumbnail
SHADES = 4  # of a colour channel in the histogram
WEIGHTS, BIAS = np.array([2.1, 8.2, 1.65]), -12.3
SAME = 0.25  # of `unexplained`: less and two pictures show the same
FITS, SHIFTS = 8, (4, 8)  # steps of reweighting; rows and columns of a thumbnail
DOUBT = -2.5  # 0.5 % of pairs of different shots are below; 6 % to 15 % of pairs 1 to 8 seconds apart in one are above


def difference(before: Bytes, after: Bytes) -> float:
    """Log odds that two RGB thumbnails (27, 48, 3) are of different shots; from DOUBT on they may be."""
    return float(measures(before, after) @ WEIGHTS + BIAS)


def measures(before: Bytes, after: Bytes) -> npt.NDArray[np.float64]:
    """How far two thumbnails are apart: the log of the median change of a cell's luma, beside a change all share; the
    share of pixels of another colour; the log of the mean distance of the cells' colours, sorted. Logs of 1 + levels of
    255."""
    colour, later_colour = (np.sort(c - (c @ LUMA)[:, None], axis=0) for c in (_cells(before), _cells(after)))
    recoloured = np.abs(_histogram(before) - _histogram(after)).sum() / 2
    return np.array(
        [np.log1p(lasting_change(before, after)), recoloured, np.log1p(np.abs(colour - later_colour).mean())]
    )


def lasting_change(before: Bytes, after: Bytes) -> float:
    """How much of the picture is another one (0..255): the median over cells, beside a change of brightness all share.

    Takes two thumbnails. Something that moved changes some cells much, another shot changes most.
    """
    change = _cells(after) @ LUMA - _cells(before) @ LUMA
    return float(np.median(np.abs(change - np.median(change))))


def unexplained(before: Bytes, after: Bytes) -> float:
    """How little of one picture is the other in another light: 0 the same ... about 0.7 nothing in common.

    Takes two thumbnails, of which one may be shifted by a few pixels. Each is fitted to the other with a gain and an
    offset of luma, as least absolute deviations find them (by reweighting, Schlossmacher 1973); what is left is held
    against the contrast. The worse of both ways.
    """
    return min(_unexplained(*pair) for pair in _laid_over(before, after))


def relit(before: Bytes, after: Bytes) -> bool:
    """Whether one picture is the other in another light: that explains them, and they differ by little else."""
    return any(_unexplained(*pair) < min(SAME, _apart(*pair) / 2) for pair in _laid_over(before, after))


def _laid_over(before: Bytes, after: Bytes) -> Iterator[tuple[Floats, Floats]]:
    """Luma of what two pictures have in common: as they are, and shifted so that the middle of one correlates best."""
    one, other = np.stack([before, after]).astype(np.float32) @ LUMA
    yield one, other
    (height, width), (rows, columns) = one.shape, SHIFTS
    middle = np.ascontiguousarray(one[rows:-rows, columns:-columns])
    alike = np.nan_to_num(cv2.matchTemplate(np.ascontiguousarray(other), middle, cv2.TM_CCOEFF_NORMED))
    y, x = (int(at) - most for at, most in zip(np.unravel_index(alike.argmax(), alike.shape), SHIFTS, strict=True))
    there = other[max(0, y) : height + min(0, y), max(0, x) : width + min(0, x)]
    yield one[max(0, -y) : height + min(0, -y), max(0, -x) : width + min(0, -x)], there


def _apart(one: Floats, other: Floats) -> float:
    return float(np.median(np.abs(other - one)) / (max(one.std(), other.std()) + 1))


def _unexplained(one: Floats, other: Floats) -> float:
    return max(_left_over(one, other), _left_over(other, one))


def _left_over(given: Floats, wanted: Floats) -> float:
    weights = np.ones_like(given)
    for _ in range(FITS):
        middle, target = np.average(given, weights=weights), np.average(wanted, weights=weights)
        centred = given - middle
        gain = max(0.0, float((weights * centred * (wanted - target)).sum() / ((weights * centred**2).sum() + 1e-3)))
        left = np.abs(wanted - target - gain * centred)
        weights = 1 / np.maximum(left, 1)
    return float(np.median(left) / (wanted.std() + 1))


def _cells(thumb: Bytes) -> Floats:
    return cv2.resize(thumb, CELLS, interpolation=cv2.INTER_AREA).astype(np.float32).reshape(-1, 3)


def _histogram(thumb: Bytes) -> npt.NDArray[np.float64]:
    shade = (thumb // (256 // SHADES)).astype(np.int64) @ np.array([SHADES * SHADES, SHADES, 1])
    counts = np.bincount(shade.ravel(), minlength=SHADES**3)
    return np.asarray(counts / shade.size, np.float64)
