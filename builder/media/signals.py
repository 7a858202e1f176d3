"""What is measured of every frame, beside its thumbnail: numbers that scorers and detectors read instead of decoding.

All but `sharpness` are functions of the thumbnails, taken for a row group at a time. Sums are exact; what goes through
a Fourier transform (`shift_x` to `residual`) is the same on one kind of processor only.
"""

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from builder.media.frames import plane_pixels

BLACK_LUMA = 0.10 * 255  # FFmpeg blackdetect's pixel_black_th; a frame is black when `black` >= 0.98
CROP = 128  # side of the square in the middle of the picture that sharpness is measured on, in stored pixels
BATCH = 32  # frames whose arrays stay in the cache
BYTE = 8  # bits
RGB_LUMA = np.array([0.299, 0.587, 0.114])  # BT.601, as cv2.COLOR_RGB2GRAY
SIGMA = 1.0  # pixels
NOISE = 0.5  # squared levels a pixel: what keeps a flat picture from seeming to move
SHIFT_ROWS = slice(1, 25)  # an even number: with 27 rows cv2.phaseCorrelate is off by half a row

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
SIGNALS = ("luma", "diff", "black", "shift_x", "shift_y", "response", "residual")
ALONE = frozenset(["luma", "black"])  # of a frame by itself; the others compare it with the one before


def signals(thumbs: Bytes, before: Bytes | None) -> dict[str, Floats]:
    """SIGNALS of RGB thumbnails (n, height, width, 3); `before` is the one before them, None at the beginning.

    - `luma`: mean luma, 0..255. `black`: share of pixels with a luma of at most BLACK_LUMA, 0..1.
    - `diff`: mean absolute difference of the RGB values to the frame before, 0..255; 0 exactly when the thumbnails are
      equal. FFmpeg's freezedetect calls a frame frozen at a difference of at most 0.001 of the range: 0.255.
    - `shift_x`, `shift_y`: how far the picture as a whole moved since the frame before, right and down, in percent of
      width and height. To a pixel by phase correlation under a Hann window (Kuglin and Hines 1975, cv2.phaseCorrelate),
      below that by one step of least squares over the gradients (Lucas and Kanade 1981); of the two, and of none and
      that step, what leaves less. Known pans come out within 0.1 percent or a sixth, whichever is more.
    - `response`: how sharp the peak of the correlation is, 0..1: at a cut, and where there is no texture, it is low.
    - `residual`: mean absolute difference of (smoothed) luma that is left to the frame before once that is shifted so,
      0..255: what moves within the picture, or changes.

    The first frame of a video has 0 of all that compares.
    """
    n, height, width, _ = thumbs.shape
    first = thumbs[:1] if before is None else before[None]
    grey = _grey(np.concatenate([first, thumbs]).reshape(-1, width, 3)).reshape(n + 1, height, width)
    earlier = [first[0], *thumbs[:-1]]
    diff = [cv2.norm(a, b, cv2.NORM_L1) / a.size for a, b in zip(thumbs, earlier, strict=True)]
    means = np.array([cv2.mean(thumb)[:3] for thumb in thumbs])
    shifts = np.concatenate([_shifts(grey[i : i + BATCH + 1]) for i in range(0, n, BATCH)])
    columns = (
        means @ RGB_LUMA,
        np.array(diff),
        np.count_nonzero(grey[1:] <= BLACK_LUMA, axis=(1, 2)) / (height * width),
        *shifts.T,
    )
    return {name: column.astype(np.float32) for name, column in zip(SIGNALS, columns, strict=True)}


def _grey(thumb: Bytes) -> Bytes:
    return cast(Bytes, cv2.cvtColor(thumb, cv2.COLOR_RGB2GRAY))


def _shifts(grey: Bytes) -> npt.NDArray[np.float64]:
    """shift_x, shift_y, response, residual (n, 4) of each picture but the first to the one before."""
    _, height, width = grey.shape
    coarse, response = _peaks(grey[:-1], grey[1:])
    smooth = _smooth(grey)
    a, b = smooth[:-1], smooth[1:]
    fine, left = _refined(a, b, np.zeros_like(coarse))
    far = np.flatnonzero(coarse.any(axis=1))
    if len(far):
        rolled = np.stack([np.roll(a[i], (coarse[i, 1], coarse[i, 0]), axis=(0, 1)) for i in far])
        more, left_far = _refined(rolled, b[far], coarse[far])
        better = left_far < left[far]
        chosen = far[better]
        fine[chosen], left[chosen] = coarse[chosen] + more[better], left_far[better]
    return np.column_stack([100 * fine / (width, height), response, left])


