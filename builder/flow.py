"""Optical flow between the thumbnails of a clip."""

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.frames import Frames
from builder.media.evidence import THUMB_HEIGHT, THUMB_WIDTH
from builder.records import Clip

FAR = 2.0  # thumbnail pixels; from there on flow starts from the shift of the picture: alone it reaches about 4

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]


def pair_flows(frames: Frames, pairs: int, gap_s: float) -> tuple[NDArray[Any], Vectors, Floats]:
    """How the picture moves within `gap_s`, from each of at most `pairs` frames that are evenly spread over the clip.

    The grey thumbnails of those frames; vectors in their pixels (pair, y, x, [right, down]); and what one pixel right
    and one down is, in percent of the diagonal a second.
    """
    gap = gap_frames(frames.clip, gap_s)
    return flows(frames, np.unique(np.linspace(0, frames.clip.frames - 1 - gap, pairs).round().astype(int)), gap)


def gap_frames(clip: Clip, gap_s: float) -> int:
    return min(max(1, round(gap_s * clip.fps)), clip.frames - 1)


def flows(frames: Frames, starts: NDArray[np.int64], gap: int) -> tuple[NDArray[Any], Vectors, Floats]:
    """As `pair_flows`, from these frames of the clip to those `gap` later."""
    clip, luma, evidence = frames.clip, frames.luma(), frames.evidence
    span = slice(clip.start_frame, clip.end_frame)
    steps = np.column_stack([evidence.shift_x[span], evidence.shift_y[span]]) / 100 * (THUMB_WIDTH, THUMB_HEIGHT)
    path = np.cumsum(steps, axis=0)
    before, after = luma[starts], luma[starts + gap]
    shifts = path[starts + gap] - path[starts]
    fields = np.stack([farneback(*pair) for pair in zip(before, after, shifts, strict=True)])
    return before, fields, diagonal_percent(clip) * (clip.fps / gap)


def farneback(before: NDArray[Any], after: NDArray[Any], shift: Floats) -> NDArray[Any]:
    far = bool(np.hypot(*shift) >= FAR)
    start = np.ascontiguousarray(np.broadcast_to(shift.astype(np.float32), (*before.shape, 2))) if far else None
    flags = cv2.OPTFLOW_USE_INITIAL_FLOW if far else 0
    return cv2.calcOpticalFlowFarneback(before, after, cast(Any, start), 0.5, 1, 9, 2, 5, 1.1, flags)


def diagonal_percent(clip: Clip) -> Floats:
    """What one thumbnail pixel right, and one down, is in percent of the frame's diagonal."""
    pixel = np.array([clip.width / THUMB_WIDTH, clip.height / THUMB_HEIGHT])
    return cast(Floats, 100 * pixel / np.hypot(clip.width, clip.height))
