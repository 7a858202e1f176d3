"""Makes small CLIP and SigLIP models with random weights, and heads of aesthetic predictors, for tests."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from models import character_tokenizer

SIDE, SIZE, CONTEXT = 32, 16, 24  # pixels, numbers a vector, tokens


def tokenizer() -> Any:
    """One token a printable character, with an end, as CLIP wants it."""
    from tokenizers.processors import TemplateProcessing

    made = character_tokenizer()
    end = made.convert_tokens_to_ids("<|im_end|>")
    template = TemplateProcessing(single="$A <|im_end|>", special_tokens=[("<|im_end|>", end)])
    made.backend_tokenizer.post_processor = template
    made.model_max_length = CONTEXT
    return made


def clip(folder: Path, seed: int = 0) -> Path:
    """Two towers of two layers of 32, to vectors of SIZE."""
    import torch
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    words = tokenizer()
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {name: getattr(words, name) for name in ("eos_token_id", "bos_token_id", "pad_token_id")}
    text = {**layers, **ends, "vocab_size": len(words), "max_position_embeddings": CONTEXT}
    sight = {**layers, "image_size": SIDE, "patch_size": 8}
    torch.manual_seed(seed)
    network = CLIPModel(CLIPConfig(text_config=text, vision_config=sight, projection_dim=SIZE))
    return save(network, words, CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SIDE), folder)


def siglip(folder: Path, seed: int = 0) -> Path:
    """The same with attention pooling and no projection: vectors of 32."""
    import torch
    from transformers import SiglipConfig, SiglipModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    words = tokenizer()
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {name: getattr(words, name) for name in ("eos_token_id", "bos_token_id", "pad_token_id")}
    text = {**layers, **ends, "vocab_size": len(words), "max_position_embeddings": CONTEXT, "projection_size": 32}
    torch.manual_seed(seed)
    network = SiglipModel(SiglipConfig(text_config=text, vision_config={**layers, "image_size": SIDE, "patch_size": 8}))
    return save(network, words, SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}), folder)


def save(network: Any, words: Any, pictures: Any, folder: Path) -> Path:
    import torch

    with torch.no_grad():  # as training would, so that vectors differ from input to input
        for name, weight in network.named_parameters():
            if weight.ndim > 1:
                weight.mul_(8 if "embed" in name or "projection" in name else 3)
    network.eval().save_pretrained(folder)
    words.save_pretrained(folder)
    pictures.save_pretrained(folder)
    return folder


def head_layers(size: int = SIZE, seed: int = 0) -> dict[str, Any]:
    """Of the published layout: linear layers 0, 2, 4, 6 and 7 of a sequence that has dropout between them."""
    widths = (size, 12, 8, 6, 4, 1)
    rng = np.random.default_rng(seed)
    held: dict[str, Any] = {}
    for number, (before, after) in zip((0, 2, 4, 6, 7), pairwise(widths), strict=True):
        held[f"layers.{number}.weight"] = rng.normal(0, 0.6, (after, before)).astype(np.float32)
        held[f"layers.{number}.bias"] = rng.normal(0, 0.3, after).astype(np.float32)
    return held


def by_hand(held: Mapping[str, Any], vector: Any, rectified: bool = False) -> float:
    """What the head says of a vector."""
    for number in (0, 2, 4, 6, 7):
        vector = held[f"layers.{number}.weight"].astype(np.float64) @ vector + held[f"layers.{number}.bias"]
        vector = np.maximum(vector, 0) if rectified and number < 7 else vector
    return float(vector[0])
