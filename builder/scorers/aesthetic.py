"""Aesthetic: how much people would like the look of a clip, as a predictor learned it from their ratings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from builder.errors import RunError
from builder.pretrained import image_encoder
from builder.pretrained.aesthetic_head import AestheticHead, locate
from builder.records import Score
from builder.stage import Resources, execution, settings
from builder.stages.score import FrameScorer


@dataclass(frozen=True, slots=True)
class AestheticScore(Score):
    """From frames of the strip. What the numbers mean is the head's: LAION's give 1 ugly ... 10 beautiful.

    Attributes:
        mean: mean over the frames. With sac+logos+ava1 most footage is between 3.5 and 6.5; published pipelines keep
            from 4.5 (Open-Sora on Panda-70M), 4.75 (Open-Sora-Plan 1.3) or 5 on.
        least: of the frame that pleases least; at most `mean`.
    """

    mean: float
    least: float


@settings
class Aesthetic(FrameScorer[AestheticScore]):
    """A head of linear layers over the image features of `model`, on `frames_per_clip` frames. Off unless asked for.

    `model` is the Hub id or folder of the encoder that the head was trained on: CLIP ViT-L/14 for LAION's heads,
    google/siglip-so400m-patch14-384 for aesthetic-predictor-v2-5. `head` is a Hub id, a .safetensors file, or a .pth
    file of tensors, which is read only if its sha256 is a known one or `head_sha256`. No package carries either.
    `activation` "relu" is for the heads named reluMSE. On one core a clip takes 0.5 s with CLIP ViT-B/32 and 6 s with
    ViT-L/14: a GPU is the place for it.
    """

    plugin: ClassVar[str] = "aesthetic"
    writes: ClassVar[type[AestheticScore]] = AestheticScore
    needs: ClassVar[Resources] = Resources(gpus=1.0, memory_bytes=4 << 30)

    model: str = "openai/clip-vit-large-patch14"
    revision: str = "main"
    head: str = ""
    head_revision: str = "main"
    head_sha256: str = ""
    activation: Literal["none", "relu"] = "none"
    frames_per_clip: Annotated[int, Field(ge=1, le=3)] = 3
    batch_size: Annotated[int, Field(ge=1)] = execution(default=16)

    def identity(self) -> Mapping[str, str]:
        _, head = locate(self.head, self.head_revision, self.head_sha256)
        return {"encoder": image_encoder.identity(self.model, self.revision), "head": head}

    def setup(self) -> None:
        path, _ = locate(self.head, self.head_revision, self.head_sha256)
        head = AestheticHead(path, rectified=self.activation == "relu")
        encoder = image_encoder.load(self.model, self.revision, self.context.device)
        size = encoder([np.zeros((32, 32, 3), np.uint8)]).shape[1]
        if size != head.size:
            sizes = f"{self.model} gives {size} numbers a picture and {self.head} takes {head.size}"
            raise RunError(f"{sizes}; `model` must be the encoder that the head was trained on")
        vars(self)["_networks"] = encoder, head

    def close(self) -> None:
        vars(self).pop("_networks", None)

    def look(self, images: Sequence[NDArray[Any]]) -> Sequence[float]:
        encoder, head = vars(self)["_networks"]
        return list(head(list(encoder(images))))

    def sum_up(self, clip_id: str, values: Sequence[float]) -> AestheticScore:
        return AestheticScore(clip_id, mean=sum(values) / len(values), least=min(values))
