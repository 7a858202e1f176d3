"""What is kept of a clip to find its copies: hashes of its picture on a grid of time, and how the picture changes.

The picture is the luma of thumbnails, averaged over half a second at every quarter: so frame rates do not matter, and
a copy that begins elsewhere is at most an eighth of a second off. Black bars are left out, then everything but the
middle, where no logo and no subtitle is. A hash holds the signs of the 64 lowest frequencies of the DCT of that
(Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010): contrast, brightness, colour and
size do not matter. A second hash looks a little closer, as a copy does whose edges were cut off.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Box = tuple[float, float, float, float]  # top, bottom, left, right, in pixels of the thumbnail

STEP_S, WINDOW_S = 0.25, 0.5
MIDDLE, CLOSER = 0.15, 0.175  # cut off at each edge; the second is the first of a picture without 3.6 % at each edge
SIDE, FREQUENCIES = 32, 11  # pixels to transform, and how many frequencies of each direction the 64 lowest come from
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601

CHANGES = 16  # lowest frequencies whose changes are kept
FINEST, COARSEST = 127, 32 * 255 / 2  # a change of COARSEST, the largest there can be, is kept as FINEST

BAR_LUMA, BAR_SHARE = 30, 0.4  # a bar is darker than that all the time; at each edge at most that much is one
FLAT_LEVELS, FLAT_SHARE = 9, 0.55  # plain: so much of the picture within so many levels of 256,
EVEN_LEVELS, EVEN_SHARE = 4.0, 0.87  # or so much of it with a Laplacian of at most that
FAINT = 2.0  # median size of the 64 frequencies: below it, noise decides the signs of half of them

MOMENT = np.dtype(
    [("middle", "<u8"), ("closer", "<u8"), ("telling", "?"), ("changes", "i1", (CHANGES,))]
)  # one sample of a clip
Moments = NDArray[Any]


@dataclass(frozen=True)
class Description:
    """What is kept of a clip: its moments, the number of the first in the video, and how much of the frame is picture,
    not black bar, 0 ... 1."""

    moments: Moments
    first: int
    picture: float


def describe(thumbs: NDArray[np.uint8], times_s: Floats) -> Description:
    """One MOMENT for every multiple of STEP_S, of the video's own time, at which a window lies in the clip.

    `thumbs` are RGB (n, height, width, 3), `times_s` the n + 1 moments at which they begin and the last one ends.
    `telling` is False where the picture is plain or faint: there the hashes say nothing. `changes` are the lowest
    frequencies less their mean over the clip, as `compressed` keeps them.
    """
    luma: Floats = (thumbs.reshape(-1, 3) @ LUMA).reshape(thumbs.shape[:3])
    box = without_bars(luma)
    starts_s = windows(float(times_s[0]), float(times_s[-1]))
    middle = averages(frequencies(luma, inner(box, MIDDLE)), times_s, starts_s)
    closer = averages(frequencies(luma, inner(box, CLOSER)), times_s, starts_s)
    shown = np.searchsorted(times_s[:-1], starts_s + WINDOW_S / 2, "right") - 1
    moments = np.zeros(len(starts_s), MOMENT)
    moments["middle"], moments["closer"] = signs(middle), signs(closer)
    moments["telling"] = ~plain(luma[shown], box) & (np.median(np.abs(middle), axis=1) >= FAINT)
    moments["changes"] = compressed(middle[:, :CHANGES] - middle[:, :CHANGES].mean(axis=0))
    picture = (box[1] - box[0]) * (box[3] - box[2]) / (luma.shape[1] * luma.shape[2])
    return Description(moments, first_window(float(times_s[0])), picture)


def first_window(start_s: float) -> int:
    """The number, in its video, of the first window of a clip that begins at `start_s`."""
    return math.ceil(start_s / STEP_S - 1e-6)


def windows(start_s: float, end_s: float) -> Floats:
    """When those windows begin that lie between; one at least, which may end outside."""
    first = first_window(start_s)
    count = math.floor((end_s - WINDOW_S) / STEP_S + 1e-6) - first + 1
    return np.arange(first, first + max(count, 1)) * STEP_S


def without_bars(luma: Floats) -> Box:
    """The picture inside its black bars, to a fraction of a pixel: a bar seldom ends where a thumbnail's pixel does."""
    brightest, mean = luma.max(axis=0), luma.mean(axis=0)
    rows, columns = brightest.max(axis=1), brightest.max(axis=0)
    high, wide = luma.shape[1:]
    return (
        bar(rows, mean.mean(axis=1)),
        high - bar(rows[::-1], mean.mean(axis=1)[::-1]),
        bar(columns, mean.mean(axis=0)),
        wide - bar(columns[::-1], mean.mean(axis=0)[::-1]),
    )


