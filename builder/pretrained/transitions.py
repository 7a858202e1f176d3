"""A network of our own that finds transitions between shots: run with numpy, trained on made ones.

It sees no picture, only the numbers of `builder/pretrained/differences.py`. `training/transitions.py` makes its
examples and its weights.
"""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.pretrained.differences import GAPS

Floats = NDArray[np.float32]

CHANNELS = 32
DILATIONS = (1, 2, 4, 8, 16)
REACH = sum(DILATIONS) + max(GAPS)  # frames before and after one that can matter to it
WEIGHTS = "transitions.npz"


class TransitionNetwork:
    """Three temporal convolutional networks that vote, of five residual layers (after Bai et al., arXiv 1803.01271)."""

    def __init__(self) -> None:
        self._weights = _weights()

    def __call__(self, differences: Floats) -> tuple[Floats, Floats]:
        """For each frame, 0..1: it is the first of a new shot after a hard cut; it is part of a gradual transition."""
        w = self._weights
        hidden = _rectified((differences - w["mean"]) / w["deviation"] @ w["first"] + w["first_bias"][:, None])
        for layer, gap in enumerate(DILATIONS):
            padded = np.pad(hidden, ((0, 0), (gap, gap), (0, 0)))
            around = (padded[:, : -2 * gap], hidden, padded[:, 2 * gap :])
            seen = sum(part @ w["taps"][:, layer, tap] for tap, part in enumerate(around))
            mixed = _rectified(seen + w["taps_bias"][:, layer, None]) @ w["mixed"][:, layer]
            hidden = hidden + mixed + w["mixed_bias"][:, layer, None]
        votes = _rectified(hidden) @ w["last"] + w["last_bias"][:, None]
        likely = (1 + np.tanh(votes.mean(axis=0) / 2)) / 2
        return likely[:, 0], likely[:, 1]


@cache
def weights_hash() -> str:
    return sha256(files(__package__).joinpath(WEIGHTS).read_bytes()).hexdigest()[:16]


@cache
def _weights() -> dict[str, Any]:
    """Of `training/transitions.py`, which says what they are; the first dimension counts the members."""
    with files(__package__).joinpath(WEIGHTS).open("rb") as file, np.load(file, allow_pickle=False) as held:
        return dict(held)


def _rectified(values: Floats) -> Floats:
    return np.maximum(values, 0)
