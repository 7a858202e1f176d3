"""Watermark: logos and marks, solid or half transparent, that stay where they are while the picture behind moves.

No network. At each pixel the median gradient over frames of the strip is what does not move (after Dekel et al., "On
the Effectiveness of Visible Watermarks", CVPR 2017); a mark is a connected piece of it that most frames agree on while
what surrounds it on all sides becomes another picture. So a mark over a still picture cannot be told from the scene:
`known` says where it could.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from builder.frames import Frames
from builder.records import Score
from builder.stage import settings
from builder.stages.score import Scorer

SIDE = 270  # pixels of the short side that frames are looked at in
EDGE = 6.0  # levels a pixel that the edges of a mark have, at least
AGREE, WITHIN = 0.7, 0.6  # share of frames whose gradient is the median one, give or take so much of it
CHANGED, FAINT = 0.5, 1.0  # a place shows another picture: share of its gradients (levels a pixel) that is new
FRAMES = 4  # that must show another picture
SIDES = 0.25  # of the frames in which there is something to be seen on one side of a mark
PIXELS = 12  # of edges that make a mark
STRAIGHT = 0.6  # coherence of its gradients (0 all ways ... 1 one way) from which it is a line of the scene
LARGE = 0.15  # of the frame: a larger thing is no mark
MARGIN = 3  # pixels: what reaches the edge of the frame is part of the scene
REACH, AROUND, CELL = 2, 7, 16  # pixels that edges are joined over, that surround a mark, and of a place

Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class WatermarkScore(Score):
    """From frames of the strip.

    Attributes:
        area: share of the frame inside boxes around fixed marks, 0 none ... 1. Subtitles and titles that stay count.
        strength: median gradient of their edges, in levels of 255 a pixel; 0 without marks, 6 faint ... 60 bold.
        known: share of the frame in front of which the picture changed enough for a mark to be told, 0 ... 1. Where
            it is small, an `area` of 0 says little: nothing moved, or the clip is short.
    """

    area: float
    strength: float
    known: float


@settings
class Watermark(Scorer[WatermarkScore]):
    """Edges that stay over `frames_per_clip` frames while the picture moves. Off unless asked for: 110 ms a clip."""

    plugin: ClassVar[str] = "watermark"
    writes: ClassVar[type[WatermarkScore]] = WatermarkScore

    frames_per_clip: Annotated[int, Field(ge=FRAMES, le=64)] = 12

    def score(self, frames: Frames) -> WatermarkScore:
        still = Still(pictures(frames, self.frames_per_clip))
        marks = list(still.marks())
        covered = np.zeros(still.strength.shape, bool)
        for (x, y, width, height), _ in marks:
            covered[y : y + height, x : x + width] = True
        edges = np.concatenate([still.strength[where] for _, where in marks]) if marks else np.zeros(1)
        return WatermarkScore(
            frames.clip.clip_id,
            area=float(covered.mean()),
            strength=float(np.median(edges)),
            known=float(still.known().mean()),
        )


def pictures(frames: Frames, count: int) -> Floats:
    """Grey frames (n, height, width) of the clip's most frequent shape."""
    read = [cv2.imdecode(np.frombuffer(frames.strip.jpeg(i), np.uint8), 0) for i in frames.spread(count)]
    shape, _ = Counter(picture.shape for picture in read).most_common(1)[0]
    scale = min(1.0, SIDE / min(shape))
    size = (max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale)))
    alike = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in read if p.shape == shape]
    return np.stack(alike).astype(np.float32)


