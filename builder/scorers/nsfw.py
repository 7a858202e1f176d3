"""NSFW: how likely a clip shows nudity or pornography."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from numpy.typing import NDArray
from pydantic import Field

from builder.pretrained.open_nsfw import SHA256, OpenNSFW
from builder.records import Score
from builder.stage import Resources, execution, settings
from builder.stages.score import FrameScorer


@dataclass(frozen=True, slots=True)
class NsfwScore(Score):
    """From frames of the strip.

    Attributes:
        worst: probability of the frame that is least safe for work, 0 safe ... 1 not. Its makers call what is below
            0.2 safe and above 0.8 not safe; in between it is often wrong: bare skin, faces close up and drawings of
            ordinary footage reach 0.4.
        mean: mean probability over the frames, 0 ... 1.
    """

    worst: float
    mean: float


@settings
class Nsfw(FrameScorer[NsfwScore]):
    """Yahoo's Open NSFW classifier (ResNet-50 1by2, 2016) on `frames_per_clip` frames: off unless asked for.

    About 105 ms a clip on one core. A batch is no faster there, and its values are the same to the last bit.
    """

    plugin: ClassVar[str] = "nsfw"
    writes: ClassVar[type[NsfwScore]] = NsfwScore
    needs: ClassVar[Resources] = Resources(memory_bytes=1 << 30)

    frames_per_clip: Annotated[int, Field(ge=1, le=3)] = 3
    batch_size: Annotated[int, Field(ge=1)] = execution(default=8)

    def identity(self) -> Mapping[str, str]:
        return {"weights": SHA256}

    def setup(self) -> None:
        vars(self)["_network"] = OpenNSFW(self.context.device)

    def close(self) -> None:
        vars(self).pop("_network", None)

    def look(self, images: Sequence[NDArray[Any]]) -> Sequence[float]:
        network: OpenNSFW = vars(self)["_network"]
        return network(images)

    def sum_up(self, clip_id: str, values: Sequence[float]) -> NsfwScore:
        return NsfwScore(clip_id, worst=max(values), mean=sum(values) / len(values))
