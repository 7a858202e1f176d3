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

from builder.models import imagenet
from builder.records import Caption, Clip, Verdict
from builder.scorers.motion import LEAST_FRAMES, pair_flows
from builder.scorers.text import TextScore
from builder.stage import Item, settings
from builder.stages.caption import Captioner

ASPECTS = ((0.8, "portrait"), (1.25, "square"), (2.0, "landscape"), (99.0, "very wide"))
LIGHT = ((35, "very dark"), (75, "dark"), (115, "softly lit"), (170, "well lit"), (256, "very bright"))
CONTRAST = ((30, "little contrast"), (60, "moderate contrast"), (256, "strong contrast"))
SPEED = ((0.3, "hardly any"), (2, "slow"), (8, "moderate"), (20, "fast"), (1e9, "very fast"))  # of motion.flow
FADE = 30  # luma levels between the first and the last third of a clip
HUES = ((8, "red"), (20, "orange"), (34, "yellow"), (80, "green"), (98, "teal"), (130, "blue"), (150, "purple"),
        (172, "pink"), (181, "red"))  # fmt: skip
COLOURFUL, DIM, LIGHT_GREY, BROWN = 55, 45, 200, 150  # saturation and values, 0 ... 255
MAIN, GREY = 0.12, 0.95  # shares of pixels: a colour to be named; a picture in black and white
MOVES = 1.0  # percent of the diagonal a second that the view must move, and half of all motion, to be called moving
STEADY = 0.5  # net movement over length of path: below it, a moving view is unsteady


@settings
class Describe(Captioner):
    """A few plain sentences of 25 to 60 words. With `tags = "auto"` they name what the classifier is sure of."""

    plugin: ClassVar[str] = "describe"

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
        said = [looks(clip, thumbs), shows(names), moves(clip, thumbs), reads(item.find(TextScore))]
        used = {"tags": imagenet.SHA256[:16] if self._tagging else "off", "least_tag": self.least_tag}
        return [
            Caption(
                item.id,
                captioner=self.label or self.plugin,
                text=" ".join(sentence for sentence in said if sentence),
                status="ok",
                model=self.plugin,
                revision=str(self.version),
                prompt="",
                frames_s=tuple(frames.times_s(self.frames_per_clip)) if seen else (),
                parameters=json.dumps(used),
            )
        ]


def looks(clip: Clip, thumbs: NDArray[Any]) -> str:
    """Length, framing, light and colours."""
    length = f"{clip.duration_s:.1f}" if clip.duration_s < 10 else f"{clip.duration_s:.0f}"  # noqa: PLR2004
    luma = cv2.cvtColor(thumbs.reshape(-1, thumbs.shape[2], 3), cv2.COLOR_RGB2GRAY).reshape(len(thumbs), -1)
    third = -(-len(luma) // 3)
    change = float(luma[-third:].mean() - luma[:third].mean())
    fading = "" if abs(change) < FADE else ", growing brighter" if change > 0 else ", growing darker"
    return (
        f"A {step(ASPECTS, clip.width / clip.height)} shot of about {length} seconds, "
        f"{step(LIGHT, luma.mean())} and with {step(CONTRAST, luma.std(axis=1).mean())}{fading}, "
        f"{palette(thumbs)}."
    )


def palette(thumbs: NDArray[Any]) -> str:
    """The colours that fill most of the picture, largest first."""
    shares = colours(thumbs)
    greys = sum(shares.get(name, 0.0) for name in ("black", "grey", "white"))
    if greys >= GREY:
        return "in black, grey and white tones"
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
    return f"It appears to show {listed([article(name) for name in names[:2]])}." if names else ""


def moves(clip: Clip, thumbs: NDArray[Any]) -> str:
    """How much moves, and whether the view itself does and which way."""
    if len(thumbs) < LEAST_FRAMES:
        return "It is a single frame."
    fields = pair_flows(thumbs, clip, pairs=24, gap_s=0.125)
    speed = float(np.linalg.norm(fields, axis=-1).mean())
    amount = f"there is {step(SPEED, speed)} movement in the picture"
    view = "; ".join(directions(fields, speed))
    return f"The view {view}, and {amount}." if view else f"The view stays in place, and {amount}."


def directions(fields: NDArray[np.float64], speed: float) -> Iterator[str]:
    """What the view does; nothing when it stays in place. Fields are in percent of the diagonal a second."""
    steps = np.median(fields, axis=(1, 2))  # the way the picture goes, so the view goes the other way
    path = float(np.linalg.norm(steps, axis=1).mean())
    right, down = -steps.mean(axis=0)
    growth = float(np.median(zoom(fields)))
    if path >= max(MOVES, speed / 2) and np.hypot(right, down) < STEADY * path:
        yield "is unsteady"
    elif path >= max(MOVES, speed / 2):
        sideways = abs(right) > abs(down)
        way = ("right" if right > 0 else "left") if sideways else ("down" if down > 0 else "up")
        yield f"{'pans' if sideways else 'tilts'} {way}"
    if abs(growth) >= 2 * MOVES:
        yield "closes in" if growth > 0 else "draws back"


def zoom(fields: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each pair: how fast the picture grows, percent a second, by least squares around the middle."""
    high, wide = fields.shape[1:3]
    y, x = np.mgrid[:high, :wide]
    points = np.stack([(x - (wide - 1) / 2) / wide, (y - (high - 1) / 2) / high], axis=-1)
    growth: NDArray[np.float64] = (fields * points).sum(axis=(1, 2, 3)) / (points**2).sum()
    return growth


def reads(text: TextScore | None) -> str:
    """What is written on the picture, where it was looked for."""
    if text is None:
        return ""
    if not text.persistence:
        return "No text is visible."
    quoted = [f"“{line}”" for line in text.lines if sum(c.isalpha() for c in line) >= 3][:2]  # noqa: PLR2004
    when = "throughout" if text.persistence == 1 else "for part of the time"
    return f"Text is visible {when}{', reading ' + listed(quoted) if quoted else ''}."


def step(scale: Sequence[tuple[float, str]], value: float) -> str:
    """The word of the first step that is above the value."""
    return next(word for limit, word in scale if value < limit)


def listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def article(name: str) -> str:
    plural = name.endswith("s") and not name.endswith(("ss", "us"))
    return name if plural else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
