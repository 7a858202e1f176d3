"""From pictures and a prompt to a model's inputs: clips are prepared alone, in any thread, then put side by side."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from builder.captioning.engine import Question
from builder.errors import ItemError, RunError
from builder.pretrained.processors import TextOnly

if TYPE_CHECKING:
    from torch import Tensor

ONE_PICTURE = {
    "florence2",
    "blip-2",
    "instructblip",
}  # model types whose processors put the one picture in by themselves
ALONG_TEXT = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")  # one value a token
SHAPES = 4096  # of pictures whose number of tokens is remembered
Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Prepared:
    """The inputs of one clip, unpadded, on the CPU."""

    id: str
    inputs: Mapping[str, "Tensor"]

    @property
    def tokens(self) -> int:
        return int(self.inputs["input_ids"].shape[1])


class Preparer:
    """Speaks the model's own language: its chat template where it has one, its image tokens where not.

    A prompt that holds image tokens already is used as it is. `dtype` is what pictures are given in.
    """

    def __init__(self, processor: Any, kind: str, dtype: "Any") -> None:
        self._processor, self._kind, self._dtype = processor, kind, dtype
        self.sees = not isinstance(processor, TextOnly)
        self._pictures = lru_cache(maxsize=SHAPES)(self._tokens_of_pictures)

    def prepare(self, question: Question, frames: Sequence[NDArray[Any]]) -> Prepared:
        """Raises ItemError where the processor will not have these pictures, or this prompt with them."""
        with refusing(question.id):
            return Prepared(question.id, self._inputs(self.written(question.prompt, len(frames)), frames))

    def tokens(self, question: Question, frames: Sequence[NDArray[Any]]) -> int:
        """How many `prepare` would make of it: pictures count by their shape alone, and each shape is tried once."""
        with refusing(question.id):
            text = self.written(question.prompt, len(frames))
            shown = self._pictures(tuple(f.shape for f in frames)) if frames else 0
            return len(self._processor.tokenizer(text)["input_ids"]) + shown

    def written(self, prompt: str, images: int) -> str:
        """The prompt as the model wants to see it."""
        if self._kind in ONE_PICTURE:
            if images != 1:
                raise RunError(f"models of the type {self._kind} look at one picture: set frames_per_clip = 1")
            return prompt
        if images and not self.sees:
            raise RunError(f"models of the type {self._kind} see no pictures: set frames_per_clip = 0")
        template = getattr(self._processor, "chat_template", None) or self._processor.tokenizer.chat_template
        if template:
            content = [*({"type": "image"} for _ in range(images)), {"type": "text", "text": prompt}]
            chat = [{"role": "user", "content": content if self.sees else prompt}]
            said = self._processor.tokenizer.apply_chat_template(
                chat, chat_template=template, add_generation_prompt=True, tokenize=False
            )
            return str(said)
        token = getattr(self._processor, "image_token", None)
        return prompt if not images or token is None or token in prompt else f"{token * images}\n{prompt}"

    def _inputs(self, text: str, frames: Sequence[NDArray[Any]]) -> dict[str, "Tensor"]:
        from PIL import Image

        start = self._processor.tokenizer.bos_token
        again = (
            {"add_special_tokens": False} if start and text.startswith(start) else {}
        )  # a template may begin with it
        pictures = {"images": [[Image.fromarray(frame) for frame in frames]]} if frames else {}
        found = self._processor(**pictures, text=[text], return_tensors="pt", **again)
        return {k: v.to(self._dtype) if v.is_floating_point() else v for k, v in found.items() if hasattr(v, "shape")}

    def _tokens_of_pictures(self, shapes: Shapes) -> int:
        """What pictures of these shapes add to the text around them."""
        text = self.written("", len(shapes))
        made = self._inputs(text, [np.zeros(shape, np.uint8) for shape in shapes])
        return int(made["input_ids"].shape[1]) - len(self._processor.tokenizer(text)["input_ids"])


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """What a processor says of a clip is about that clip."""
    try:
        yield
    except ValueError as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise ItemError("unfit_frames", f"the model's processor refuses {name}: {reason}") from error


def side_by_side(clips: Sequence[Prepared], pad: int, left: bool) -> dict[str, "Tensor"]:
    """The inputs of a batch: texts padded to one length; pictures one after the other, padded by zeros to one shape."""
    import torch

    length = max(clip.tokens for clip in clips)
    made = {}
    for name in clips[0].inputs:
        parts = [clip.inputs[name] for clip in clips]
        if name in ALONG_TEXT:
            blank = pad if name == "input_ids" else 0
            rows = [padded(part, (1, length), blank, left) for part in parts]
        else:
            largest = tuple(max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True))
            rows = [padded(part, (part.shape[0], *largest), 0, left=False) for part in parts]
        made[name] = torch.cat(rows)
    return made


def padded(part: "Tensor", shape: tuple[int, ...], blank: int, left: bool) -> "Tensor":
    if part.shape == shape:
        return part
    whole = part.new_full(shape, blank)
    at = tuple(slice(size - had, None) if left else slice(had) for had, size in zip(part.shape, shape, strict=True))
    whole[at] = part
    return whole
