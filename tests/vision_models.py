"""Makes small models with random weights in the architectures that captions are made with, as local folders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models import IMAGE, TEMPLATE, character_tokenizer, tiny

SIDE, PATCH, SIZE = 56, 14, 32  # pixels of a picture and of a patch, numbers a token
STRONG = 30  # times: what is seen counts, so that answers differ
CHAT = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}PICTURE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SIGHT = {
    "hidden_size": SIZE,
    "intermediate_size": 2 * SIZE,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}
LANGUAGE = {
    "hidden_size": SIZE,
    "intermediate_size": 2 * SIZE,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "initializer_range": 0.2,  # large, for answers that differ
}


def words(*special: str, **named: str) -> Any:
    """The tokenizer of single characters, with more special tokens; `named` are attributes such as `image_token`."""
    tokenizer = character_tokenizer()
    tokens = [*special, *named.values()]
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE, *dict.fromkeys(tokens)]})
    if named:
        tokenizer._set_model_specific_special_tokens(special_tokens=named)
    return tokenizer


def language(tokenizer: Any, **more: Any) -> dict[str, Any]:
    ends = {name: getattr(tokenizer, name) for name in ("eos_token_id", "bos_token_id", "pad_token_id")}
    return {**LANGUAGE, "vocab_size": len(tokenizer), **ends, **more}


def put(folder: Path, model: Any, processor: Any, tokenizer: Any = None) -> None:
    tokenizer = tokenizer or processor.tokenizer
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def put_apart(folder: Path, model: Any, tokenizer: Any, images: Any, told: dict[str, Any], chat: str) -> None:  # noqa: PLR0913, PLR0917
    """What their processors would save, had they a video processor, which needs torchvision."""
    tokenizer.chat_template = chat
    put(folder, model, images, tokenizer)
    tokenizer.save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps(told))


def louder(*layers: Any) -> None:
    import torch

    with torch.no_grad():
        for layer in layers:
            layer.weight *= STRONG


def llava_next(folder: Path) -> None:
    from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration, LlavaNextProcessor
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    tokenizer = character_tokenizer()
    pins = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    config = LlavaNextConfig(
        vision_config={"model_type": "clip_vision_model", "projection_dim": SIZE, **SIGHT},
        text_config={"model_type": "llama", **language(tokenizer)},
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_grid_pinpoints=pins,
        vision_feature_layer=-1,
    )
    model = LlavaNextForConditionalGeneration(config)
    louder(model.model.multi_modal_projector.linear_2)
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=pins
    )
    put(
        folder,
        model,
        LlavaNextProcessor(
            images,
            tokenizer,
            patch_size=PATCH,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=TEMPLATE,
        ),
    )


QWEN = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
EDGES = ("<|vision_start|>", "<|vision_end|>")
QWEN_CHAT = CHAT.replace("PICTURE", "<|vision_start|><|image_pad|><|vision_end|>")
FEW_PIXELS = {"shortest_edge": 28 * 28 * 2, "longest_edge": 28 * 28 * 8}


def qwen_parts(tokenizer: Any) -> dict[str, Any]:
    return {
        "image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    }


def qwen2_vl(folder: Path) -> None:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    tokenizer = words(*EDGES, **QWEN)
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    config = Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": SIZE,
            "hidden_size": SIZE,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": PATCH,
        },
        text_config=language(tokenizer, rope_parameters=rope),
        **qwen_parts(tokenizer),
    )
    model = Qwen2VLForConditionalGeneration(config)
    louder(model.model.visual.merger.mlp[2])
    qwen_files(folder, model, tokenizer, "Qwen2VLProcessor")


def qwen2_5_vl(folder: Path) -> None:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = words(*EDGES, **QWEN)
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2, "hidden_size": SIZE, "intermediate_size": SIZE, "out_hidden_size": SIZE, "num_heads": 2,
            "patch_size": PATCH, "window_size": 56, "fullatt_block_indexes": [1]
        },
        text_config=language(tokenizer, rope_parameters=rope),
        **qwen_parts(tokenizer),
    )  # fmt: skip
    model = Qwen2_5_VLForConditionalGeneration(config)
    louder(model.model.visual.merger.mlp[2])
    qwen_files(folder, model, tokenizer, "Qwen2_5_VLProcessor")


def qwen3_vl(folder: Path) -> None:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = words(*EDGES, **QWEN)
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0, "mrope_interleaved": True}
    config = Qwen3VLConfig(
        vision_config={
            "depth": 2, "hidden_size": SIZE, "intermediate_size": SIZE, "out_hidden_size": SIZE, "num_heads": 2,
            "patch_size": PATCH, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]
        },
        text_config=language(tokenizer, rope_parameters=rope, head_dim=16),
        **qwen_parts(tokenizer),
    )  # fmt: skip
    model = Qwen3VLForConditionalGeneration(config)
    louder(model.model.visual.merger.linear_fc2)
    qwen_files(folder, model, tokenizer, "Qwen3VLProcessor")


def qwen_files(folder: Path, model: Any, tokenizer: Any, processor: str) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    images = Qwen2VLImageProcessorPil(patch_size=PATCH, size=FEW_PIXELS)
    put_apart(folder, model, tokenizer, images, {"processor_class": processor}, QWEN_CHAT)


def internvl(folder: Path) -> None:
    from transformers import InternVLConfig, InternVLForConditionalGeneration
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    marks = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer = words(**marks, video_token="<video>")
    config = InternVLConfig(
        vision_config={**SIGHT, "image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH]},
        text_config={"model_type": "qwen2", **language(tokenizer)},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    model = InternVLForConditionalGeneration(config)
    louder(model.model.multi_modal_projector.linear_2)
    images = GotOcr2ImageProcessorPil(size={"height": SIDE, "width": SIDE}, max_patches=3)
    told = {"processor_class": "InternVLProcessor", "image_seq_length": 4}
    put_apart(folder, model, tokenizer, images, told, CHAT.replace("PICTURE", "<IMG_CONTEXT>\n"))


def smolvlm(folder: Path) -> None:
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    marks = {"fake_image_token": "<fake_token_around_image>", "global_image_token": "<global-img>"}
    grid = [f"<row_{r}_col_{c}>" for r in range(1, 4) for c in range(1, 4)]
    tokenizer = words(*grid, image_token=IMAGE, **marks, end_of_utterance_token="<end_of_utterance>")
    config = SmolVLMConfig(
        vision_config={**SIGHT, "model_type": "smolvlm_vision"},
        text_config={"model_type": "llama", **language(tokenizer)},
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        scale_factor=2,
    )
    model = SmolVLMForConditionalGeneration(config)
    louder(model.model.connector.modality_projection.proj)
    images = SmolVLMImageProcessorPil(size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE})
    told = {"processor_class": "SmolVLMProcessor", "image_seq_len": 4}
    put_apart(folder, model, tokenizer, images, told, CHAT.replace("PICTURE", IMAGE))


def florence2(folder: Path) -> None:
    from transformers import Florence2Config, Florence2ForConditionalGeneration, Florence2Processor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = words(image_token=IMAGE)
    sizes = {"depths": [1, 1], "patch_size": [7, 3], "patch_stride": [4, 2], "patch_padding": [3, 1]}
    sizes |= {"patch_prenorm": [False, True], "embed_dim": [16, SIZE], "num_heads": [2, 2], "num_groups": [2, 2]}
    ends = {name: getattr(tokenizer, name) for name in ("eos_token_id", "bos_token_id", "pad_token_id")}
    config = Florence2Config(
        vision_config={**sizes, "window_size": 7, "projection_dim": SIZE},
        text_config={
            "model_type": "bart",
            "init_std": 0.2, "vocab_size": len(tokenizer), "d_model": SIZE,
            "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": SIZE,
            "decoder_layers": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": SIZE,
            "decoder_start_token_id": ends["eos_token_id"], "forced_eos_token_id": None, **ends
        },
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
    )  # fmt: skip
    model = Florence2ForConditionalGeneration(config)
    images = CLIPImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, do_center_crop=False, image_seq_length=(SIDE // 8) ** 2 + 1
    )
    put(folder, model, Florence2Processor(images, tokenizer))


def blip_2(folder: Path) -> None:
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    tokenizer = character_tokenizer()
    config = Blip2Config(
        vision_config={**SIGHT, "model_type": "blip_2_vision_model"},
        qformer_config={
            "hidden_size": SIZE, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": SIZE,
            "encoder_hidden_size": SIZE, "vocab_size": 10
        },
        text_config={
            "model_type": "opt",
            "init_std": 0.2, "hidden_size": SIZE, "word_embed_proj_dim": SIZE, "ffn_dim": SIZE,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 1024,
            "vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id,
        },
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
    )  # fmt: skip
    model = Blip2ForConditionalGeneration(config)
    louder(model.language_projection)
    images = BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    put(folder, model, Blip2Processor(images, tokenizer, num_query_tokens=4))


KINDS: dict[str, Callable[[Path], None]] = {
    "llava": tiny, "llava_next": llava_next, "qwen2_vl": qwen2_vl, "qwen2_5_vl": qwen2_5_vl, "qwen3_vl": qwen3_vl,
    "internvl": internvl, "smolvlm": smolvlm, "florence2": florence2, "blip_2": blip_2,
}  # fmt: skip


def made_model(kind: str, folder: Path) -> Path:
    """The model of this kind below `folder`, made there once."""
    import torch

    target = folder / kind
    if not target.is_dir():
        torch.manual_seed(0)
        target.mkdir(parents=True)
        KINDS[kind](target)
    return target
