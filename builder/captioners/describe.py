"""Describe: a caption without a language model, put together by rules from what was measured. Fast on any CPU.

It says what frames, light, colours, motion and on-screen text were found to be, and what a small image classifier is
sure of. It knows nothing of actions or relations: for those use the `transformers` captioner.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from builder.flow import pair_flows
from builder.frames import Frames
from builder.pretrained import imagenet
from builder.records import Caption, Clip, Verdict
from builder.scorers.text import TextScore
from builder.stage import Item, settings
from builder.stages.caption import Captioner

LENGTH = (25, 60)  # words of a caption, whatever was found
ASPECTS = ((0.8, "portrait"), (0.97, "nearly square"), (1.03, "square"), (1.25, "nearly square"), (2, "landscape"),
           (1e9, "very wide"))  # fmt: skip
LIGHT = ((35, "very dark"), (75, "dark"), (150, "of medium brightness"), (200, "bright"), (256, "very bright"))
CONTRAST = ((30, "little contrast"), (60, "moderate contrast"), (256, "strong contrast"))
SPEED = ((0.3, "hardly any"), (2, "slow"), (8, "moderate"), (20, "fast"), (1e9, "very fast"))  # of motion.flow
SAMPLE = 200  # frames looked at for light and colours
FADE = 30  # luma levels between the first and the last third of a clip
HUES = ((8, "red"), (20, "orange"), (34, "yellow"), (80, "green"), (98, "teal"), (130, "blue"), (150, "purple"),
        (172, "pink"), (181, "red"))  # fmt: skip
COLOURFUL, DIM, LIGHT_GREY, BROWN = 55, 45, 200, 150  # saturation and values, 0 ... 255
MAIN, GREY = 0.12, 0.95  # shares of pixels: a colour to be named; a picture in black and white
MOVES = 1.0  # percent of the diagonal a second that the view must move, and half of all motion, to be called moving
ZOOMS, EXPLAINED = 3.0, 0.25  # percent a second that the picture must grow or shrink; share of movement that this is
LEAST_FRAMES = 2  # one does not move
WORD = 3  # letters that a line must have to be quoted
STEADY = 0.5  # net movement over length of path: below it, a moving view is unsteady


@settings
class Describe(Captioner):
    """A few plain sentences of 25 to 60 words. With `tags = "auto"` they name what the classifier is sure of.

    Sure means a probability of at least `least_tag`, the mean over `frames_per_clip` frames.
    """

    plugin: ClassVar[str] = "describe"
    version: ClassVar[int] = 2

    tags: Literal["auto", "off"] = "auto"
    least_tag: Annotated[float, Field(gt=0, le=1)] = 0.4
    frames_per_clip: Annotated[int, Field(ge=1)] = 3

    @property
    def joins(self) -> tuple[str, ...]:
        return (*super().joins, *(table for table in self.scores if table == "score.text"))

    def identity(self) -> Mapping[str, str]:
        return {"tags": imagenet.SHA256 if self._tagging else ""}

    @property
    def _tagging(self) -> bool:
        return self.tags == "auto" and imagenet.available()

    @cached_property
    def _classifier(self) -> imagenet.ImageNet:
        return imagenet.ImageNet()

    def each(self, item: Item[Verdict]) -> Sequence[Caption]:
        frames, clip = self.frames(item), item.get(Clip)
        seen = frames.images(self.frames_per_clip) if self._tagging else []
        names = self._classifier.tags(seen, self.least_tag) if seen else []
        thumbs = frames.thumbs()
        said = " ".join(filter(None, (looks(clip, thumbs), shows(names), moves(frames))))
        written = reads(item.find(TextScore), room=LENGTH[1] - len(said.split()))
        used = {"tags": imagenet.SHA256[:16] if self._tagging else "off", "least_tag": self.least_tag}
        return [
            Caption(
                item.id,
                captioner=self.label or self.plugin,
                text=f"{said} {written}".strip(),
                status="ok",
                model=self.plugin,
                revision=str(self.version),
                prompt="",
                frames_s=tuple(frames.times_s(self.frames_per_clip)) if seen else (),
                parameters=json.dumps(used),
                engine=self.plugin,
                language="en",
            )
        ]


def looks(clip: Clip, thumbs: NDArray[Any]) -> str:
    """Length, framing, light and colours."""
    thumbs = thumbs[:: -(-len(thumbs) // SAMPLE)]
    length = f"{clip.duration_s:.1f}" if clip.duration_s < 10 else f"{clip.duration_s:.0f}"  # noqa: PLR2004
    luma = cv2.cvtColor(thumbs.reshape(-1, thumbs.shape[2], 3), cv2.COLOR_RGB2GRAY).reshape(len(thumbs), -1)
    third = -(-len(luma) // 3)
    change = float(luma[-third:].mean() - luma[:third].mean())
    fading = "" if abs(change) < FADE else ", growing brighter" if change > 0 else ", growing darker"
    return (
        f"A {step(ASPECTS, clip.width / clip.height)} shot of about {length} seconds, "
        f"{step(LIGHT, luma.mean())} and with {step(CONTRAST, luma.std(axis=1).mean())}{fading}, {palette(thumbs)}."
    )


def palette(thumbs: NDArray[Any]) -> str:
    """The colours that fill most of the picture, largest first."""
    shares = colours(thumbs)
    greys = sum(shares.get(name, 0.0) for name in ("black", "grey", "white"))
    if greys >= GREY:
        return "in black, white or nearly colourless tones"
    largest = sorted(shares, key=lambda name: (-shares[name], name))
    named = [name for name in largest[:3] if shares[name] >= MAIN] or largest[:1]
    return f"mostly in {listed(named)}"


def colours(thumbs: NDArray[Any]) -> dict[str, float]:
    """Share of pixels by colour name."""
    hue, saturation, value = cv2.split(cv2.cvtColor(thumbs.reshape(-1, thumbs.shape[2], 3), cv2.COLOR_RGB2HSV))
    names = ["black", "grey", "white", "brown", *dict.fromkeys(name for _, name in HUES)]
    edges = np.array([edge for edge, _ in HUES])
    by_hue = np.array([names.index(name) for _, name in HUES])
    kind = by_hue[np.searchsorted(edges, hue, side="right")]
    kind = np.where((hue < HUES[1][0]) & (hue > 0) & (value < BROWN), names.index("brown"), kind)
    kind = np.where(saturation < COLOURFUL, np.where(value >= LIGHT_GREY, 2, 1), kind)
    kind = np.where(value < DIM, 0, kind)
    counts = np.bincount(kind.ravel(), minlength=len(names)) / kind.size
    return dict(zip(names, counts.tolist(), strict=True))


def shows(names: Sequence[str]) -> str:
    """What the classifier is sure of."""
    return f"It appears to show {article(names[0])}." if names else ""


def moves(frames: Frames) -> str:
    """How much moves, and whether the view itself does and which way."""
    if frames.clip.frames < LEAST_FRAMES:
        return "It is a single frame."
    _, pixels, unit = pair_flows(frames, pairs=24, gap_s=0.125)
    fields = pixels * unit
    speed = float(np.linalg.norm(fields, axis=-1).mean())
    amount = f"there is {step(SPEED, speed)} movement in the picture"
    view = [*panning(fields, speed), *zooming(fields, frames.clip)] or ["stays in place"]
    return f"The view {listed(view)}, and {amount}."


def panning(fields: NDArray[np.float64], speed: float) -> Iterator[str]:
    """Where the view turns or travels; nothing when it does not. All in percent of the diagonal a second."""
    steps = np.median(fields, axis=(1, 2))  # the way the picture goes, so the view goes the other way
    path = float(np.linalg.norm(steps, axis=1).mean())
    right, down = -steps.mean(axis=0)
    if path >= max(MOVES, speed / 2) and np.hypot(right, down) < STEADY * path:
        yield "is unsteady"
    elif path >= max(MOVES, speed / 2):
        sideways = abs(right) > abs(down)
        way = ("right" if right > 0 else "left") if sideways else ("down" if down > 0 else "up")
        yield f"{'pans' if sideways else 'tilts'} {way}"


def zooming(fields: NDArray[np.float64], clip: Clip) -> Iterator[str]:
    """Whether the picture grows or shrinks around its middle: least squares for each pair, then the median.

    Things that move inside a still picture may grow too; so the fit must explain a fair part of all movement.
    """
    high, wide = fields.shape[1:3]
    y, x = np.mgrid[:high, :wide]
    sizes = np.array([clip.width, clip.height]) / np.hypot(clip.width, clip.height)
    points = np.stack([(x - (wide - 1) / 2) / wide, (y - (high - 1) / 2) / high], axis=-1) * sizes
    fits, size, energy = (fields * points).sum(axis=(1, 2, 3)), (points**2).sum(), (fields**2).sum(axis=(1, 2, 3))
    growth = float(np.median(fits / size))
    explained = float(np.median(fits**2 / (size * np.maximum(energy, 1e-9))))
    if abs(growth) >= ZOOMS and explained >= EXPLAINED:
        yield "closes in" if growth > 0 else "draws back"


def reads(text: TextScore | None, room: int) -> str:
    """What is written on the picture, where it was looked for; quoted as far as `room` words allow."""
    if text is None:
        return ""
    if not text.persistence:
        return "No text is visible."
    if not text.lines and not text.overlay_area:
        return ""  # boxes in the scene that nobody has read may hold none
    said = f"Text is visible {'throughout' if text.persistence == 1 else 'for part of the time'}"
    lines = [line for line in text.lines if sum(c.isalpha() for c in line) >= WORD]
    for quoted in (lines[:2], lines[:1]):
        longer = f"{said}, reading {listed([f'“{line}”' for line in quoted])}." if quoted else f"{said}."
        if len(longer.split()) <= room:
            return longer
    return f"{said}."


def step(scale: Sequence[tuple[float, str]], value: float) -> str:
    """The word of the first step that is above the value."""
    return next(word for limit, word in scale if value < limit)


def listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def article(name: str) -> str:
    plural = name.endswith("s") and not name.endswith(("ss", "us"))
    return name if plural else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
