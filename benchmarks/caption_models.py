"""Models in the true shapes of LLaVA-1.5-7B and Qwen2.5-VL-7B with random weights, made on their device, and limits.

They are for speed only: the tokenizer has one token a character. With `tiny` they have two layers of 64.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import vision_models as small
from builder.pretrained.processors import without_video
from models import IMAGE, TEMPLATE, character_tokenizer

TOKENS_A_FRAME = 128  # of Qwen, as in the published roofline; LLaVA has 576 always
PEAKS = {"H100": (989e12, 3.35e12), "H200": (989e12, 4.8e12), "A100": (312e12, 2.04e12), "A800": (312e12, 2.04e12)}
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}


def made(kind: str, device: str, dtype: Any, tiny: bool) -> tuple[Any, Any]:
    """A network and its processor."""
    import torch
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    config, processor = {"llava": llava, "qwen": qwen}[kind](tiny)
    with torch.device(device):
        network = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    network.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    return network.eval(), processor


def llava(tiny: bool) -> tuple[Any, Any]:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer, side = character_tokenizer(), 56 if tiny else 336
    sight = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    text = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**(sight | TINY if tiny else sight), image_size=side, patch_size=14),
        text_config=LlamaConfig(**(text | TINY if tiny else text), vocab_size=32064, max_position_embeddings=8192),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        tie_word_embeddings=False,
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    processor = LlavaProcessor(
        images, tokenizer, 14, "default", chat_template=TEMPLATE, num_additional_image_tokens=1
    )  # fmt: skip
    return config, processor


def qwen(tiny: bool) -> tuple[Any, Any]:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLProcessor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer = small.words(*small.EDGES, **small.QWEN)
    text = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28}
    text = {**text, "num_key_value_heads": 4} | ({**TINY, "num_key_value_heads": 2} if tiny else {})
    rope = {"rope_type": "default", "mrope_section": [4, 6, 6] if tiny else [16, 24, 24], "rope_theta": 1e6}
    sight = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
    sight |= {"depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 2} if tiny else {}
    config = Qwen2_5_VLConfig(
        text_config={**text, "vocab_size": 152064, "max_position_embeddings": 128000, "rope_parameters": rope},
        vision_config={
            **sight,
            "out_hidden_size": text["hidden_size"],
            "fullatt_block_indexes": [1] if tiny else [7, 15, 23, 31],
        },
        tie_word_embeddings=False,
        **small.qwen_parts(tokenizer),
    )
    pixels = TOKENS_A_FRAME * 28 * 28 // (8 if tiny else 1)
    images = Qwen2VLImageProcessorPil(size={"shortest_edge": 4 * 28 * 28, "longest_edge": pixels})
    return config, without_video(Qwen2_5_VLProcessor)(images, tokenizer, None, chat_template=small.QWEN_CHAT)


# -- limits
@dataclass(frozen=True)
class Shape:
    """What the roofline needs."""

    language: int  # parameters that a token passes
    sight: int  # and those that a patch of a picture does
    cache_bytes: int  # that a token keeps
    patches_a_token: int


def shape_of(network: Any) -> Shape:
    text = network.config.text_config
    heads = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    parts = dict(network.model.named_children())
    sight = sum(p.numel() for name, part in parts.items() if name != "language_model" for p in part.parameters())
    language = sum(p.numel() for p in parts["language_model"].layers.parameters()) + network.lm_head.weight.numel()
    cache = 2 * text.num_hidden_layers * text.num_key_value_heads * heads * network.dtype.itemsize
    return Shape(language, sight, cache, 4 if "qwen" in network.config.model_type else 1)


def roofline(shape: Shape, tokens: tuple[int, int, int], batch: int, peak: tuple[float, float]) -> float:
    """Seconds a clip: sight and reading at peak FLOP/s; a step of writing at peak FLOP/s or bandwidth, the slower.

    `tokens` are those read, those of them that are pictures, and those written.
    """
    flops, bandwidth = peak
    read, pictures, new = tokens
    reading = (2 * shape.language * read + 2 * shape.sight * shape.patches_a_token * pictures) / flops
    moved = 2 * shape.language + batch * (read + new / 2) * shape.cache_bytes
    return reading + new * max(moved / bandwidth, 2 * shape.language * batch / flops) / batch


@contextmanager
def busy(device: str) -> Iterator[list[float]]:
    """Percentages that nvidia-smi gives five times a second; filled at the end."""
    found: list[float] = []
    if not device.startswith("cuda"):
        yield found
        return
    ask = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200", "-i", "0"]
    with subprocess.Popen(ask, stdout=subprocess.PIPE, text=True) as asked:
        yield found
        asked.terminate()
        found += [float(line) for line in (asked.communicate()[0] or "").split()]