def _smooth(pictures: Bytes) -> Floats:
    """A gradient means something only where the picture is smooth over a pixel."""
    return np.stack([cv2.GaussianBlur(picture, (5, 5), SIGMA) for picture in pictures.astype(np.float32)])


def _peaks(before: Bytes, now: Bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Whole pixels right and down (n, 2) by phase correlation, 0 where there is no sense in it, and the responses."""
    n, _, width = now.shape
    a, b = (pictures[:, SHIFT_ROWS].astype(np.float32) for pictures in (before, now))
    height = a.shape[1]
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    shifts, responses = np.zeros((n, 2), np.int64), np.zeros(n)
    for i in np.flatnonzero((before != now).any(axis=(1, 2))).tolist():
        (x, y), response = cv2.phaseCorrelate(a[i], b[i], window)
        if abs(x) <= width / 2 and abs(y) <= height / 2:
            shifts[i], responses[i] = (round(x), round(y)), min(1.0, max(0.0, response))
    return shifts, responses


def _refined(
    moved: Floats, now: Floats, coarse: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What is left of the shift in pixels (n, 2), and the mean absolute difference after it (n).

    One step of Lucas and Kanade (1981) for a shift of the whole picture: least squares of the difference over the
    gradients, where the moved picture and this one overlap.
    """
    inside = _overlap(now.shape, coarse)
    both = moved + now
    gx = (both[:, 1:-1, 2:] - both[:, 1:-1, :-2]) * inside / 4
    gy = (both[:, 2:, 1:-1] - both[:, :-2, 1:-1]) * inside / 4
    change = (now - moved)[:, 1:-1, 1:-1] * inside
    xx, yy, xy, xt, yt = (
        np.einsum("nij,nij->n", p, q).astype(np.float64)
        for p, q in ((gx, gx), (gy, gy), (gx, gy), (gx, change), (gy, change))
    )
    area = np.maximum(np.count_nonzero(inside, axis=(1, 2)), 1)
    calm = NOISE * area
    xx, yy = xx + calm, yy + calm
    determinant = xx * yy - xy * xy
    x = np.clip((xy * yt - yy * xt) / determinant, -1, 1)
    y = np.clip((xy * xt - xx * yt) / determinant, -1, 1)
    rest = change + gx * x[:, None, None].astype(np.float32) + gy * y[:, None, None].astype(np.float32)
    return np.column_stack([x, y]), np.abs(rest).sum(axis=(1, 2), dtype=np.float64) / area


def _overlap(shape: tuple[int, ...], coarse: npt.NDArray[np.int64]) -> Floats:
    """1 on the pixels, but the outermost, that the moved picture covers (n, height - 2, width - 2)."""
    _, height, width = shape
    right, down = coarse[:, :1], coarse[:, 1:]
    x, y = np.arange(1, width - 1), np.arange(1, height - 1)
    across = (x > right) & (x < width - 1 + right)
    along = (y > down) & (y < height - 1 + down)
    return (along[:, :, None] & across[:, None, :]).astype(np.float32)


class Sharpness:
    """Variance of the Laplacian of luma (Pech-Pacheco et al., ICPR 2000), in squared levels of 8 bits.

    Of the CROP x CROP stored pixels in the middle (all of a smaller picture), neither scaled nor brought to another
    range or curve: a picture that was enlarged before it was encoded is not sharp.
    """

    def __init__(self) -> None:
        self._scaler = VideoReformatter()

    def of(self, frame: VideoFrame) -> float:
        edges = cv2.Laplacian(self._middle(frame), cv2.CV_16S)
        return cv2.norm(edges, cv2.NORM_L2SQR) / edges.size  # their mean is next to 0: far cheaper than a variance

    def _middle(self, frame: VideoFrame) -> Bytes:
        luma = frame.format.components[0]
        if not (luma.is_luma and frame.format.is_planar):
            frame = self._scaler.reformat(frame, format="gray", threads=1)
            luma = frame.format.components[0]
        plane = plane_pixels(frame, 0)
        width, height = frame.width, frame.height
        x, y = max(0, width - CROP) // 2, max(0, height - CROP) // 2
        part = slice(y, min(y + CROP, height)), slice(x, min(x + CROP, width))
        return plane[part] if luma.bits <= BYTE else (plane.view("<u2")[part] >> (luma.bits - BYTE)).astype(np.uint8)
