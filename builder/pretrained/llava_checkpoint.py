"""Checkpoints in the layout of LLaVA's own code (LLaVA-1.5, ShareGPT4V), read as `LlavaForConditionalGeneration`.

Their configuration has `mm_...` keys, their weights `model.mm_projector.0.weight` and `model.vision_tower.vision_tower.
vision_model...`, and they come without processor files. The vision tower is in the checkpoint where it was trained with
the rest (ShareGPT4V), else in a repository of its own. The conversation is that of the authors'
code (`vicuna_v1`), pictures are padded to squares where they were so in training.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from builder.errors import RunError
from builder.pretrained import remote_code
from builder.pretrained.hub import local_folder, resolve

if TYPE_CHECKING:
    from torch import Tensor

IMAGE = "<image>"
TOWER = "model.vision_tower.vision_tower.vision_model."
RENAMED = {  # to the names in transformers' own LLaVA files
    TOWER: "vision_tower.vision_model.",
    "model.mm_projector.0.": "multi_modal_projector.linear_1.",
    "model.mm_projector.2.": "multi_modal_projector.linear_2.",
    "model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
}
TEMPLATE = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
    "{% for message in messages %} {{ 'USER' if message['role'] == 'user' else 'ASSISTANT' }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
HEAD = 64  # numbers of one attention head in every CLIP


def settings_of(model: str, revision: str) -> Mapping[str, Any]:
    """Its configuration, where it is of this layout; else nothing."""
    found = remote_code.config(model, revision, "config.json")
    return found if {"mm_vision_tower", "mm_hidden_size"} <= set(found) and "text_config" not in found else {}


def fetched(model: str, revision: str) -> Path:
    """The folder with its files."""
    from huggingface_hub import snapshot_download

    folder = local_folder(model)
    kinds = ["*.json", "*.safetensors", "tokenizer.model"]
    return folder or Path(snapshot_download(model, revision=revision, allow_patterns=kinds))


def load(folder: Path, settings: Mapping[str, Any], vision: str, how: Mapping[str, Any]) -> tuple[Any, Any]:
    """The network and its processor. `vision` is where the vision tower is, if it is not in the checkpoint.

    Raises:
        RunError: a kind of checkpoint that this is not made for.
    """
    from transformers import AutoTokenizer, LlamaConfig, LlavaForConditionalGeneration

    kind, merge = settings.get("mm_projector_type"), settings.get("mm_patch_merge_type", "flat")
    if kind != "mlp2x_gelu" or merge != "flat":
        raise RunError(f"{folder}: cannot read a checkpoint of LLaVA with mm_projector_type {kind} and "
                       f"mm_patch_merge_type {merge}; use its edition for transformers (llava-hf/...)")  # fmt: skip
    language = {k: v for k, v in settings.items() if not k.startswith(("mm_", "architectures", "model_type"))}
    tokenizer = cast(Any, AutoTokenizer).from_pretrained(folder, config=LlamaConfig())
    weights = read(folder)
    if not any(name.startswith(TOWER) for name in weights):
        if not vision:
            where = f'vision = "{settings["mm_vision_tower"]}"'
            raise RunError(f"{folder} holds no vision tower: set {where}, or the folder it is in")
        weights |= tower(vision)
    with_picture_token(weights, tokenizer, int(settings["vocab_size"]))
    config = config_of(LlamaConfig(**language), sight_of(weights), settings, tokenizer)
    network = cast(Any, LlavaForConditionalGeneration).from_pretrained(
        None, config=config, state_dict=renamed(weights), **how
    )
    network.generation_config.suppress_tokens = [config.image_token_id]
    network.generation_config.eos_token_id = tokenizer.eos_token_id
    return network.eval(), processor_of(config, settings, tokenizer)


def read(folder: Path) -> dict[str, "Tensor"]:
    from safetensors.torch import load_file

    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    if not found:
        raise RunError(f"{folder} has no weights as safetensors")
    return found


def tower(vision: str) -> dict[str, "Tensor"]:
    """The weights of the tower, named as in a checkpoint that holds it."""
    from transformers import CLIPVisionModel

    folder = local_folder(vision)
    at = {} if folder else {"revision": resolve(vision, "main")}
    sight = cast(Any, CLIPVisionModel).from_pretrained(str(folder or vision), **at, use_safetensors=True)
    return {TOWER + name.removeprefix("vision_model."): value for name, value in sight.state_dict().items()}


def with_picture_token(weights: dict[str, "Tensor"], tokenizer: Any, size: int) -> None:
    """Give the pictures' place a token of its own. It is never looked up nor said: its rows are zeros."""
    import torch

    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        blank = weights[name].new_zeros(max(0, len(tokenizer) - size), weights[name].shape[1])
        weights[name] = torch.cat([weights[name], blank])


def renamed(weights: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    return {new_name(name): value for name, value in weights.items() if not name.endswith("position_ids")}


def new_name(name: str) -> str:
    old = next((prefix for prefix in RENAMED if name.startswith(prefix)), None)
    if old is None or (old == "model." and name.startswith("model.vision_tower.")):
        raise RunError(f"the checkpoint holds {name}, which LLaVA-1.5 does not have; use its edition for transformers")
    return RENAMED[old] + name.removeprefix(old)


def sight_of(weights: Mapping[str, "Tensor"]) -> Any:
    """The shape of the vision tower, from its weights."""
    from transformers import CLIPVisionConfig

    size, _, patch, _ = weights[f"{TOWER}embeddings.patch_embedding.weight"].shape
    places = weights[f"{TOWER}embeddings.position_embedding.weight"].shape[0] - 1
    return CLIPVisionConfig(
        hidden_size=size,
        intermediate_size=weights[f"{TOWER}encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=1 + max(layer_numbers(weights)),
        num_attention_heads=size // HEAD,
        image_size=patch * round(places**0.5),
        patch_size=patch,
    )


def layer_numbers(names: Iterable[str]) -> list[int]:
    start = f"{TOWER}encoder.layers."
    return [int(name.removeprefix(start).partition(".")[0]) for name in names if name.startswith(start)]


def config_of(language: Any, sight: Any, settings: Mapping[str, Any], tokenizer: Any) -> Any:
    from transformers import LlavaConfig

    language.vocab_size = max(language.vocab_size, len(tokenizer))
    return LlavaConfig(
        vision_config=sight,
        text_config=language,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=settings.get("mm_vision_select_layer", -2),
        vision_feature_select_strategy="full" if settings.get("mm_vision_select_feature") == "cls_patch" else "default",
        image_seq_length=(sight.image_size // sight.patch_size) ** 2,
        tie_word_embeddings=False,
    )


def processor_of(config: Any, settings: Mapping[str, Any], tokenizer: Any) -> Any:
    from transformers import LlavaProcessor
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil  # needs no torchvision

    side = config.vision_config.image_size
    images = LlavaImageProcessorPil(
        do_pad=settings.get("image_aspect_ratio") == "pad",
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
