"""Checkpoints in the layout of LLaVA's own code, made of a random model, against the same weights in transformers'."""

import json
from pathlib import Path
from typing import Any

import pytest

from builder.captioning.engine import Sampling
from builder.captioning.inputs import Preparer
from builder.captioning.local_model import LocalModel, Pace
from builder.errors import RunError
from builder.pretrained.llava_checkpoint import TEMPLATE, TOWER
from builder.pretrained.vision_language import Wanted, load
from captioning_questions import clip
from models import IMAGE, character_tokenizer

pytest.importorskip("transformers")

SIDE, PATCH, WIDE, SIZE = 56, 14, 128, 32
OURS = {  # what transformers calls it: what LLaVA's code calls it
    "model.language_model.": "model.",
    "model.multi_modal_projector.linear_1.": "model.mm_projector.0.",
    "model.multi_modal_projector.linear_2.": "model.mm_projector.2.",
    "model.vision_tower.vision_model.": TOWER,
    "model.vision_tower.": TOWER,
    "lm_head.": "lm_head.",
}
SETTINGS = {
    "architectures": ["Share4VLlamaForCausalLM"],
    "model_type": "share4v",
    "hidden_size": SIZE,
    "intermediate_size": 2 * SIZE,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "mm_hidden_size": WIDE,
    "mm_projector_type": "mlp2x_gelu",
    "mm_use_im_start_end": False,
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "image_aspect_ratio": "pad",
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
}


@pytest.fixture(scope="session")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Transformers' layout, LLaVA's with the tower in it, and LLaVA's without."""
    folder = tmp_path_factory.mktemp("llava")
    model, tokenizer = made(folder / "theirs")
    own, apart = folder / "own", folder / "apart"
    model.model.vision_tower.save_pretrained(folder / "tower")
    write(own, model, tokenizer, str(folder / "elsewhere"))
    write(apart, model, tokenizer, str(folder / "tower"), tower=False)
    return folder / "theirs", own, apart


def made(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    torch.manual_seed(0)
    tokenizer = character_tokenizer(image=False)
    words = len(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    language = {key: value for key, value in SETTINGS.items() if not key.startswith(("mm_", "arch", "model_type"))}
    sight = CLIPVisionConfig(
        hidden_size=WIDE, intermediate_size=SIZE, num_hidden_layers=3, num_attention_heads=2, image_size=SIDE,
        patch_size=PATCH,
    )  # fmt: skip
    text = LlamaConfig(**language, vocab_size=words + 1)
    config = LlavaConfig(vision_config=sight, text_config=text, image_token_index=words, tie_word_embeddings=False)
    model = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        model.model.multi_modal_projector.linear_2.weight *= 30
        model.get_input_embeddings().weight[words] = 0
        model.lm_head.weight[words] = 0
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.suppress_tokens = [words]
    model.save_pretrained(folder)
    images = LlavaImageProcessorPil(
        do_pad=True, size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    LlavaProcessor(images, tokenizer, PATCH, "default", TEMPLATE, num_additional_image_tokens=1).save_pretrained(folder)
    return model, tokenizer


def write(folder: Path, model: Any, tokenizer: Any, vision: str, tower: bool = True) -> None:
    from safetensors.torch import save_file

    words = model.config.text_config.vocab_size - 1
    held = {}
    for name, value in model.state_dict().items():
        prefix = next(prefix for prefix in OURS if name.startswith(prefix))
        kept = value[:words] if name.endswith(("embed_tokens.weight", "lm_head.weight")) else value
        held[OURS[prefix] + name.removeprefix(prefix)] = kept.clone()
    if not tower:
        held = {name: value for name, value in held.items() if not name.startswith(TOWER)}
    folder.mkdir()
    halves = [dict(list(held.items())[n::2]) for n in range(2)]
    for n, half in enumerate(halves):
        save_file(half, folder / f"model-{n + 1:05d}-of-00002.safetensors")
    character_tokenizer(image=False).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(SETTINGS | {"vocab_size": words, "mm_vision_tower": vision}))


def said(folder: Path, vision: str = "") -> Any:
    model = LocalModel(load(Wanted(str(folder), "folder", vision=vision), "cpu"), Pace())
    return model.say([clip(0, 1), clip(1, 2), clip(2, 1, 160, 90)], Sampling(max_new_tokens=20))


def test_it_says_what_the_same_weights_say_in_transformers_layout(layouts: tuple[Path, Path, Path]) -> None:
    theirs, own, apart = layouts
    wanted = said(theirs)
    assert len({answer.text for answer in wanted}) >= 2
    assert said(own) == wanted
    assert said(apart, vision=str(apart.parent / "tower")) == wanted


def test_every_weight_has_found_its_place(layouts: tuple[Path, Path, Path]) -> None:
    import torch

    towers = ("", "", str(layouts[2].parent / "tower"))
    wanted = [Wanted(str(folder), "folder", vision=tower) for folder, tower in zip(layouts, towers, strict=True)]
    theirs, *others = (load(one, "cpu").network.state_dict() for one in wanted)
    for other in others:
        assert other.keys() == theirs.keys()
        assert all(torch.equal(other[name], theirs[name]) for name in theirs)


def test_a_tower_that_is_elsewhere_must_be_named(layouts: tuple[Path, Path, Path]) -> None:
    with pytest.raises(RunError, match=r"holds no vision tower: set vision = .*/tower"):
        load(Wanted(str(layouts[2]), "folder"), "cpu")
    with pytest.raises(RunError, match="gone"):
        load(Wanted(str(layouts[2]), "folder", vision=str(layouts[2] / "gone")), "cpu")


def test_it_is_asked_as_its_authors_ask_it(layouts: tuple[Path, Path, Path]) -> None:
    loaded = load(Wanted(str(layouts[1]), "folder"), "cpu")
    written = Preparer(loaded.processor, "llava", loaded.network.dtype).written("What is it?", 1)
    assert written == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: <image>\nWhat is it? ASSISTANT:"
    )


@pytest.mark.parametrize("change", [{"mm_projector_type": "linear"}, {"mm_patch_merge_type": "spatial_unpad"}])
def test_other_kinds_are_refused_by_name(
    layouts: tuple[Path, Path, Path], tmp_path: Path, change: dict[str, str]
) -> None:
    for path in layouts[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | change))
    with pytest.raises(RunError, match=rf"{next(iter(change.values()))}.*llava-hf"):
        load(Wanted(str(tmp_path), "folder"), "cpu")


def test_a_weight_without_a_place_is_named(layouts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    for path in layouts[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    save_file({"visual_sampler.weight": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(RunError, match=r"visual_sampler.weight"):
        load(Wanted(str(tmp_path), "folder"), "cpu")
