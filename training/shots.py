"""Single shots as they might have been filmed: real footage, moved, graded, disturbed. None holds a transition.

Everything happens on small pictures (96x54 in, 48x27 out, float RGB 0..255): what a transition does to a picture is
linear, so it does the same to its thumbnail, and a thousand made videos take minutes.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.float32]  # (n, 27, 48, 3)
Rng = np.random.Generator
WIDE, HIGH = 96, 54  # of the footage
WIDTH, HEIGHT = 48, 27  # of a thumbnail
LEAST, LONGEST = 24, 900  # frames


@dataclass(frozen=True)
class Footage:
    """Videos of one shot each, uint8 (n, 54, 96, 3); long ones are taken more often, but not in proportion."""

    videos: list[NDArray[np.uint8]]

    def pick(self, rng: Rng) -> int:
        share = np.sqrt([min(len(video), 600) for video in self.videos])
        return int(rng.choice(len(self.videos), p=share / share.sum()))

    def picture(self, rng: Rng) -> NDArray[np.uint8]:
        video = self.videos[self.pick(rng)]
        return video[int(rng.integers(len(video)))]


def chance(rng: Rng, share: float) -> bool:
    return bool(rng.random() < share)


def shot(rng: Rng, footage: Footage, frames: int, not_from: int | None = None) -> tuple[Pictures, int]:
    """At most so many frames out of a video, and which one it was (another than `not_from`)."""
    which = next((w for w in (footage.pick(rng) for _ in range(10)) if w != not_from), 0)
    source = _taken(rng, footage.videos[which], frames)
    return _graded(rng, _framed(rng, source)), which


def natural(rng: Rng, footage: Footage) -> Pictures:
    """A whole video as it is."""
    video = footage.videos[footage.pick(rng)][:: int(rng.choice([1, 1, 2]))]
    first = int(rng.integers(0, len(video) - min(len(video), LONGEST) + 1))
    small = np.stack([_thumbnail(picture) for picture in video[first : first + LONGEST]])
    small = small[:, :, ::-1] if chance(rng, 0.5) else small
    small = np.clip(small * np.exp(rng.normal(0, 0.2)) + rng.normal(0, 10), 0, 255)
    return disturbed(rng, small, footage if chance(rng, 0.6) else None)


def _thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)


def _taken(rng: Rng, video: NDArray[np.uint8], frames: int) -> NDArray[np.uint8]:
    """Slow or fast motion, backwards, a still, or every frame twice, as low frame rates are."""
    stride = int(rng.choice([1, 2, 3, 4], p=[0.72, 0.16, 0.08, 0.04]))
    still, twice = chance(rng, 0.06), chance(rng, 0.06)
    if still:
        return np.repeat(video[None, int(rng.integers(len(video)))], frames, axis=0)
    if len(video) < frames * stride // (2 if twice else 1) + 1:
        stride = max(1, min(stride, (len(video) - 1) // frames))
    count = frames if twice else min(frames, max(8, (len(video) - 1) // stride))
    first = int(rng.integers(0, max(1, len(video) - count * stride)))
    index = np.minimum(first + np.arange(count) // (2 if twice else 1) * stride, len(video) - 1)
    return video[index[::-1] if chance(rng, 0.3) else index]


def _framed(rng: Rng, source: NDArray[np.uint8]) -> Pictures:
    """Through a still window, or one that pans, zooms, shakes or whips around; beyond the edges it is mirrored."""
    path = _path(rng, len(source)) if chance(rng, 0.45) else _fixed(rng, len(source))
    out = np.empty((len(source), HEIGHT, WIDTH, 3), np.float32)
    for i, (x, y, zoom) in enumerate(path):
        size = max(WIDTH, round(WIDE * zoom)), max(HEIGHT, round(HIGH * zoom))
        way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
        window = cv2.warpAffine(source[i], matrix, size, flags=way, borderMode=cv2.BORDER_REFLECT)
        out[i] = _thumbnail(window)
    return out


def _fixed(rng: Rng, frames: int) -> NDArray[np.float64]:
    zoom = 1.0 if chance(rng, 0.5) else rng.uniform(0.6, 1)
    return np.tile([rng.uniform(0, WIDE * (1 - zoom)), rng.uniform(0, HIGH * (1 - zoom)), zoom], (frames, 1))


def _path(rng: Rng, frames: int) -> NDArray[np.float64]:
    """x, y and zoom of the window for every frame."""
    zoom = rng.uniform(0.55, 1)
    zooms = np.linspace(zoom, np.clip(zoom * np.exp(rng.normal(0, 0.25)), 0.5, 1), frames)
    speed = rng.choice([0.1, 0.4, 1.2, 3.0, 8.0], p=[0.34, 0.28, 0.2, 0.12, 0.06])
    time, angle, start = np.arange(frames), rng.uniform(0, 2 * np.pi), rng.uniform(0, 1, 2)
    way = speed * time
    if speed > 2 and chance(rng, 0.6):  # a whip: it starts from rest and comes to rest
        way = np.cumsum(np.exp(-(((time - rng.uniform(0.2, 0.8) * frames) / rng.uniform(3, 12)) ** 2)))
        way = way * rng.uniform(3, 14)
    x, y = start[0] * WIDE + np.cos(angle) * way, start[1] * HIGH + np.sin(angle) * way * (0.5 if speed > 2 else 1)
    if chance(rng, 0.4):
        jolts = rng.normal(0, rng.uniform(0.2, 1.5), (2, frames + 2))
        x, y = (a + np.convolve(jolt, np.ones(3) / 3, "valid") for a, jolt in zip((x, y), jolts, strict=True))
    if speed <= 2:  # there and back within the picture
        x, y = _bounced(x, WIDE * (1 - zooms)), _bounced(y, HIGH * (1 - zooms))
    return np.stack([x, y, zooms], axis=1)


def _bounced(values: NDArray[np.float64], room: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.abs(values % (2 * room + 2e-6) - room)


def _graded(rng: Rng, pictures: Pictures) -> Pictures:
    if chance(rng, 0.5):
        pictures = pictures[:, :, ::-1]
    if chance(rng, 0.08):
        pictures = pictures[:, ::-1]
    pictures = pictures * np.exp(rng.normal(0, 0.2)) + rng.normal(0, 12)
    if chance(rng, 0.3):
        pictures = 255 * np.clip(pictures / 255, 0, 1) ** np.exp(rng.normal(0, 0.35))
    if chance(rng, 0.12):
        pictures = np.repeat(pictures.mean(axis=-1, keepdims=True), 3, axis=-1)
    elif chance(rng, 0.2):
        pictures = pictures * np.exp(rng.normal(0, 0.12, 3))
    if chance(rng, 0.05):
        pictures = pictures[..., rng.permutation(3)]
    return np.clip(pictures, 0, 255).astype(np.float32)


def disturbed(rng: Rng, pictures: Pictures, footage: Footage | None) -> Pictures:
    """What happens within shots and is no transition."""
    if len(pictures) >= 8 and chance(rng, 0.1):
        pictures = _strobe(rng, pictures)
    if footage is not None and len(pictures) >= 16 and chance(rng, 0.25):
        pictures = _passing(rng, pictures, footage)
    if len(pictures) >= 30 and chance(rng, 0.4):
        for _ in range(int(rng.integers(1, 3))):
            event = rng.choice(
                [_flash, _ramp, _exposure, _block, _drift, _overlay], p=[0.35, 0.25, 0.15, 0.1, 0.07, 0.08]
            )
            pictures = event(rng, pictures.copy(), int(rng.integers(10, len(pictures) - 10)))
    return np.clip(pictures, 0, 255).astype(np.float32)


def _lit(pictures: Pictures, gain: NDArray[np.float64]) -> Pictures:
    return np.clip(pictures * gain[:, None, None, None], 0, 255).astype(np.float32)


def _strobe(rng: Rng, pictures: Pictures) -> Pictures:
    """Flicker, explosions, stage light: every frame has a brightness of its own, and local flashes."""
    first = 0 if chance(rng, 0.5) else int(rng.integers(0, max(1, len(pictures) - 6)))
    last, out = min(len(pictures), first + int(rng.integers(5, 45))), pictures.copy()
    strength, keeps, gain = rng.uniform(0.05, 0.5), rng.uniform(0, 0.8), 0.0
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    for i in range(first, last):
        gain = keeps * gain + rng.normal(0, strength)
        out[i] = pictures[i] * np.exp(gain)
        if chance(rng, 0.25):
            y, x, radius = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH), rng.uniform(3, 22)
            spot = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * radius * radius))[..., None]
            out[i] += rng.uniform(60, 255) * spot * (np.array([1, 0.9, 0.7]) if chance(rng, 0.6) else 1)
    return np.clip(out, 0, 255)


def _passing(rng: Rng, pictures: Pictures, footage: Footage) -> Pictures:
    """Something with a texture of its own moves through the picture, near or far; or the camera slides past a wall."""
    wall = chance(rng, 0.22)
    scale = (2.4 if wall else rng.choice([0.25, 0.5, 0.9, 1.6], p=[0.25, 0.3, 0.25, 0.2])) * np.exp(rng.normal(0, 0.2))
    size = max(4, int(WIDTH * scale * rng.uniform(0.5, 1))), max(4, int(HEIGHT * scale * rng.uniform(0.7, 1.3)))
    texture = footage.picture(rng).astype(np.float32) * np.exp(rng.normal(0, 0.3))
    texture = cv2.GaussianBlur(texture, (0, 0), rng.uniform(2, 12)) if wall and chance(rng, 0.7) else texture
    thing = np.clip(cv2.resize(texture, size, interpolation=cv2.INTER_AREA), 0, 255)
    across, down = (np.arange(n) / n - 0.5 + 0.5 / n for n in size)
    round_ = across[None] ** 2 + down[:, None] ** 2 < 0.25
    mask = round_.astype(np.float32) if chance(rng, 0.6) and not wall else np.ones(size[::-1], np.float32)
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.3, 1.5))
    out = pictures.copy()
    for i, x, y in _course(rng, len(pictures), size, slow=wall):
        matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
        cover = cv2.warpAffine(mask, matrix, (WIDTH, HEIGHT))[..., None]
        out[i] = out[i] * (1 - cover) + cv2.warpAffine(thing, matrix, (WIDTH, HEIGHT)) * cover
    return out


def _course(rng: Rng, frames: int, size: tuple[int, int], slow: bool) -> list[tuple[int, float, float]]:
    """Frame and place of something that comes in on one side and leaves on the other, or stays half-way."""
    steps = int(rng.choice([rng.integers(4, 14), rng.integers(14, 60), rng.integers(60, 200)], p=[0.35, 0.4, 0.25]))
    steps *= 2 if slow else 1
    angle = rng.choice([0, np.pi, np.pi / 2, -np.pi / 2, rng.uniform(0, 2 * np.pi)], p=[0.3, 0.3, 0.1, 0.1, 0.2])
    reach = (WIDTH + size[0]) / 2 * abs(np.cos(angle)) + (HEIGHT + size[1]) / 2 * abs(np.sin(angle))
    aside = rng.normal(0, 6)
    at = np.linspace(-1, 1, steps)
    at = np.minimum(at, 0) if chance(rng, 0.25) else at
    shaken = rng.normal(0, rng.uniform(0, 0.6), (2, steps))
    x = WIDTH / 2 + aside * abs(np.sin(angle)) + np.cos(angle) * reach * at + shaken[0] - size[0] / 2
    y = HEIGHT / 2 + aside * abs(np.cos(angle)) + np.sin(angle) * reach * at + shaken[1] - size[1] / 2
    first = int(rng.integers(-steps // 2, frames))
    return [(first + k, float(x[k]), float(y[k])) for k in range(steps) if 0 <= first + k < frames]


def _flash(rng: Rng, pictures: Pictures, at: int) -> Pictures:
    length, share = int(rng.integers(1, 5)), rng.uniform(0.3, 0.95)
    colour = np.full(3, 255.0) if chance(rng, 0.75) else rng.uniform(0, 255, 3) if chance(rng, 0.5) else np.zeros(3)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        if at > len(pictures) - 12:
            break
        fading = np.linspace(1, 0.4, length) if chance(rng, 0.4) else np.ones(length)
        weight = (share * fading)[:, None, None, None]
        pictures[at : at + length] = pictures[at : at + length] * (1 - weight) + colour * weight
        at += length + int(rng.integers(2, 8))
    return pictures


def _ramp(rng: Rng, pictures: Pictures, at: int) -> Pictures:
    """Brighter and brighter (or darker), then back at once, or as slowly."""
    gain = 1 + rng.uniform(0.02, 0.08) * rng.choice([1, -1], p=[0.75, 0.25]) * np.arange(1, rng.integers(4, 21))
    gain = np.concatenate([gain, gain[::-1]]) if chance(rng, 0.5) else gain
    gain = np.clip(gain, 0.25, 2.2)[: max(1, len(pictures) - 8 - at)]
    pictures[at : at + len(gain)] = _lit(pictures[at : at + len(gain)], gain)
    return pictures


def _exposure(rng: Rng, pictures: Pictures, at: int) -> Pictures:
    return _lit(pictures, _gain(len(pictures), at, int(rng.integers(2, 14)), np.exp(rng.normal(0, 0.15))))


def _drift(rng: Rng, pictures: Pictures, at: int) -> Pictures:
    gain = _gain(len(pictures), at, int(rng.integers(20, 90)), np.exp(rng.normal(0, 0.35)))
    if chance(rng, 0.5):
        return _lit(pictures, gain)
    return np.clip(pictures + ((gain - 1) * 80)[:, None, None, None], 0, 255)


def _gain(frames: int, at: int, length: int, end: float) -> NDArray[np.float64]:
    return np.interp(np.arange(frames), [at, at + length], [1, end])


def _block(rng: Rng, pictures: Pictures, at: int) -> Pictures:
    """A plain block crosses."""
    wide, high = int(rng.integers(6, 26)), int(rng.integers(8, HEIGHT))
    top, steps = int(rng.integers(0, HEIGHT - high + 1)), int(rng.integers(4, 16))
    colour = rng.uniform(0, 255, 3) + rng.normal(0, 15, (high, wide, 3))
    for i, left in enumerate(np.linspace(-wide, WIDTH, steps).astype(int)[: len(pictures) - at]):
        begin, end = max(0, left), min(WIDTH, left + wide)
        if end > begin:
            pictures[at + i, top : top + high, begin:end] = colour[:, : end - begin]
    return pictures


def _overlay(rng: Rng, pictures: Pictures, at: int) -> Pictures:
    """Text appears for a while."""
    high, wide = int(rng.integers(2, 7)), int(rng.integers(8, 40))
    top, left = int(rng.integers(0, HEIGHT - high)), int(rng.integers(0, WIDTH - wide))
    letters = 255 * rng.integers(0, 2, (high, wide, 1))
    box = pictures[at : at + int(rng.integers(10, 80)), top : top + high, left : left + wide]
    box[:] = box * 0.3 + letters * 0.7
    return pictures
