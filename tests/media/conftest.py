"""Videos: real ones where the folder is there, and made ones that tell their frame number by their looks."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from builder.errors import ItemError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def footage() -> Callable[[str], Path]:
    folder = Path(os.environ.get("OSD_TEST_VIDEOS", ROOT.parent / "shared" / "videos"))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"needs the real video {name} (set OSD_TEST_VIDEOS)")
        return path

    return find


@dataclass(frozen=True)
class Made:
    """How a test video is made. `pts` are in 1/`rate` seconds; a new `shot` changes colours abruptly."""

    frames: int = 50
    size: tuple[int, int] = (160, 120)
    codec: str = "libx264"
    rate: int = 25
    muxer: str = "mp4"
    pts: Sequence[int] = ()
    shots: Sequence[int] = ()
    rotation: int = 0
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
            frame = av.VideoFrame.from_ndarray(picture(number, how.size, how.shots), format="rgb24")
            frame.pts, frame.time_base = how.pts[number] if how.pts else number, Fraction(1, how.rate)
            out.mux(track.encode(frame))
        out.mux(track.encode(None))
    return path


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """make("name.mp4", frames=25, ...) writes a video with the fields of `Made`."""

    def make_one(name: str = "video.mp4", **how: Any) -> Path:
        return write(tmp_path / name, Made(**how))

    return make_one


@pytest.fixture
def refuses() -> Callable[..., ItemError]:
    """refuses("kind", function, *args): the ItemError of that kind which the call raises."""

    def call(kind: str, function: Callable[..., object], *args: object) -> ItemError:
        with pytest.raises(ItemError) as caught:
            function(*args)
        assert caught.value.kind == kind, str(caught.value)
        return caught.value

    return call
