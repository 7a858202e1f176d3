"""Make what near-duplicates are measured on: altered copies of real videos, and cards that are no copies of each other.

    python benchmarks/duplicate_corpus.py copies OUT VIDEO ...    needs ffmpeg; OUT/NAME__grey.mp4 and so on
    python benchmarks/duplicate_corpus.py cards OUT.mp4 --count 1000

Of each video `--seconds` from `--start` on are copied, at most 480 pixels wide. Cards are one video of equally long
scenes: black, one colour, fades of it, and titles of random words on one colour or (a third) on a gradient or a
vignette, some fading in, some rolling up.
"""

import argparse
import random
import string
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
KINDS = ("black", "flat", "flat", "fade", "fade", "title", "title", "title", "title", "title")
CARD_FRAMES, CARD_FPS, CARD_SIZE = 20, 10, (480, 270)
NARROW = "scale='min(480,iw)':-2"
SEPIA = "colorchannelmixer=.393:.769:.189:0:.349:.686:.168:0:.272:.534:.131"
LOGO = "drawbox=x=iw*{x}:y=ih*{y}:w=iw*.16:h=ih*.1:color=white@.9:t=fill,"
LOGO += "drawbox=x=iw*({x}+.03):y=ih*({y}+.02):w=iw*.1:h=ih*.06:color=red:t=fill"
ALTERED = {
    "plain": "",
    "crf35": "",
    "half": "scale=trunc(iw/4)*2:-2",
    "crop5": "crop=trunc(iw*.475)*2:trunc(ih*.475)*2",
    "crop10": "crop=trunc(iw*.45)*2:trunc(ih*.45)*2",
    "logo": LOGO.format(x=".8", y=".04"),
    "logo_left": LOGO.format(x=".04", y=".86"),
    "subtitle": "drawbox=x=iw*.2:y=ih*.86:w=iw*.6:h=ih*.06:color=white:t=fill",
    "grey": "hue=s=0",
    "sepia": SEPIA,
    "bright": "lutyuv=y='clip(val*1.1,0,255)'",
    "letterbox": "pad=iw:trunc(ih*.625)*2:0:(oh-ih)/2",
    "pillarbox": "pad=trunc(iw*.625)*2:ih:(ow-iw)/2:0",
    "fps15": "fps=15",
    "faster": "fps=source_fps*1.2",
    "start10": "",
    "end10": "",
    "start30": "",
    "end30": "",
    "both30": "",
    "mirror": "hflip",
}
CUT = {"start10": (0.1, 0), "end10": (0, 0.1), "start30": (0.3, 0), "end30": (0, 0.3), "both30": (0.3, 0.3)}


def copies(video: Path, folder: Path, start_s: float, length_s: float) -> None:
    """Altered copies; those of a video that is shorter than asked for are as long as it."""
    stem = video.stem.replace(".", "-")
    plain = folder / f"{stem}__plain.mp4"
    encoded = ["-an", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-threads", "1", "-y"]
    run = ["ffmpeg", "-v", "error", "-threads", "1"]
    excerpt = ["-ss", str(start_s), "-i", str(video), "-t", str(length_s), "-vf", NARROW]
    subprocess.run([*run, *excerpt, *encoded, "-crf", "12", str(plain)], check=True)
    with av.open(str(plain)) as made:
        length_s = float(made.duration or 0) / av.time_base
    command = [*run, "-i", str(plain)]
    for name, way in list(ALTERED.items())[1:]:
        before, after = CUT.get(name, (0, 0))
        command += ["-ss", f"{before * length_s:.3f}", "-t", f"{(1 - before - after) * length_s:.3f}"]
        command += [*(["-vf", way] if way else []), *encoded, "-crf", "35" if name == "crf35" else "23"]
        command.append(str(folder / f"{stem}__{name}.mp4"))
    subprocess.run(command, check=True)


def cards(path: Path, count: int, seed: int = 1) -> None:
    """`count` scenes of CARD_FRAMES frames each, in one video."""
    rng = random.Random(seed)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=CARD_FPS, options={"crf": "23", "preset": "ultrafast"})
        stream.width, stream.height = CARD_SIZE
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, CARD_FPS)
        for number in range(count):
            for picture in scene(rng, number):
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())


def scene(rng: random.Random, number: int) -> Iterator[Picture]:
    noise = np.random.default_rng(number)
    kind, grain = KINDS[number % len(KINDS)], rng.choice((0.0, 0.0, 1.5))
    ground = [0, 0, 0] if kind == "black" else rng.choice(([0] * 3, [255] * 3, [rng.randrange(256) for _ in range(3)]))
    title = titled(rng, ground) if kind == "title" else None
    rise, fade = (rng.choice((0, 0, 4)), rng.choice((False, False, True))) if title is not None else (0, kind == "fade")
    for n in range(CARD_FRAMES):
        picture = np.full((CARD_SIZE[1], CARD_SIZE[0], 3), ground, np.float32)
        if title is not None:
            picture = np.roll(title, -rise * n, axis=0).astype(np.float32)
        share = min(1.0, n / (CARD_FRAMES * 0.6)) if fade else 1.0
        grained = picture * share + noise.normal(0, grain, picture.shape) if grain else picture * share
        yield np.clip(grained, 0, 255).astype(np.uint8)


def shade(rng: random.Random) -> NDArray[np.float32]:
    """What a ground is multiplied with, (height, width, 1): nothing for most."""
    across, down = np.meshgrid(np.linspace(-1, 1, CARD_SIZE[0]), np.linspace(-1, 1, CARD_SIZE[1]))
    ways = [np.ones_like(down)] * 4 + [0.7 + 0.3 * down, 1 - 0.5 * np.hypot(across, down) / np.sqrt(2)]
    return rng.choice(ways).astype(np.float32)[..., None]


def titled(rng: random.Random, ground: list[int]) -> Picture:
    """One to six lines in the middle, of one font and size."""
    picture = (shade(rng) * np.array(ground, np.float32)).astype(np.uint8)
    font = rng.choice((cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX))
    scale, lines = rng.uniform(0.5, 2.2), rng.randint(1, 6)
    ink = [0] * 3 if sum(ground) > 3 * 128 else rng.choice(([255] * 3, [255, 220, 80]))
    for n in range(lines):
        text = "".join(rng.choices(string.ascii_letters + "  ", k=rng.randint(4, 22))).strip()
        (wide, high), _ = cv2.getTextSize(text, font, scale, 2)
        across = (CARD_SIZE[0] - wide) // 2
        down = CARD_SIZE[1] // 2 + int((n - lines / 2 + 0.8) * high * 1.7)
        cv2.putText(picture, text, (across, down), font, scale, ink, rng.choice((1, 2, 4)), cv2.LINE_AA)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=("copies", "cards"))
    parser.add_argument("out", type=Path)
    parser.add_argument("videos", type=Path, nargs="*")
    parser.add_argument("--start", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--count", type=int, default=1000)
    given = parser.parse_args()
    if given.kind == "cards":
        cards(given.out, given.count)
    else:
        given.out.mkdir(parents=True, exist_ok=True)
        for video in given.videos:
            copies(video, given.out, given.start, given.seconds)


if __name__ == "__main__":
    main()
