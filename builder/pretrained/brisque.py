"""BRISQUE: how a picture's statistics differ from those of good photographs (Mittal, Moorthy and Bovik, IEEE TIP 2012).

The method is Copyright (c) 2011 The University of Texas at Austin, free for any purpose with this notice. The
regression is the one that the packages image-quality and brisque carry (Apache-2.0), trained on the LIVE database, and
features are computed as those packages do. `training/brisque.py` makes brisque.npz of it.
"""

import math
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WEIGHTS = "brisque.npz"
LUMA = np.array([0.2125, 0.7154, 0.0721])  # BT.709
WINDOW, SIGMA = 7, 7 / 6  # pixels of the Gaussian neighbourhood
CONSTANT = 1.0  # levels of 255 that keep flat places from dividing by nothing
EDGE = WINDOW // 2  # pixels that the black beyond the edge reaches into
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # down, right
SHAPES = np.linspace(0.1, 10, 9901)  # of the generalised Gaussian: 2 is the Gaussian itself
FLAT = 1e-4  # mean square of normalised luma below which there is no picture to speak of


def score(image: NDArray[Any]) -> float | None:
    """The quality of an RGB picture: about 0 pristine ... 100 ruined, seldom outside; None for a flat one."""
    luma = np.asarray(image, np.float64) @ LUMA
    small = cv2.resize(luma, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)
    found = [features(picture) for picture in (luma, np.asarray(small))]
    return None if any(part is None for part in found) else predicted(np.array(found, np.float64).ravel())


def features(luma: Floats) -> list[float] | None:
    """Eighteen numbers at one scale: shape and variance of the normalised luma, and shape, mean and variances to the
    left and right of its products with four neighbours. None where there is nothing to measure."""
    normal = normalised(luma)
    inner = normal[EDGE:-EDGE, EDGE:-EDGE]
    if not inner.size or float((inner * inner).mean()) < FLAT:
        return None
    shape, _, left, right = asymmetric(normal)
    found = [shape, (left + right) / 2]
    height, width = normal.shape
    for down, right_by in NEIGHBOURS:
        first = normal[: height - down, max(0, -right_by) : width - max(0, right_by)]
        second = normal[down:, max(0, right_by) : width - max(0, -right_by)]
        found += asymmetric(first * second)
    return found


def normalised(luma: Floats) -> Floats:
    """Luma less its local mean, over its local deviation."""
    mean, square = (blurred(picture) for picture in (luma, luma * luma))
    deviation = np.sqrt(np.abs(square - mean * mean))
    return np.asarray((luma - mean) / (deviation + CONSTANT), np.float64)


def blurred(picture: Floats) -> Floats:
    """Beyond the edge all is black, as the regression was trained."""
    kernel = cv2.getGaussianKernel(WINDOW, SIGMA)
    return np.asarray(cv2.sepFilter2D(picture, -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT), np.float64)


def asymmetric(values: Floats) -> tuple[float, float, float, float]:
    """Shape, mean, left and right variance of an asymmetric generalised Gaussian, by moments (Lasmar et al. 2009)."""
    flat = values.ravel()
    negative = np.minimum(flat, 0)
    below = int(np.count_nonzero(negative))
    squares, left_squares = (float(np.dot(v, v)) for v in (flat, negative))
    absolute = cv2.norm(values, cv2.NORM_L1)
    left = left_squares / max(below, 1)
    right = (squares - left_squares) / max(flat.size - below, 1)
    ratio = math.sqrt(max(left, 1e-12) / max(right, 1e-12))
    spread = (absolute / flat.size) ** 2 / (squares / flat.size)
    wanted = spread * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = float(np.interp(wanted, moment_ratios(), SHAPES))
    gamma = math.gamma
    scale = math.sqrt(gamma(1 / shape) / gamma(3 / shape))
    mean = (math.sqrt(right) - math.sqrt(left)) * scale * gamma(2 / shape) / gamma(1 / shape)
    return shape, mean, left, right


@cache
def moment_ratios() -> Floats:
    """Of each shape: the square of the mean absolute value over the mean square. It rises with the shape."""
    logs = [2 * math.lgamma(2 / a) - math.lgamma(1 / a) - math.lgamma(3 / a) for a in SHAPES.tolist()]
    return np.asarray(np.exp(np.array(logs)))


def predicted(found: Floats) -> float:
    """Support vector regression with a radial kernel; features scaled to -1 ... 1 by the ranges of the training."""
    held = weights()
    scaled = -1 + 2 * (found - held["least"]) / (held["most"] - held["least"])
    distances = ((held["vectors"] - scaled) ** 2).sum(axis=1)
    return float(held["weights"] @ np.exp(-held["gamma"] * distances) - held["rho"])


@cache
def weights() -> dict[str, Floats]:
    with files(__package__).joinpath(WEIGHTS).open("rb") as file, np.load(file, allow_pickle=False) as held:
        return {name: np.asarray(held[name], np.float64) for name in held}


@cache
def weights_hash() -> str:
    return sha256(files(__package__).joinpath(WEIGHTS).read_bytes()).hexdigest()[:16]
