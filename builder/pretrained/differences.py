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

from builder.media.likeness import LUMA

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

GAPS = (1, 2, 3, 4, 6, 8, 12, 16, 24)  # frames between the two that are compared
HISTOGRAM_GAPS, QUANTILE_GAPS, BLEND_GAPS = (1, 2, 4, 8, 16, 24), (1, 4, 12, 24), (2, 4, 6, 10)
SPREAD_GAPS, QUARTERS = (1, 2, 4, 8, 16, 24), (36, 72, 108)  # of 144 cells
LARGE_CHANGE = 24  # levels of 255
FLOW_FROM = 2.0  # mean difference below which no motion is worth compensating
NOISE = 4.0  # variance added to both sides of a correlation, so that two flat frames are alike
BRIGHTNESS, CONTRAST = -8, -7  # which columns they are
PLAIN, DARK, BRIGHT = 8.0, 32, 223  # standard deviation and bounds of luma, 0..255, of a frame that shows nothing
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
