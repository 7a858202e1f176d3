"""Transformers: captions from any image-text-to-text model, by its Hub id or from a local folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Any, ClassVar, cast

from numpy.typing import NDArray
from pydantic import Field

from builder.errors import ItemError, RunError
from builder.pretrained.hub import local_folder, missing, resolve
from builder.pretrained.threads import torch_threads
from builder.records import Caption, Failure, Verdict
from builder.stage import Item, Resources, execution, require, settings
from builder.stages.caption import Captioner

PROMPT = "Describe this video in detail: who or what is in it, what happens, the setting, the light and the camera."


@settings
class Transformers(Captioner):
    """One prompt and `frames_per_clip` frames of the clip, greedy decoding, at most `max_new_tokens`.

    `model` is a Hub id, or a folder (starting with /, ~ or .) with safetensors weights; code from a model is never run.
    `prompt` goes through the model's chat template; where it has none it is used as it is, after as many image tokens
    as there are frames unless it holds them itself. bfloat16 on a GPU, float32 on a CPU.
    """

    plugin: ClassVar[str] = "transformers"
    needs: ClassVar[Resources] = Resources(gpus=1.0, memory_bytes=8 << 30)

    model: str = "llava-hf/llava-1.5-7b-hf"
    revision: str = "main"
    prompt: Annotated[str, Field(min_length=1)] = PROMPT
    frames_per_clip: Annotated[int, Field(ge=1, le=64)] = 1
    max_new_tokens: Annotated[int, Field(ge=1)] = 256
    batch_size: Annotated[int, Field(ge=1)] = execution(default=8)
    cpu_threads: Annotated[int, Field(ge=1)] = execution(default=1)  # of each worker, where there is no GPU

    def identity(self) -> Mapping[str, str]:
        return {"revision": resolve(self.model, self.revision)}

    def setup(self) -> None:
        engine = Engine(self.model, resolve(self.model, self.revision), self.context.device)
        engine.threads = self.cpu_threads
        vars(self)["_engine"] = engine

    def close(self) -> None:
        vars(self).pop("_engine", None)

    @cached_property
    def _parameters(self) -> str:
        """What else decided the text, as JSON."""
        engine: Engine = vars(self)["_engine"]
        known = {"frames": self.frames_per_clip, "max_new_tokens": self.max_new_tokens, "do_sample": False}
        return json.dumps({**known, "dtype": engine.dtype})

    def batch(self, items: Sequence[Item[Verdict]]) -> list[Sequence[Caption] | Failure]:
        shown, failed = self.sift(items, lambda item: self.frames(item).images(self.frames_per_clip))
        engine: Engine = vars(self)["_engine"]
        answers = engine.say(list(shown.values()), self.prompt, self.max_new_tokens) if shown else []
        said = dict(zip(shown, answers, strict=True))
        return [
            failed[item.id] if item.id in failed else self.answer(item.id, partial(self._caption, item, said[item.id]))
            for item in items
        ]

    def _caption(self, item: Item[Verdict], said: "Said") -> Sequence[Caption]:
        if not said.text:
            raise ItemError("empty_caption", f"{self.model} said nothing about {item.id}; try another prompt", True)
        return [
            Caption(
                item.id,
                captioner=self.label or self.plugin,
                text=said.text,
                status="ok" if said.finished else "truncated",
                model=self.model,
                revision=resolve(self.model, self.revision),
                prompt=self.prompt,
                frames_s=tuple(self.frames(item).times_s(self.frames_per_clip)),
                parameters=self._parameters,
                tokens=said.tokens,
            )
        ]


@dataclass(frozen=True)
class Said:
    """An answer: its text, how many tokens it took, and whether the model came to an end by itself."""

    text: str
    tokens: int
    finished: bool


class Engine:
    """A model on its device, with its processor."""

    threads = 1

    def __init__(self, model: str, revision: str, device: str) -> None:
        for module in ("torch", "transformers"):
            require(module, "caption")
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.utils.logging import disable_progress_bar

        cast(Any, disable_progress_bar)()  # the run shows its own
        folder = local_folder(model)
        name = str(folder) if folder else model
        where = {"trust_remote_code": False} | ({} if folder else {"revision": revision})
        dtype = torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16  # "cpu:0" is one too
        self.dtype = str(dtype).removeprefix("torch.")
        processors, networks = cast(Any, AutoProcessor), cast(Any, AutoModelForImageTextToText)
        try:
            self._processor = processors.from_pretrained(name, **where)
            network = networks.from_pretrained(name, **where, use_safetensors=True, dtype=dtype)
        except (OSError, ValueError, ImportError) as error:
            raise RunError(missing(model, revision, error)) from error
        self._network = network.to(device).eval()
        tokenizer = self._processor.tokenizer
        tokenizer.padding_side = "left"  # all answers of a batch begin at the same place
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        ends = network.generation_config.eos_token_id
        ends = tokenizer.eos_token_id if ends is None else ends
        self._ends = set(ends if isinstance(ends, list) else [ends])

    def say(self, clips: Sequence[Sequence[NDArray[Any]]], prompt: str, max_new_tokens: int) -> list[Said]:
        """Answers to the prompt about each list of RGB images."""
        import torch
        from PIL import Image

        texts = [self._written(prompt, len(images)) for images in clips]
        pictures = [[Image.fromarray(image) for image in images] for images in clips]
        inputs = self._processor(images=pictures, text=texts, padding=True, return_tensors="pt")
        inputs = inputs.to(self._network.device, dtype=self._network.dtype)
        pad = self._processor.tokenizer.pad_token_id
        with torch.inference_mode(), torch_threads(self.threads):
            out = self._network.generate(
                **inputs, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, pad_token_id=pad
            )
        asked = inputs["input_ids"]
        length = asked.shape[1]
        if out.shape[1] >= length and torch.equal(out[:, :length], asked):
            out = out[:, length:]  # an encoder-decoder does not repeat the question
        return [self._read(row) for row in out.tolist()]

    def _written(self, prompt: str, images: int) -> str:
        """The prompt as the model wants to see it."""
        if getattr(self._processor, "chat_template", None):
            content = [*({"type": "image"} for _ in range(images)), {"type": "text", "text": prompt}]
            chat = [{"role": "user", "content": content}]
            return str(self._processor.apply_chat_template(chat, add_generation_prompt=True))
        token = getattr(self._processor, "image_token", None)
        return prompt if token is None or token in prompt else f"{token * images}\n{prompt}"

    def _read(self, tokens: Sequence[int]) -> Said:
        end = next((i for i, token in enumerate(tokens) if token in self._ends), None)
        said = list(tokens if end is None else tokens[:end])
        text = self._processor.tokenizer.decode(said, skip_special_tokens=True).strip()
        return Said(text, len(said), finished=end is not None)
