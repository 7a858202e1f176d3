"""How much a video's thumbnails differ over time: what the transition network sees of a video.

Pairs of frames are compared over several gaps, each in ways that something other than a transition does not disturb: in
structure whatever the brightness (flashes, exposure), in colour statistics whatever the place (motion), and after dense
optical flow (fast motion). A frame between two others that is their blend tells of a dissolve.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

GAPS = (1, 2, 3, 4, 6, 8, 12, 16, 24)  # frames between the two that are compared
HISTOGRAM_GAPS, QUANTILE_GAPS, BLEND_GAPS = (1, 2, 4, 8, 16, 24), (1, 4, 12, 24), (2, 4, 6, 10)
SPREAD_GAPS, QUARTERS = (1, 2, 4, 8, 16, 24), (36, 72, 108)  # of 144 cells
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
LARGE_CHANGE = 24  # levels of 255
FLOW_FROM = 2.0  # mean difference below which no motion is worth compensating
NOISE = 4.0  # variance added to both sides of a correlation, so that two flat frames are alike
BRIGHTNESS, CONTRAST = -8, -7  # which columns they are
PLAIN, DARK, BRIGHT = 8.0, 32, 223  # standard deviation and bounds of luma, 0..255, of a frame that shows nothing
SAME = 0.25  # of `unexplained`: less and two pictures show the same
FITS, SHIFTS = 8, (4, 8)  # steps of reweighting; rows and columns of a thumbnail
BLOCK = 256  # thumbnails scaled at once


def differences(thumbs: Bytes) -> Floats:
    """uint8 RGB (n, 27, 48, 3) -> (n, 74), row i about frame i and those before it (and after, for blends)."""
    cells = _cells(thumbs)
    colour = cells.reshape(len(cells), -1)
    luma = (cells @ LUMA).reshape(len(cells), 9, 16)
    columns = [
        *_from_frame_to_frame(thumbs),
        *_distances(colour, GAPS),
        *_correlations(luma.reshape(len(luma), -1)),
        *_distances(cells.reshape(-1, 3, 3, 4, 4, 3).mean((2, 4)).reshape(len(cells), -1), GAPS),
        *_histograms(thumbs),
        *_distances(np.sort(luma.reshape(len(luma), -1), axis=1)[:, 4::9], QUANTILE_GAPS),
        *_blends(colour),
        *_spread(luma.reshape(len(luma), -1)),
        *_looks(cells, luma),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def blank(differences: Floats) -> NDArray[np.bool_]:
    """Which frames show next to nothing, black or white, out of what `differences` gave."""
    luma, deviation = differences[:, BRIGHTNESS] * 64, np.expm1(differences[:, CONTRAST])
    found: NDArray[np.bool_] = (deviation < PLAIN) & ((luma < DARK) | (luma > BRIGHT))
    return found


def lasting_change(before: Bytes, after: Bytes) -> float:
    """How much of the picture is another one (0..255): the median over cells, beside a change of brightness all share.

    Takes two thumbnails. Something that moved changes some cells much, another shot changes most.
    """
    one, other = _cells(np.stack([before, after])) @ LUMA
    change = other - one
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


def earlier(rows: NDArray[np.float32], gap: int) -> NDArray[np.float32]:
    """Row i - gap for every i; before the beginning, the first one."""
    gap = min(gap, len(rows))
    return np.concatenate([np.repeat(rows[:1], gap, axis=0), rows[: len(rows) - gap]])


def later(rows: NDArray[np.float32], gap: int) -> NDArray[np.float32]:
    gap = min(gap, len(rows))
    return np.concatenate([rows[gap:], np.repeat(rows[-1:], gap, axis=0)])


def _cells(thumbs: Bytes) -> Floats:
    """Means of 3x3 pixels: (n, 9, 16, 3)."""
    blocks = (thumbs[at : at + BLOCK] for at in range(0, len(thumbs), BLOCK))
    size = [cv2.resize(b.reshape(-1, 48, 3), (16, 9 * len(b)), interpolation=cv2.INTER_AREA) for b in blocks]
    return np.concatenate(size).reshape(-1, 9, 16, 3).astype(np.float32)


def _from_frame_to_frame(thumbs: Bytes) -> Iterator[Floats]:
    steps = np.abs(thumbs[1:].astype(np.int16) - thumbs[:-1]).reshape(len(thumbs) - 1, -1)
    change = np.concatenate([[0], steps.mean(axis=1)]).astype(np.float32)
    yield np.log1p(change)
    yield np.concatenate([[0], (steps > LARGE_CHANGE).mean(axis=1)])
    left, half, speed, spread = _compensated(thumbs, change).T
    yield np.log1p(left)
    yield np.log1p(half)
    yield left / (change + 1)
    yield np.log1p(speed)
    yield np.log1p(spread)


def _compensated(thumbs: Bytes, change: Floats) -> Floats:
    """(n, 4): mean and median luma difference to the frame before once that is warped onto this one; mean and deviation
    of the flow in pixels. Dense inverse search (Kroeger et al., ECCV 2016)."""
    flow_of, columns, rows = _flow()
    out = np.zeros((len(thumbs), 4), np.float32)
    out[:, :2] = change[:, None]
    grey = [cv2.cvtColor(thumb, cv2.COLOR_RGB2GRAY) for thumb in thumbs]
    for i in np.flatnonzero(change >= FLOW_FROM):
        flow = flow_of.calc(grey[i], grey[i - 1], None)  # type: ignore[call-overload]
        right, down = flow[..., 0], flow[..., 1]
        warped = cv2.remap(grey[i - 1], columns + right, rows + down, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
        length = np.sqrt(right * right + down * down)
        left = cv2.absdiff(warped, grey[i])
        out[i] = left.mean(), np.median(left), length.mean(), length.std()
    return out


@cache
def _flow() -> tuple[cv2.DISOpticalFlow, Floats, Floats]:
    """The flow's settings, and the place of every pixel of a thumbnail."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    flow.setFinestScale(0)
    columns, rows = np.meshgrid(np.arange(48, dtype=np.float32), np.arange(27, dtype=np.float32))
    return flow, columns, rows


