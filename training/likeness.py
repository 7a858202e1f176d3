"""Fit the weights of builder/media/likeness.py and print them with what they cost.

    python training/likeness.py FOLDER

FOLDER is that of `training/transitions.py`. Thumbnails of different videos are told from such 24 to 192 frames apart in
one video, by logistic regression on three measures; both kinds weigh the same.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.media.evidence import THUMB_HEIGHT, THUMB_WIDTH
from builder.media.likeness import measures
from transitions import footage

GAPS, STEP, MOST = (24, 48, 96, 192), 24, 900  # frames apart; between pairs; looked at of a video
STRANGERS = 6000  # pairs of different videos
MISSED = (0.0025, 0.005, 0.01)  # shares of them that are taken for one shot

Thumbs = list[NDArray[np.uint8]]


def thumbs(video: NDArray[np.uint8]) -> Thumbs:
    size = THUMB_WIDTH, THUMB_HEIGHT
    return [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in video[:MOST:STEP]]


def of_one(videos: list[Thumbs], gap: int) -> NDArray[np.float64]:
    apart = gap // STEP
    return np.array([measures(a, b) for video in videos for a, b in zip(video, video[apart:], strict=False)])


def of_two(videos: list[Thumbs], rng: np.random.Generator) -> NDArray[np.float64]:
    pairs = [rng.choice(len(videos), 2, replace=False) for _ in range(STRANGERS)]
    return np.array([measures(*(videos[v][rng.integers(len(videos[v]))] for v in pair)) for pair in pairs])


def fitted(same: NDArray[np.float64], other: NDArray[np.float64], steps: int = 50) -> NDArray[np.float64]:
    """Weights and bias, by Newton's method."""
    x = np.column_stack([np.concatenate([same, other]), np.ones(len(same) + len(other))])
    y = np.repeat([0.0, 1.0], [len(same), len(other)])
    balance = np.repeat([0.5 / len(same), 0.5 / len(other)], [len(same), len(other)])
    weights = np.zeros(x.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = (x * (balance * p * (1 - p))[:, None]).T @ x + 1e-7 * np.eye(len(weights))
        weights += np.linalg.solve(slope, x.T @ (balance * (y - p)))
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    videos = [thumbs(video) for video in footage(parser.parse_args().folder).videos]
    same, other = {gap: of_one(videos, gap) for gap in GAPS}, of_two(videos, np.random.default_rng(1))
    weights = fitted(np.concatenate(list(same.values())), other)
    print("weights", weights[:-1].round(2), "bias", weights[-1].round(2))
    odds = np.sort(other @ weights[:-1] + weights[-1])
    for share in MISSED:
        doubt = odds[int(share * len(odds))]
        doubted = {gap: round(float((m @ weights[:-1] + weights[-1] >= doubt).mean()), 3) for gap, m in same.items()}
        print(f"{share:.2%} of other shots below {doubt:.2f}; above, by frames between: {doubted}")


if __name__ == "__main__":
    main()
