"""Loads models that write, most of them about pictures, with their processors, onto one device or several."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from builder.errors import RunError
from builder.pretrained import llava_checkpoint, remote_code
from builder.pretrained.hub import local_folder, missing
from builder.pretrained.processors import load_processor
from builder.stage import require

PICKLES = (".bin", ".pth", ".pt", ".ckpt")
CONVERT = (
    'python -c "import sys, torch, safetensors.torch as s; [s.save_file({k: v.clone() for k, v in torch.load(f, '
    "weights_only=True).items()}, f.rsplit('.', 1)[0] + '.safetensors') for f in sys.argv[1:]]\" FILES"
)


@dataclass(frozen=True)
class Wanted:
    """A model, and how it is to be loaded.

    `dtype` is a name of torch's or `auto`: bfloat16 on a GPU, float32 on a CPU. `spread` is accelerate's `device_map`
    ("" for one device), `memory` its `max_memory`. `vision` is where the sight of a checkpoint in LLaVA's own layout
    comes from, if not out of the checkpoint.
    """

    model: str
    revision: str
    dtype: str = "auto"
    trusted: bool = False
    spread: str = ""
    memory: Mapping[str, str] = field(default_factory=dict)
    vision: str = ""


@dataclass(frozen=True)
class Loaded:
    """Ready to be asked. `device` is where inputs go; on `disk` lies what of a spread model no device holds."""

    network: Any
    processor: Any
    device: str
    disk: TemporaryDirectory[str] | None


def load(wanted: Wanted, device: str) -> Loaded:
    """Raises RunError where the model is not at hand or cannot be used, and says what to do."""
    for module in ("torch", "transformers", *(("accelerate",) if wanted.spread else ())):
        require(module, "caption")
    from transformers.utils.logging import disable_progress_bar

    cast(Any, disable_progress_bar)()  # the run shows its own
    from safetensors import SafetensorError

    disk = TemporaryDirectory(prefix="osd-offload-") if wanted.spread else None
    how = placed(wanted, disk.name if disk else "") | {"dtype": dtype_of(wanted, device)}
    try:
        where = remote_code.where(wanted.model, wanted.revision, wanted.trusted)
        if settings := llava_checkpoint.settings_of(wanted.model, wanted.revision):
            folder = llava_checkpoint.fetched(wanted.model, wanted.revision)
            refuse_pickles(folder)
            network, processor = llava_checkpoint.load(folder, settings, wanted.vision, how)
        else:
            network = load_network(wanted, device, where | how)
            processor = load_processor(str(local_folder(wanted.model) or wanted.model), where)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        if disk:
            disk.cleanup()
        raise RunError(missing(wanted.model, wanted.revision, error)) from error
    network = network.eval() if wanted.spread else moved(network.eval(), wanted.model, device)
    return Loaded(network, processor, main_device(network, device), disk)


def moved(network: Any, model: str, device: str) -> Any:
    """Raises RunError where one device does not hold the model."""
    import torch

    try:
        return network.to(device)
    except torch.OutOfMemoryError as error:
        size = network.get_memory_footprint() / 1e9
        raise RunError(
            f'{model} takes {size:.1f} GB, which {device} has not free: set device_map = "auto" to spread it over the '
            "devices a worker sees (what none of them holds is read from the disk, slowly), or take a smaller one"
        ) from error


def load_network(wanted: Wanted, device: str, how: Mapping[str, Any]) -> Any:
    import transformers

    folder = local_folder(wanted.model)
    name = str(folder or wanted.model)
    if folder:
        refuse_pickles(folder)
    called = remote_code.registered(wanted.model, wanted.revision) if wanted.trusted else class_of(name, how)
    make = getattr(transformers, called).from_pretrained
    if flash_attention(device, how["dtype"]):
        try:
            return make(name, **how, use_safetensors=True, attn_implementation="flash_attention_2")
        except (ValueError, ImportError):
            pass  # not every model has it
    return make(name, **how, use_safetensors=True)  # PyTorch's own attention (SDPA) where the model has it


def class_of(name: str, how: Mapping[str, Any]) -> str:
    """The class that a model is loaded as: one for its type that only reads, else one that sees."""
    from transformers import AutoConfig
    from transformers.models.auto import modeling_auto

    known = cast(Any, modeling_auto)
    where = {key: how[key] for key in ("trust_remote_code", "revision") if key in how}
    kind = cast(Any, AutoConfig).from_pretrained(name, **where).model_type
    sees = kind in known.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    reads = kind in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    seeing, reading, _ = remote_code.AUTO
    return reading if reads and not sees else seeing


def flash_attention(device: str, dtype: Any) -> bool:
    import torch
    from transformers.utils.import_utils import is_flash_attn_2_available

    return torch.device(device).type == "cuda" and dtype != torch.float32 and bool(is_flash_attn_2_available())


def dtype_of(wanted: Wanted, device: str) -> Any:
    import torch

    if wanted.dtype != "auto":
        return getattr(torch, wanted.dtype)
    return torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16  # "cpu:0" is one too


def placed(wanted: Wanted, disk: str) -> dict[str, Any]:
    """Where the layers of a spread model go; what no device holds goes to the disk."""
    if not wanted.spread:
        return {}
    memory = {int(key) if key.isdigit() else key: size for key, size in wanted.memory.items()}
    return {"device_map": wanted.spread, "offload_folder": disk, **({"max_memory": memory} if memory else {})}


def main_device(network: Any, device: str) -> str:
    """The first device that a spread model computes on."""
    places = [place for place in getattr(network, "hf_device_map", {}).values() if place not in ("cpu", "disk")]
    named = [f"cuda:{place}" if isinstance(place, int) else str(place) for place in places]
    return named[0] if named else device


def refuse_pickles(folder: Path) -> None:
    """Raises RunError where a folder's only weights are pickles: reading one may run code."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    old = [name for name in names if name.endswith(PICKLES) and name != "training_args.bin"]
    if old and not any(name.endswith(".safetensors") for name in names):
        raise RunError(
            f"{folder} has its weights as pickles ({old[0]}), which may run code; safetensors are read only. Take a "
            f"revision that has them, or convert them once: {CONVERT}"
        )