def bar(brightest: Floats, mean: Floats) -> float:
    """How many lines from the first on are a bar; 0 where more than BAR_SHARE would be: that is a dark picture."""
    bright = np.flatnonzero(brightest > BAR_LUMA)
    lines = int(bright[0]) if len(bright) else len(brightest)
    if not 0 < lines < BAR_SHARE * len(brightest):
        return 0.0
    black = mean[:lines].mean()
    share = (mean[lines] - black) / max(mean[lines + 1] - black, 1e-3)  # how much of the next line is picture
    return lines + 1 - float(np.clip(share, 0, 1))


def inner(box: Box, share: float) -> Box:
    top, bottom, left, right = box
    down, across = (bottom - top) * share, (right - left) * share
    return top + down, bottom - down, left + across, right - across


def frequencies(luma: Floats, box: Box) -> Floats:
    """The 64 lowest frequencies but the mean, lowest first, of the picture inside the box, brought to SIDE x SIDE."""
    high, wide = luma.shape[1:]
    down = cosines() @ resized(box[0], box[1], high)
    across = cosines() @ resized(box[2], box[3], wide)
    found: Floats = down.astype(np.float32) @ luma @ across.astype(np.float32).T
    rows, columns = lowest()
    return found[:, rows, columns]


def cosines() -> Floats:
    """The DCT-II of SIDE values, orthonormal, as a matrix (FREQUENCIES, SIDE)."""
    angles = np.pi * np.arange(FREQUENCIES)[:, None] * (np.arange(SIDE) + 0.5) / SIDE
    scale = np.where(np.arange(FREQUENCIES) > 0, np.sqrt(2 / SIDE), np.sqrt(1 / SIDE))
    matrix: Floats = scale[:, None] * np.cos(angles)
    return matrix


def lowest() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows, columns = np.mgrid[:FREQUENCIES, :FREQUENCIES].reshape(2, -1)
    order = np.lexsort((columns, rows, rows**2 + columns**2))[1:65]
    return rows[order], columns[order]


def resized(first: float, last: float, pixels: int) -> Floats:
    """A matrix (SIDE, pixels) that averages the stretch first ... last of a line over SIDE equal parts."""
    edges = np.linspace(first, last, SIDE + 1)
    low, high = np.maximum(edges[:-1, None], np.arange(pixels)), np.minimum(edges[1:, None], np.arange(pixels) + 1)
    matrix: Floats = np.clip(high - low, 0, None) / np.diff(edges)[:, None]
    return matrix


def averages(values: Floats, times_s: Floats, starts_s: Floats) -> Floats:
    """Means over the windows, each frame weighted by how long it is shown in it."""
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values * np.diff(times_s)[:, None], axis=0)])

    def until(at_s: Floats) -> Floats:
        frame = np.clip(np.searchsorted(times_s, at_s, "right") - 1, 0, len(values) - 1)
        shown: Floats = sums[frame] + values[frame] * (at_s - times_s[frame])[:, None]
        return shown

    return ((until(starts_s + WINDOW_S) - until(starts_s)) / WINDOW_S).astype(np.float32)


def signs(values: Floats) -> NDArray[np.uint64]:
    return np.packbits(values > 0, axis=1).view(">u8").ravel().astype(np.uint64)


def plain(luma: Floats, box: Box) -> NDArray[np.bool_]:
    """Where most of the picture is a ground for the rest: of one grey level, give or take, or shaded evenly."""
    top, bottom, left, right = (round(edge) for edge in box)
    inside = luma[:, top:bottom, left:right]
    counts = np.stack([np.bincount(picture.ravel(), minlength=256) for picture in inside.astype(np.int64)])
    sums = np.pad(np.cumsum(counts, axis=1), ((0, 0), (1, 0)))
    most = (sums[:, FLAT_LEVELS:] - sums[:, :-FLAT_LEVELS]).max(axis=1)
    around = inside[:, :-2, 1:-1] + inside[:, 2:, 1:-1] + inside[:, 1:-1, :-2] + inside[:, 1:-1, 2:]
    even = (np.abs(4 * inside[:, 1:-1, 1:-1] - around) <= EVEN_LEVELS).mean(axis=(1, 2))
    found: NDArray[np.bool_] = (most > FLAT_SHARE * inside[0].size) | (even > EVEN_SHARE)
    return found


def compressed(changes: Floats) -> NDArray[np.int8]:
    """Whole numbers -127 ... 127 that grow with the root, as small changes need to be known more exactly."""
    whole: NDArray[np.int8] = (np.sign(changes) * np.sqrt(np.abs(changes) / COARSEST) * FINEST).round().astype(np.int8)
    return whole


def expanded(changes: NDArray[np.int8]) -> Floats:
    whole = changes.astype(np.float32)
    found: Floats = np.sign(whole) * (whole / FINEST) ** 2 * np.float32(COARSEST)
    return found
