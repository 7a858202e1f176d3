"""Transformers: captions from any image-text-to-text model, by its Hub id or from a local folder."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from builder.captioning.asking import Asking
from builder.captioning.local_model import LocalModel, Pace
from builder.errors import ConfigError
from builder.pretrained.hub import resolve
from builder.pretrained.remote_code import pinned
from builder.pretrained.vision_language import Wanted, load
from builder.stage import Resources, execution, settings

Memory = Annotated[str, Field(pattern=r"^(cpu|\d+)=\d+(\.\d+)?[KMG]i?B$")]


@settings
class Transformers(Asking):
    """One prompt and `frames_per_clip` frames of the clip, through the model's own chat template.

    `model` is a Hub id, or a folder (starting with /, ~ or .) with safetensors weights. Code that comes with a model
    runs only with `trust_remote_code` and a pinned `revision` (a commit; for a folder the hash that is asked for).
    Without a template the prompt is used as it is, after as many image tokens as there are frames unless it holds them.

    `batch_size` clips are handed over together, and looked at in groups of like length: as many `at_once` as the kind
    of device holds, or as many as that says. Texts of a batch differ from those of single clips in floating point only.
    `device_map` (accelerate's: auto, balanced, sequential) spreads a model that one device cannot hold over the `gpus`
    of a rank, and what they do not hold over memory and disk.
    """

    plugin: ClassVar[str] = "transformers"

    model: str = "llava-hf/llava-1.5-7b-hf"
    trust_remote_code: bool = False
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"  # auto: bfloat16 on a GPU, float32 on a CPU
    vision: str = ""  # where sight comes from, for a checkpoint in LLaVA's own layout that holds none
    batch_size: Annotated[int, Field(ge=1)] = execution(default=64)
    at_once: Annotated[int, Field(ge=0)] = execution(default=0)  # 0: found by itself
    cpu_threads: Annotated[int, Field(ge=1)] = execution(default=1)  # of each worker, where there is no GPU
    readers: Annotated[int, Field(ge=1)] = execution(default=4)  # threads that read frames ahead of the model
    static_cache: bool = execution(default=False)  # and compiled steps on a GPU
    device_map: Literal["", "auto", "balanced", "balanced_low_0", "sequential"] = execution(default="")
    gpus: Annotated[int, Field(ge=1)] = execution(default=1)  # of each rank
    max_memory: tuple[Memory, ...] = execution(default=())  # for device_map, of each device: ["0=60GB", "cpu=100GB"]

    def check(self) -> None:
        super().check()
        if self.gpus > 1 and not self.device_map:
            raise ConfigError('gpus: a model is on one GPU unless it is spread; set device_map = "auto" as well')

    @property
    def needs(self) -> Resources:  # type: ignore[override]  # as many GPUs as the model is spread over
        return Resources(gpus=float(self.gpus), memory_bytes=8 << 30)

    @property
    def model_revision(self) -> str:
        return pinned(self.model, self.revision, self.trust_remote_code)

    def identity(self) -> Mapping[str, str]:
        return {**super().identity(), **({"vision": resolve(self.vision, "main")} if self.vision else {})}

    def engine(self) -> LocalModel:
        memory = dict(told.split("=", 1) for told in self.max_memory)
        how = (self.dtype, self.trust_remote_code, self.device_map, memory, self.vision)
        wanted = Wanted(self.model, self.model_revision, *how)
        pace = Pace(self.at_once, self.cpu_threads, self.readers, self.static_cache)
        return LocalModel(load(wanted, self.context.device), pace)
