"""Videos made for tests; each frame tells its number by its looks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np


@dataclass(frozen=True)
class Made:
    """How a test video is made. `pts` are in 1/`rate` seconds; a new `shot` changes colours abruptly; `still` stays."""

    frames: int = 50
    size: tuple[int, int] = (160, 120)
    codec: str = "libx264"
    rate: int = 25
    muxer: str = "mp4"
    pts: Sequence[int] = ()
    shots: Sequence[int] = ()
    rotation: int = 0
    still: bool = False
    options: dict[str, str] = field(default_factory=dict)
    muxer_options: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


def picture(number: int, size: tuple[int, int], shots: Sequence[int]) -> np.ndarray[Any, Any]:
    """A gradient in the colours of its shot, with a bar that moves one step a frame."""
    width, height = size
    shot = sum(number >= start for start in shots)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., shot % 3] = 60 + 40 * (shot % 4) + np.linspace(0, 60, width, dtype=np.uint8)
    pixels[:, number * 3 % width :][:, : max(2, width // 40)] = 230
    return pixels


def write(path: Path, how: Made) -> Path:
    with av.open(f"file:{path}", "w", how.muxer, how.muxer_options) as out:
        out.metadata.update(how.metadata)
        track = out.add_stream(how.codec, rate=how.rate, options=how.options)
        track.width, track.height, track.pix_fmt = *how.size, "yuv420p"
        track.codec_context.time_base = Fraction(1, how.rate)
        if how.rotation:
            track.set_display_rotation(how.rotation)
        for number in range(how.frames):
            frame = av.VideoFrame.from_ndarray(picture(0 if how.still else number, how.size, how.shots), format="rgb24")
            frame.pts, frame.time_base = how.pts[number] if how.pts else number, Fraction(1, how.rate)
            out.mux(track.encode(frame))
        out.mux(track.encode(None))
    return path