def _distances(rows: Floats, gaps: Sequence[int]) -> Iterator[Floats]:
    for gap in gaps:
        yield np.log1p(np.abs(rows - earlier(rows, gap)).mean(axis=1))


def _correlations(luma: Floats) -> Iterator[Floats]:
    """1 - correlation: 0 for the same structure, however bright."""
    centred = luma - luma.mean(axis=1, keepdims=True)
    variance = (centred * centred).mean(axis=1)
    for gap in GAPS:
        common = (centred * earlier(centred, gap)).mean(axis=1)
        yield 1 - (common + NOISE) / np.sqrt((variance + NOISE) * (earlier(variance, gap) + NOISE))


def _histograms(thumbs: Bytes) -> Iterator[Floats]:
    """Share of pixels whose colour, of 4x4x4, is another."""
    n, pixels = len(thumbs), thumbs.shape[1] * thumbs.shape[2]
    coarse = (thumbs >> 6).astype(np.int64) @ np.array([16, 4, 1])
    numbered = coarse.reshape(n, -1) + 64 * np.arange(n)[:, None]
    counts = np.bincount(numbered.ravel(), minlength=64 * n).reshape(n, 64).astype(np.float32) / pixels
    for gap in HISTOGRAM_GAPS:
        yield np.abs(counts - earlier(counts, gap)).sum(axis=1) / 2


def _blends(colour: Floats) -> Iterator[Floats]:
    """How far a frame is from the mean of two around it, by how far those are apart: near 0 within a dissolve."""
    for gap in BLEND_GAPS:
        before, after = earlier(colour, gap), later(colour, gap)
        off = np.abs(before + after - 2 * colour).mean(axis=1) / 2
        yield off / (np.abs(after - before).mean(axis=1) + 2)


def _spread(luma: Floats) -> Iterator[Floats]:
    """Quartiles over the cells of how much each changed, beside a change of brightness that all share: something that
    moves changes some cells much, a transition changes most."""
    for gap in SPREAD_GAPS:
        change = luma - earlier(luma, gap)
        change = np.abs(change - np.median(change, axis=1, keepdims=True))
        for quarter in np.partition(change, QUARTERS, axis=1)[:, QUARTERS].T:
            yield np.log1p(quarter)


def _looks(cells: Floats, luma: Floats) -> Iterator[Floats]:
    """Brightness, contrast, edges, saturation, and how the first two change: fades."""
    mean, deviation = luma.mean((1, 2)), np.log1p(luma.std((1, 2)))
    edges = np.abs(np.diff(luma, axis=2)).mean((1, 2)) + np.abs(np.diff(luma, axis=1)).mean((1, 2))
    step = mean - earlier(mean, 1)
    yield mean / 64
    yield deviation
    yield np.log1p(edges)
    yield np.log1p((cells.max(axis=3) - cells.min(axis=3)).mean((1, 2)))
    yield np.log1p(np.abs(step))
    yield step / 16
    yield (mean - earlier(mean, 4)) / 32
    yield deviation - earlier(deviation, 4)
