"""Questions about made pictures, for tests of engines."""

import numpy as np

from builder.captioning.engine import Question


def clip(n: int, pictures: int = 2, high: int = 90, wide: int = 160, prompt: str = "What happens?") -> Question:
    """Pictures of 3 x 4 fields of chance colours, others for another `n`."""
    chance = np.random.default_rng(n)
    fields = chance.integers(0, 256, (pictures, 3, 4, 3), np.uint8)
    shown = [np.kron(picture, np.ones((high // 3, wide // 4, 1), np.uint8)) for picture in fields]
    return Question(f"clip{n}", prompt, lambda: shown)
