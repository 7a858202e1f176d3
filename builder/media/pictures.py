"""Pictures for people and models out of decoded frames: upright, in true shape, in colours of an ordinary screen."""

from fractions import Fraction
from typing import TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc, Interpolation, VideoReformatter

from builder.media.evidence import THUMB_HEIGHT, THUMB_WIDTH
from builder.media.frames import plane_pixels, turned, upright_size
from builder.media.tonemap import to_sdr

Bytes = npt.NDArray[np.uint8]
N = TypeVar("N", bound=np.generic)
HDR = {ColorTrc.SMPTE2084: "pq", ColorTrc.ARIB_STD_B67: "hlg"}
LEAST_SAR, MOST_SAR = Fraction(1, 4), Fraction(4)  # anything beyond is damage, and would be a picture of no shape


def transfer(frame: VideoFrame) -> str:
    """The HDR curve: pq or hlg; empty for ordinary video."""
    return HDR.get(frame.color_trc, "")  # type: ignore[call-overload,no-any-return]


def pixel_shape(stated: Fraction | None) -> Fraction:
    """Width of a stored pixel over its height, 1 where nothing sensible is stated."""
    return stated if stated and LEAST_SAR <= stated <= MOST_SAR else Fraction(1)


class Thumbnail:
    """48x27 RGB, upright. One scaler for all frames, and without threads: both are traps that double its cost."""

    def __init__(self) -> None:
        self._scaler = VideoReformatter()

    def of(self, frame: VideoFrame, turns: int) -> Bytes:
        width, height = upright_size(THUMB_WIDTH, THUMB_HEIGHT, turns * 90)
        small = self._scaler.reformat(frame, width, height, "rgb24", interpolation=Interpolation.AREA, threads=1)
        pixels = plane_pixels(small, 0)[:, : width * 3]
        return np.ascontiguousarray(turned(pixels.reshape(height, width, 3), turns))


class Pictures:
    """Frames as upright BGR pictures of square pixels, at most `short_side` on the short side, never enlarged by it.

    Pixels that are not square: the shorter of their sides is stretched, so that nothing of the other is lost. HDR is
    tone-mapped. Interlaced frames hold two moments, every other line of each; they are blended (1 2 1, over the full
    height, before scaling): softer, but without combs that look like edges or text.
    """

    def __init__(self, short_side: int, sar: Fraction) -> None:
        self.short_side, self.sar = short_side, sar
        self._scaler, self._colour = VideoReformatter(), VideoReformatter()

    def of(self, frame: VideoFrame, turns: int) -> Bytes:
        size = self._size(frame)
        if transfer(frame):
            pixels = to_sdr(self._converted(self._scaled(frame, size), "rgb48le", np.uint16), transfer(frame))
        elif frame.interlaced_frame:
            pixels = _blended(self._converted(frame, "bgr24", np.uint8), size)
        else:
            pixels = self._converted(self._scaled(frame, size), "bgr24", np.uint8)
        return turned(pixels, turns)

    def _size(self, frame: VideoFrame) -> tuple[int, int]:
        """Of the picture before it is turned."""
        width, height = frame.width * max(self.sar, Fraction(1)), frame.height / min(self.sar, Fraction(1))
        scale = min(Fraction(1), self.short_side / min(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    def _scaled(self, frame: VideoFrame, size: tuple[int, int]) -> VideoFrame:
        """In its own colours: half the work of scaling and turning to RGB at once."""
        return self._scaler.reformat(frame, *size, interpolation=Interpolation.AREA, threads=1)

    def _converted(self, frame: VideoFrame, layout: str, kind: type[N]) -> npt.NDArray[N]:
        done = self._colour.reformat(frame, format=layout, interpolation=Interpolation.AREA, threads=1)
        pixels = plane_pixels(done, 0).view(kind)[:, : frame.width * 3]
        return pixels.reshape(frame.height, frame.width, 3)


def _blended(pixels: Bytes, size: tuple[int, int]) -> Bytes:
    kernel = np.array([[1], [2], [1]], np.float32) / 4
    blended = cv2.filter2D(pixels, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return cast(Bytes, cv2.resize(blended, size, interpolation=cv2.INTER_AREA))
