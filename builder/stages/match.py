"""Match: how well each caption fits what its clip shows, by a network that puts pictures and text into one space."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from builder.errors import ItemError
from builder.frames import Frames
from builder.records import Caption, Clip, Failure, Scanned, Score
from builder.stage import Item, Resources, Stage, execution, settings


@dataclass(frozen=True, slots=True)
class MatchScore(Score):
    """Of one caption of a clip; higher is better.

    Attributes:
        similarity: mean cosine between frames and caption (CLIPScore without its factor, Hessel et al., EMNLP 2021),
            -1 ... 1, weighted by tokens where the caption was read in pieces. How high is good is the model's:
            0.2 ... 0.35 for captions that fit with CLIP, lower with SigLIP.
        pieces: into how many pieces the caption was cut, between sentences, to fit the model's context; 1 for most.
    """

    similarity: float
    pieces: float


@settings
class Match(Stage[Caption, MatchScore]):
    """The similarity of each caption to `frames_per_clip` frames by `model`: the Hub id or folder of a CLIP or SigLIP.

    There is no such stage while `model` is empty. Nothing of a caption is left out: one that is longer than the model
    can read is read in pieces. `[select] keep` names the values as `match-<caption>.similarity`. On one core a clip
    takes 0.6 s with CLIP ViT-B/32 and 6.5 s with ViT-L/14.
    """

    name: ClassVar[str] = "match"
    writes: ClassVar[type[MatchScore]] = MatchScore
    grain: ClassVar[str] = "clip"
    needs: ClassVar[Resources] = Resources(gpus=1.0, memory_bytes=4 << 30)

    model: str = ""
    revision: str = "main"
    frames_per_clip: Annotated[int, Field(ge=1, le=3)] = 3
    batch_size: Annotated[int, Field(ge=1)] = execution(default=16)
    label: str = ""  # set by the pipeline: the caption table that is looked at

    @property
    def reads(self) -> str:  # type: ignore[override]  # one for each caption table
        return f"caption.{self.label}"

    @property
    def table(self) -> str:
        """A table of scores as any other, so that its values are `match-<caption>.<field>`."""
        return f"score.match-{self.label}"

    @property
    def joins(self) -> tuple[str, ...]:
        return ("split", "scan")

    def identity(self) -> Mapping[str, str]:
        from builder.pretrained.hub import resolve

        return {"revision": resolve(self.model, self.revision)}

    def setup(self) -> None:
        from builder.pretrained.two_towers import TwoTowers

        vars(self)["_towers"] = TwoTowers(self.model, self.revision, self.context.device)

    def close(self) -> None:
        vars(self).pop("_towers", None)

    def batch(self, items: Sequence[Item[Caption]]) -> list[Sequence[MatchScore] | Failure]:
        shown, failed = self.sift(items, self._shown)
        texts = [item.row.text for item in items if item.id in shown]
        towers = vars(self)["_towers"]
        vectors = towers([image for images in shown.values() for image in images]) if shown else np.zeros((0, 1))
        ends = np.cumsum([len(images) for images in shown.values()])
        seen = dict(zip(shown, np.split(vectors, ends[:-1]), strict=True)) if shown else {}
        read = dict(zip(shown, towers.read(texts), strict=True))
        return [
            failed.get(i.id) or self.answer(i.id, partial(self._score, i.id, seen[i.id], read[i.id])) for i in items
        ]

    def _shown(self, item: Item[Caption]) -> list[NDArray[Any]]:
        if not item.row.text.strip():
            raise ItemError("no_text", f"the caption {self.label} of {item.id} is empty, so it matches nothing")
        return Frames(item.get(Clip), item.get(Scanned), self.context.storage).images(self.frames_per_clip)

    def _score(self, clip_id: str, frames: NDArray[np.float32], pieces: Sequence[Any]) -> Sequence[MatchScore]:
        text, tokens = np.stack([p.vector for p in pieces]).astype(np.float64), [float(p.tokens) for p in pieces]
        similarity = np.average((frames.astype(np.float64) @ text.T).mean(axis=0), weights=tokens)
        if not np.isfinite(similarity):
            raise ItemError("not_finite", f"{self.table}: similarity of {clip_id} is not a finite number")
        return [MatchScore(clip_id, similarity=float(similarity), pieces=float(len(pieces)))]
