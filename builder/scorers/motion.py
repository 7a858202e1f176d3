"""Motion: how fast the picture moves, how much of that is the camera, and how much moves within the picture."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from builder.errors import ItemError
from builder.flow import Floats, Vectors, flows, gap_frames, pair_flows
from builder.frames import Frames
from builder.media.evidence import THUMB_HEIGHT, THUMB_WIDTH
from builder.records import Score
from builder.stage import settings
from builder.stages.score import Mark, Scorer

STILL = 0.3  # percent of the diagonal a second: below it nothing is seen to move
LEAST_FRAMES = 2
LEAST_PAIRS = 6
EVERY = 3  # thumbnail pixels between vectors that the camera is fitted to: flow is smooth over 9
ROUNDS = 3  # of reweighting
BLOCK, STRUCTURE = 5, 10.0  # thumbnail pixels a side, squared levels a pixel: with less of it flow says little
LEAST_VOTE = 0.3  # of a vector without structure: a flat road under a car speaks for a camera that rests
ARROWS, SHOWN_S = 6, 0.25  # thumbnail pixels from one to the next; what they show
OWN = 0.1  # thumbnail pixels; vectors off the camera's by much more, and by more than is usual, do not count as its


@dataclass(frozen=True, slots=True)
class MotionScore(Score):
    """From optical flow (Farneback, SCIA 2003) between thumbnails, in percent of the frame's diagonal a second.

    Attributes:
        flow: mean length of the vectors over the frame and over pairs; 0 still, 1 ... 10 usual, above 30 wild.
        camera: mean length of each pair's median vector: what most of the picture moves by; 0 ... `flow`.
        object: mean length of what is left once the camera's vectors are taken away, 0 ... about `flow`. Those are the
            affine field (pan, zoom, roll) that fits most of the structure: reweighted least squares (Odobez and
            Bouthemy, JVCIR 1995). With a near thing that the camera passes by (parallax), it is not 0.
        static: share of pairs whose flow is below 0.3, 0 ... 1.
    """

    flow: float
    camera: float
    object: float
    static: float


@settings
class Motion(Scorer[MotionScore]):
    """Optical flow of `pairs_per_s` pairs of frames, at most `pairs`, that are `gap_s` apart. About 10 ms a clip."""

    plugin: ClassVar[str] = "motion"
    version: ClassVar[int] = 2
    writes: ClassVar[type[MotionScore]] = MotionScore

    pairs: Annotated[int, Field(ge=1)] = 24
    pairs_per_s: Annotated[float, Field(gt=0)] = 3.0
    gap_s: Annotated[float, Field(gt=0)] = 0.125

    def score(self, frames: Frames) -> MotionScore:
        clip = frames.clip
        if clip.frames < LEAST_FRAMES:
            raise ItemError("one_frame", f"{clip.clip_id} has one frame and so no motion; raise split.min_s")
        pairs = min(self.pairs, max(LEAST_PAIRS, round(self.pairs_per_s * clip.duration_s)))
        before, fields, unit = pair_flows(frames, pairs, self.gap_s)
        flow = lengths(fields * unit.astype(np.float32)).mean(axis=(1, 2))
        camera = lengths(np.median(fields, axis=(1, 2)) * unit)
        return MotionScore(
            clip.clip_id,
            flow=float(flow.mean()),
            camera=float(camera.mean()),
            object=float(lengths(beside_camera(before, fields) * unit).mean()),
            static=float((flow < STILL).mean()),
        )

    def marks(self, frames: Frames, found: MotionScore, picture: int) -> list[Mark]:
        """Arrows over the way that things go within a quarter of a second."""
        clip, gap = frames.clip, gap_frames(frames.clip, self.gap_s)
        start = min(max(0, int(frames.strip.frames[picture]) - clip.start_frame), clip.frames - 1 - gap)
        _, fields, _ = flows(frames, np.array([start]), gap)
        size = np.array([THUMB_WIDTH, THUMB_HEIGHT])
        ways = fields[0] * (SHOWN_S * clip.fps / gap)
        grid = [(x, y) for y in range(2, THUMB_HEIGHT, ARROWS) for x in range(3, THUMB_WIDTH, ARROWS)]
        ends = [(np.array(at) / size, (np.array(at) + ways[at[1], at[0]]) / size) for at in grid]
        return [Mark((tuple(a.tolist()), tuple(b.tolist())), closed=False) for a, b in ends]


def lengths(vectors: NDArray[Any]) -> NDArray[Any]:
    return cast(NDArray[Any], np.sqrt(vectors[..., 0] ** 2 + vectors[..., 1] ** 2))


def beside_camera(pictures: NDArray[Any], fields: Vectors) -> Floats:
    """What is left at every EVERY-th pixel without the camera's vectors (pair, [right, down] at the end).

    Where there is no structure, what seems to stay behind the camera does not count.
    """
    _, height, width = pictures.shape
    y, x = (grid.ravel() for grid in np.mgrid[EVERY // 2 : height : EVERY, EVERY // 2 : width : EVERY])
    terms = np.column_stack([np.ones(len(x)), x / width - 0.5, y / height - 0.5])
    squares = (terms[:, :, None] * terms[:, None, :]).reshape(-1, 9)
    vectors = fields[:, y, x].astype(np.float64)
    seen = np.stack([structure(picture)[y, x] for picture in pictures]).astype(np.float64)
    seen = seen / (seen + STRUCTURE)
    weights = vote = LEAST_VOTE + (1 - LEAST_VOTE) * seen
    for _ in range(ROUNDS):
        normal = (weights @ squares).reshape(-1, 3, 3) + 1e-6 * np.eye(3)
        right = terms.T @ (weights[..., None] * vectors)
        camera = terms @ np.linalg.solve(normal, right)
        off = lengths(vectors - camera)
        usual = np.median(off, axis=1, keepdims=True)
        weights = vote / (1 + (off / (OWN + 2 * usual)) ** 2) ** 2  # Geman and McClure
    counts = np.maximum(seen, np.minimum(1, lengths(vectors) / np.maximum(lengths(camera), OWN)))
    return cast(Floats, (vectors - camera) * counts[..., None])


def structure(picture: NDArray[Any]) -> NDArray[Any]:
    """The smaller eigenvalue of the structure tensor (Shi and Tomasi, CVPR 1994), in squared levels a pixel."""
    return cv2.cornerMinEigenVal(picture, BLOCK) * 255**2 / 4
