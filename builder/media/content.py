"""PySceneDetect's statistic, taken in the decode pass at its own resolution, so that its detectors need no second one.

Follows PySceneDetect 0.7.2 with its OpenCV backend: every frame as full-size BGR in the colours that cv2.VideoCapture
makes of it (BT.601 whatever the file says), turned upright, reduced to about 256 pixels on the long side
(`scene_manager.compute_downscale_factor`, bilinear), in HSV; then the mean absolute difference of each channel to the
frame before (`ContentDetector`). Sums of integers: the same numbers as PySceneDetect's, to the last bit, wherever
the decoder gives the same pictures.
"""

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from builder.media.frames import plane_pixels, turned

LONG_SIDE = 256  # scene_manager.DEFAULT_MIN_WIDTH
Bytes = npt.NDArray[np.uint8]
Deltas = tuple[float, float, float]


class Content:
    """Takes every frame in order."""

    def __init__(self) -> None:
        self._scaler = VideoReformatter()
        self._before: Sequence[Bytes] | None = None

    def of(self, frame: VideoFrame, turns: int) -> Deltas:
        """delta_hue, delta_sat, delta_lum (0..255) to the frame before; 0 for the first one."""
        now = cast(Sequence[Bytes], cv2.split(cv2.cvtColor(self._small(frame, turns), cv2.COLOR_BGR2HSV)))
        before, self._before = self._before, now
        if before is None:
            return 0.0, 0.0, 0.0
        hue, saturation, value = (cv2.norm(a, b, cv2.NORM_L1) / a.size for a, b in zip(now, before, strict=True))
        return hue, saturation, value

    def _small(self, frame: VideoFrame, turns: int) -> Bytes:
        full = self._scaler.reformat(
            frame, format="bgr24", src_colorspace=Colorspace.ITU601, interpolation=Interpolation.BICUBIC, threads=1
        )
        pixels = plane_pixels(full, 0)[:, : frame.width * 3].reshape(frame.height, frame.width, 3)
        upright = turned(pixels, turns)
        height, width = upright.shape[:2]
        factor = max(width, height) / LONG_SIDE
        if factor <= 1:
            return np.ascontiguousarray(upright)
        size = max(1, round(width / factor)), max(1, round(height / factor))
        return cast(Bytes, cv2.resize(np.ascontiguousarray(upright), size, interpolation=cv2.INTER_LINEAR))
