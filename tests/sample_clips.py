"""Clips for tests of scorers and captioners: pictures made here, and real videos where there are any."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from builder.frames import Footage, Frames
from builder.media.decode import ScanSettings, scan
from builder.records import Clip, Record, Scanned, Verdict
from builder.stage import Context, Item
from builder.storage import Storage

Image = NDArray[np.uint8]
VIDEOS = Path(os.environ.get("OSD_TEST_VIDEOS") or Path(__file__).parents[2] / "shared" / "videos")
REAL = ("shot_dog_park.mp4", "shot_carphone.mp4", "edit_pyscenedetect_fades_wm.mp4", "codec_av1_hdr10_portrait.mp4")


@dataclass(frozen=True)
class Sample:
    """A whole video as one clip, scanned."""

    clip: Clip
    scan: Scanned
    storage: Storage

    @property
    def context(self) -> Context:
        return Context(self.storage)

    @property
    def footage(self) -> Footage:
        return Footage(self.scan, self.storage)

    def frames(self) -> Frames:
        return Frames(self.clip, self.scan, self.storage)

    def scored(self) -> Item[Clip]:
        """As a scorer gets it."""
        return Item(self.clip, "digest", {"scan": self.scan})

    def judged(self, more: Mapping[str, Record] | None = None) -> Item[Verdict]:
        """As a captioner gets it."""
        joined = {"split": self.clip, "scan": self.scan, **(more or {})}
        return Item(Verdict(self.clip.clip_id, kept=True), "digest", joined)


def sample(video: Path, folder: Path, settings: ScanSettings | None = None) -> Sample:
    """Scan a video into `folder`."""
    name = video.stem.lower()
    facts = scan(video, folder / f"{name}.evidence", folder / f"{name}.strip", settings or ScanSettings())
    clip = Clip(
        clip_id=name,
        video_id=name,
        start_frame=0,
        end_frame=facts.frames,
        start_pts=facts.start_pts,
        end_pts=facts.end_pts,
        start_s=0.0,
        end_s=facts.duration_s,
        fps=facts.fps,
        width=facts.width,
        height=facts.height,
    )
    scanned = Scanned(name, **vars(facts), evidence=f"{name}.evidence", strip=f"{name}.strip")
    return Sample(clip, scanned, Storage(folder))


def made(folder: Path, images: Iterable[Image], fps: int = 25, name: str = "made") -> Sample:
    """A video of these RGB pictures, scanned."""
    path = folder / f"{name}.mp4"
    with av.open(path, "w") as output:
        stream = output.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "ultrafast"})
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, fps)
        for image in images:
            if not stream.codec_context.is_open:
                stream.height, stream.width = image.shape[:2]
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode())
    return sample(path, folder)


def texture(width: int = 640, height: int = 360, seed: int = 0) -> Image:
    """Soft coloured blobs, the same at every size."""
    blobs = np.random.default_rng(seed).integers(40, 216, (10, 16, 3), np.uint8)
    return cv2.resize(blobs, (width, height), interpolation=cv2.INTER_CUBIC)


def moving(image: Image, frames: int, step: Callable[[int], Any]) -> Iterator[Image]:
    """The picture under a 2x3 matrix for each frame: the way its pixels go."""
    height, width = image.shape[:2]
    for n in range(frames):
        yield cv2.warpAffine(image, np.float32(step(n)), (width, height), borderMode=cv2.BORDER_REFLECT)


def panning(image: Image, frames: int, right: float, down: float = 0.0) -> Iterator[Image]:
    """The picture slides by so many pixels a frame."""
    return moving(image, frames, lambda n: [[1, 0, right * n], [0, 1, down * n]])


def growing(image: Image, frames: int, rate: float) -> Iterator[Image]:
    """The picture grows around its middle, by a factor of `rate` a frame."""
    height, width = image.shape[:2]
    return moving(image, frames, lambda n: cv2.getRotationMatrix2D((width / 2, height / 2), 0, rate**n))


def captioned(image: Image, text: str, scale: float = 1.2) -> Image:
    """White text with a dark outline near the lower edge."""
    drawn = image.copy()
    at = (40, image.shape[0] - 40)
    for colour, thickness in (((0, 0, 0), 8), ((255, 255, 255), 2)):
        cv2.putText(drawn, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, colour, thickness, cv2.LINE_AA)
    return drawn


def real_videos() -> list[Path]:
    """Those of REAL that are there."""
    return [VIDEOS / name for name in REAL if (VIDEOS / name).is_file()]
