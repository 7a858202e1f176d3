"""Make clips whose on-screen text is known: drawn over real footage as an overlay, or put into the scene as a sign.

    python benchmarks/text_corpus.py OUT --fonts /usr/share/fonts --seed 1 --count 100 SHOT.mp4 [SHOT2.mp4:120:300 ...]

A SHOT must be free of text and hold one shot, or name frames first:end of one. Each NAME.mp4 gets a NAME.json: `kind`
(one of KINDS), `script`, `share` (font size over height), `font`, `shot`, `moves` (percent of the width that the
picture goes from first to last frame) and `text`. Overlays stay where they are on the screen, or roll; signs go with
the background: the camera's path is tracked over corners (Lucas-Kanade, RANSAC), and a virtual camera pans, sways or
zooms over footage from a tripod. `--still` leaves cameras alone. The same seed, files and fonts give the same clips.

Fonts are found below `--fonts` by the file names in text_corpus.toml; on Debian: fonts-dejavu-core fonts-liberation
fonts-noto-core fonts-wqy-microhei fonts-lohit-deva, and for `--held-out` (other typefaces) fonts-lato fonts-open-sans
fonts-roboto-unhinted fonts-wqy-zenhei fonts-hosny-amiri fonts-kacst. Needs Pillow with libraqm, as its wheels have.
"""

import argparse
import json
import random
import tomllib
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Picture = NDArray[np.uint8]
Matrix = NDArray[np.float64]
OVERLAYS = ("subtitle", "logo", "watermark", "title", "credits")
KINDS = (*OVERLAYS, "scene", "none")
FPS, SECONDS = 15, 3
SHORT_SIDES = (360, 480, 480, 720)
VISIBLE = 24  # levels that strokes must differ from what is behind them, on average
SHARES = {"scene": (0.04, 0.12)}
STYLES = {
    "scene": ["board", "board", "plain"],
    "watermark": ["plain", "outline"],
    "logo": ["plain", "shadow", "board"],
    "": ["outline", "shadow", "panel", "plain"],
}
DATA = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))  # typefaces and words


@dataclass
class Drawn:
    """Text as drawn: its colour, and how opaque each pixel is (0..1)."""

    colour: Picture
    alpha: NDArray[np.float32]

    def over(self, picture: Picture, x: int, y: int, opacity: float = 1.0) -> None:
        height, width = picture.shape[:2]
        top, left = max(0, y), max(0, x)
        bottom, right = min(height, y + self.alpha.shape[0]), min(width, x + self.alpha.shape[1])
        if bottom <= top or right <= left:
            return
        cut = slice(top - y, bottom - y), slice(left - x, right - x)
        share = (self.alpha[cut] * opacity)[..., None]
        behind = picture[top:bottom, left:right]
        behind[:] = np.rint(behind * (1 - share) + self.colour[cut] * share).astype(np.uint8)


def font_files(folder: Path, names: dict[str, list[str]]) -> dict[str, list[Path]]:
    there = {path.stem: path for path in sorted(folder.rglob("*")) if path.suffix in {".ttf", ".ttc", ".otf"}}
    return {script: [there[name] for name in wanted if name in there] for script, wanted in names.items()}