class Still:
    """What of some pictures stays: the median gradient, and how far each picture is from it."""

    def __init__(self, grey: Floats) -> None:
        smooth = [cv2.GaussianBlur(picture, (0, 0), 0.8) for picture in grey]
        right, down = (
            np.stack([cv2.Sobel(picture, -1, *way, scale=1 / 8) for picture in smooth]) for way in ((1, 0), (0, 1))
        )
        self.right, self.down = np.median(right, axis=0), np.median(down, axis=0)
        self.strength: Floats = np.hypot(self.right, self.down)
        self.away: Floats = np.hypot(right - self.right, down - self.down)
        self.sum: Floats = np.hypot(right, down) + self.strength
        self.enough = len(grey) > FRAMES
        self.same = self.away <= np.maximum(WITHIN * self.strength, 1.5)

    def known(self) -> NDArray[np.bool_]:
        """Places where enough of the pictures are another one than the median."""
        away, total = (np.stack([cv2.blur(p, (CELL, CELL)) for p in many]) for many in (self.away, self.sum))
        other = ((away > CHANGED * total) & (total > FAINT)).sum(axis=0)
        return np.asarray((other >= FRAMES) & self.enough)

    def marks(self) -> Iterator[tuple[Box, NDArray[np.bool_]]]:
        """Boxes (x, y, width, height) of marks, and the pixels of their edges."""
        fixed = (self.strength > EDGE) & (self.same.mean(axis=0) >= AGREE)
        joined = cv2.dilate(fixed.astype(np.uint8), square(REACH))
        _, labels, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
        for label, (x, y, width, height, _) in enumerate(boxes.tolist()[1:], 1):
            if self.enough and self._placed(x, y, width, height):
                pad = AROUND + REACH
                window = np.s_[max(0, y - pad) : y + height + pad, max(0, x - pad) : x + width + pad]
                own = labels[window] == label
                edges = own & fixed[window]
                around = (cv2.dilate(own.astype(np.uint8), square(AROUND)) > 0) & (joined[window] == 0)
                if edges.sum() >= PIXELS and not self._line(window, edges) and self._alone(window, edges, around):
                    where = np.zeros(fixed.shape, bool)
                    where[window] = edges
                    yield (x, y, width, height), where

    def _placed(self, x: int, y: int, width: int, height: int) -> bool:
        """Whether a mark may be there: within the frame, and not too large."""
        high, wide = self.strength.shape
        inside = MARGIN < x < wide - MARGIN - width and MARGIN < y < high - MARGIN - height
        return bool(inside and width * height <= LARGE * wide * high)

    def _line(self, window: Any, edges: NDArray[np.bool_]) -> bool:
        """Whether its gradients point one way, by their structure tensor, as those of a horizon or a door do: such an
        edge stays where it is while the view moves along it."""
        right, down = self.right[window][edges], self.down[window][edges]
        xx, yy, xy = (float((a * b).sum()) for a, b in ((right, right), (down, down), (right, down)))
        return bool(np.hypot(xx - yy, 2 * xy) > STRAIGHT * (xx + yy))

    def _alone(self, window: Any, edges: NDArray[np.bool_], around: NDArray[np.bool_]) -> bool:
        """Whether it stays while all that is around it changes."""
        here = (slice(None), *window)
        away, total = self.away[here], self.sum[here]
        changed, _ = another(away, total, around)
        if changed.sum() < FRAMES or self.same[here][:, edges][changed].mean() < AGREE:
            return False
        down, right = (np.flatnonzero(edges.any(axis=axis))[[0, -1]] for axis in (1, 0))
        y, x = np.ogrid[: edges.shape[0], : edges.shape[1]]
        quarter = (down[1] - down[0]) / 4, (right[1] - right[0]) / 4
        sides = (
            y < down[0] + quarter[0],
            y > down[1] - quarter[0],
            x < right[0] + quarter[1],
            x > right[1] - quarter[1],
        )
        for side in sides:
            new, seen = another(away, total, around & side)
            if new.sum() < min(FRAMES, SIDES * seen.sum()):
                return False
        return True


def another(away: Floats, total: Floats, place: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each picture: whether the place shows another picture than the median one, and whether it shows anything."""
    new, whole = (values[:, place].sum(axis=1) for values in (away, total))
    seen = whole > FAINT * place.sum()
    return np.asarray((new > CHANGED * whole) & seen), np.asarray(seen)


def square(reach: int) -> NDArray[np.uint8]:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