def drawn(text: str, font: Path, size: int, rng: random.Random, style: str) -> Drawn:
    """`style`: plain, outline, shadow, panel (a translucent box behind), or board (an opaque one)."""
    face = ImageFont.truetype(str(font), size)
    pad = max(3, size // 3)
    probe = ImageDraw.Draw(Image.new("L", (1, 1)))
    x0, y0, x1, y1 = (int(n) for n in probe.multiline_textbbox((0, 0), text, font=face, align="center"))
    canvas = Image.new("RGBA", (x1 - x0 + 2 * pad, y1 - y0 + 2 * pad))
    pen, at = ImageDraw.Draw(canvas), (pad - x0, pad - y0)
    light = rng.choice([(255, 255, 255), (255, 255, 255), (255, 235, 60), (235, 235, 235)])
    dark = rng.choice([(10, 10, 10), (20, 20, 90), (90, 10, 10)])
    if style in ("panel", "board"):
        boards = [(light, dark), (dark, light), ((30, 90, 40), light)]
        board, light = rng.choice(boards) if style == "board" else (dark, light)
        pen.rectangle((0, 0, *canvas.size), fill=(*board, 255 if style == "board" else rng.randint(110, 200)))
    if style == "shadow":
        pen.multiline_text((at[0] + max(1, size // 14), at[1] + max(1, size // 14)), text, (0, 0, 0, 200), face)
        canvas = canvas.filter(ImageFilter.GaussianBlur(max(0.5, size / 30)))
        pen = ImageDraw.Draw(canvas)
    stroke = max(1, size // 14) if style == "outline" else 0
    pen.multiline_text(at, text, (*light, 255), face, align="center", stroke_width=stroke, stroke_fill=(*dark, 255))
    pixels = np.asarray(canvas)
    return Drawn(pixels[..., :3].copy(), pixels[..., 3].astype(np.float32) / 255)


def footage(spec: str, rng: random.Random, short_side: int) -> list[Picture]:
    """SECONDS of a shot at FPS, scaled."""
    name, _, span = spec.partition(":")
    first, end = (int(n) for n in span.split(":")) if span else (0, 10**9)
    with av.open(name) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        step = max(1, round(float(stream.average_rate or 25) / FPS))
        end = min(end, stream.frames or end)
        wanted = FPS * SECONDS * step
        start = rng.randrange(first, max(first + 1, min(end, first + 150) - wanted))
        taken = []
        for number, frame in enumerate(container.decode(stream)):
            if number >= min(end, start + wanted):
                break
            if number >= start and (number - start) % step == 0:
                scale = short_side / min(frame.width, frame.height)
                size = (2 * round(frame.width * scale / 2), 2 * round(frame.height * scale / 2))
                taken.append(cv2.resize(frame.to_ndarray(format="rgb24"), size, interpolation=cv2.INTER_AREA))
    return taken


def tracked(pictures: list[Picture]) -> list[Matrix]:
    """Where the first picture's background lies in each picture (3x3), by corners that agree on one similarity."""
    greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    paths: list[Matrix] = [np.eye(3)]
    for before, now in pairwise(greys):
        step = np.eye(3)
        corners = cv2.goodFeaturesToTrack(before, 300, 0.01, 8)
        if corners is not None and len(corners) >= 8:
            found, ok, _ = cv2.calcOpticalFlowPyrLK(before, now, corners, None)
            keep = ok.ravel() == 1
            gone = np.linalg.norm((found - corners)[keep].reshape(-1, 2), axis=1)
            if (gone < 0.25).mean() > 0.3:  # a tripod: what moves is in the scene
                paths.append(paths[-1])
                continue
            fit, _ = cv2.estimateAffinePartial2D(corners[keep], found[keep], ransacReprojThreshold=1.5)
            step[:2] = fit if fit is not None else step[:2]
        paths.append(step @ paths[-1])
    return paths


def camera(rng: random.Random, frames: int, width: int, height: int, still: bool) -> list[Matrix]:
    """A virtual camera that sees three quarters of the picture and pans, sways or zooms; or sees all, and stays."""
    kind = "still" if still else rng.choice(["pan", "pan", "sway", "zoom", "still"])
    zoom, reach = 1.33, 0.25
    ways: list[Matrix] = []
    dx, dy = rng.uniform(-1, 1), rng.uniform(-0.6, 0.6)
    sway = [rng.uniform(0.5, 1.5) for _ in range(4)]
    for n in range(frames):
        t = n / max(1, frames - 1)
        x, y, z = 0.5, 0.5, zoom
        if kind == "pan":
            x, y = 0.5 + dx * (t - 0.5), 0.5 + dy * (t - 0.5)
        elif kind == "sway":
            x, y = 0.5 + 0.3 * np.sin(6 * sway[0] * t + sway[1]), 0.5 + 0.3 * np.sin(6 * sway[2] * t + sway[3])
        elif kind == "zoom":
            z = 1.1 + 0.35 * (t if dx > 0 else 1 - t)
        left, top = (
            (x * reach * width, y * reach * height)
            if kind != "zoom"
            else ((1 - 1 / z) / 2 * width, (1 - 1 / z) / 2 * height)
        )
        ways.append(np.eye(3) if kind == "still" else np.array([[z, 0, -z * left], [0, z, -z * top], [0, 0, 1.0]]))
    return ways


def seen(pictures: list[Picture], ways: list[Matrix]) -> list[Picture]:
    height, width = pictures[0].shape[:2]
    return [
        cv2.warpPerspective(p, m, (width, height), flags=cv2.INTER_AREA) for p, m in zip(pictures, ways, strict=True)
    ]


def put_overlay(frames: list[Picture], kind: str, text: Drawn, rng: random.Random) -> None:
    """Into the frames themselves, where such text goes."""
    (height, width), (high, wide) = frames[0].shape[:2], text.alpha.shape
    margin, opacity = int(rng.uniform(0.02, 0.06) * height), 1.0
    x, y = (width - wide) // 2, height - high - margin
    if kind == "logo":
        x, y = rng.choice([margin, width - wide - margin]), rng.choice([margin, height - high - margin])
        opacity = rng.choice([1.0, 0.8, 0.6])
    elif kind == "watermark":
        x, y = rng.randint(0, max(0, width - wide)), rng.randint(0, max(0, height - high))
        opacity = rng.uniform(0.35, 0.55)
    elif kind == "title":
        x, y = rng.choice([x, width // 12]), rng.choice([(height - high) // 2, int(0.72 * height)])
    first, last = 0, len(frames)
    if kind in ("subtitle", "title") and rng.random() < 0.4:  # for part of the time
        first = rng.choice([0, len(frames) // 3])
        last = len(frames) if first else len(frames) * 2 // 3
    speed = rng.uniform(0.06, 0.14) * height / FPS
    sideways = kind == "credits" and high < 0.2 * height and rng.random() < 0.4
    for n in range(first, last):
        at = (x, y)
        if sideways:
            at = (int(width * 0.6 - 2 * speed * n), y)
        elif kind == "credits":
            at = (x, round(height * 0.75 - speed * n))
        text.over(frames[n], *at, opacity)


def put_sign(frames: list[Picture], text: Drawn, paths: list[Matrix], rng: random.Random) -> None:
    """A sign that is part of the scene: seen at an angle, lit as its surroundings, soft and noisy as the footage."""
    height, width = frames[0].shape[:2]
    high, wide = text.alpha.shape
    x, y = rng.uniform(0.15, 0.8) * width - wide / 2, rng.uniform(0.15, 0.7) * height - high / 2
    lean, skew = rng.uniform(-0.15, 0.15) * high, rng.uniform(-0.12, 0.12) * wide
    quad = np.float32([[x, y], [x + wide, y + skew / 2], [x + wide, y + high + skew / 2 + lean], [x, y + high]])
    middle = paths[len(paths) // 2]
    place = np.linalg.inv(middle) @ cv2.getPerspectiveTransform(
        np.float32([[0, 0], [wide, 0], [wide, high], [0, high]]), quad
    )
    shade, noise = rng.uniform(0.6, 1.0), np.random.default_rng(rng.randrange(1 << 30))
    for frame, path in zip(frames, paths, strict=True):
        way = path @ place
        colour = cv2.warpPerspective(text.colour, way, (width, height), flags=cv2.INTER_LINEAR)
        alpha = cv2.warpPerspective(text.alpha, way, (width, height), flags=cv2.INTER_LINEAR)
        colour, alpha = cv2.GaussianBlur(colour, (0, 0), 0.7), cv2.GaussianBlur(alpha, (0, 0), 0.7)[..., None]
        grain = noise.normal(0, 4, frame.shape)
        frame[:] = np.clip(frame * (1 - alpha) + (colour * shade + grain) * alpha, 0, 255).astype(np.uint8)


def wording(script: str, kind: str, rng: random.Random) -> str:
    lines = DATA["words"][script]
    count = {"credits": rng.randint(3, 6), "subtitle": rng.choice([1, 1, 2])}.get(kind, 1)
    return "\n".join(rng.sample(lines, min(count, len(lines))))


def clip(
    rng: random.Random, kind: str, shots: list[str], fonts: dict[str, list[Path]], still: bool
) -> tuple[list[Picture], dict[str, Any]] | None:
    """Frames and what is true of them; None when the text does not fit or cannot be seen."""
    shot, short = rng.choice(shots), rng.choice(SHORT_SIDES)
    pictures = footage(shot, rng, short)
    if len(pictures) < FPS:
        return None
    height, width = pictures[0].shape[:2]
    ways = camera(rng, len(pictures), width, height, still)
    paths = [way @ path @ np.linalg.inv(ways[0]) for way, path in zip(ways, tracked(pictures), strict=True)]
    frames, clean = seen(pictures, ways), seen(pictures, ways)
    moved = 100 * float(np.hypot(*(paths[-1] @ [width / 2, height / 2, 1] - [width / 2, height / 2, 1])[:2])) / width
    truth: dict[str, Any] = {"kind": kind, "shot": Path(shot).name, "moves": round(moved, 2), "height": height}
    if kind == "none":
        return frames, truth
    script = rng.choice(sorted(script for script, files in fonts.items() if files))
    font, share = rng.choice(fonts[script]), rng.uniform(*SHARES.get(kind, (0.02, 0.10)))
    style, words = rng.choice(STYLES.get(kind, STYLES[""])), wording(script, kind, rng)
    text = drawn(words, font, max(7, round(share * height)), rng, style)
    if text.alpha.shape[1] > 0.95 * width or text.alpha.shape[0] > 0.9 * height:
        return None
    put_sign(frames, text, paths, rng) if kind == "scene" else put_overlay(frames, kind, text, rng)
    truth |= {"script": script, "share": round(share, 4), "font": font.stem, "style": style, "text": words}
    return (frames, truth) if visible(frames, clean) else None


def visible(frames: list[Picture], clean: list[Picture]) -> bool:
    """Whether what was drawn differs enough from what is behind it, in most of the frames."""
    apart = [cv2.absdiff(a, b).max(axis=2) for a, b in zip(frames, clean, strict=True)]
    changes = [float(d[d > 8].mean()) if d.max() > 8 else 0.0 for d in apart]
    return sum(change >= VISIBLE for change in changes) >= len(frames) * 0.6


def write(path: Path, frames: list[Picture], crf: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": str(crf), "preset": "superfast"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("shots", nargs="+")
    parser.add_argument("--fonts", type=Path, default=Path("/usr/share/fonts"))
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--still", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    fonts = font_files(given.fonts, DATA["held_out" if given.held_out else "fonts"])
    print({script: [f.stem for f in files] for script, files in fonts.items()})
    for number in range(given.count):
        kind = given.kinds[number % len(given.kinds)]
        for attempt in range(20):
            rng = random.Random(f"{given.seed}-{number}-{attempt}")
            if found := clip(rng, kind, given.shots, fonts, given.still):
                path = given.out / f"{kind}-{given.seed}-{number:03d}.mp4"
                write(path, found[0], rng.choice([18, 23, 28]))
                path.with_suffix(".json").write_text(json.dumps(found[1], ensure_ascii=False) + "\n")
                break


if __name__ == "__main__":
    main()
