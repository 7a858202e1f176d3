"""Transformers: captions from any image-text-to-text model, by its Hub id or from a local folder."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, cast

from numpy.typing import NDArray
from pydantic import Field

from builder.captioning.asking import Asking
from builder.captioning.engine import Question, Said, Sampling
from builder.errors import ItemError, RunError
from builder.pretrained.hub import local_folder, missing, resolve
from builder.pretrained.threads import torch_threads
from builder.stage import Resources, execution, require, settings


@settings
class Transformers(Asking):
    """One prompt and `frames_per_clip` frames of the clip, greedy decoding, at most `max_new_tokens`.

    `model` is a Hub id, or a folder (starting with /, ~ or .) with safetensors weights; code from a model is never run.
    `prompt` goes through the model's chat template; where it has none it is used as it is, after as many image tokens
    as there are frames unless it holds them itself. bfloat16 on a GPU, float32 on a CPU.
    """

    plugin: ClassVar[str] = "transformers"
    needs: ClassVar[Resources] = Resources(gpus=1.0, memory_bytes=8 << 30)

    model: str = "llava-hf/llava-1.5-7b-hf"
    batch_size: Annotated[int, Field(ge=1)] = execution(default=8)
    cpu_threads: Annotated[int, Field(ge=1)] = execution(default=1)  # of each worker, where there is no GPU

    @property
    def model_revision(self) -> str:
        return resolve(self.model, self.revision)

    def engine(self) -> "LocalModel":
        engine = LocalModel(self.model, self.model_revision, self.context.device)
        engine.threads = self.cpu_threads
        return engine


class LocalModel:
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

    def say(self, questions: Sequence[Question], sampling: Sampling) -> list[Said | ItemError]:
        found: dict[str, Said | ItemError] = {}
        shown: dict[str, list[NDArray[Any]]] = {}
        for question in questions:
            try:
                shown[question.id] = question.frames()
            except ItemError as error:
                found[question.id] = error
        asked = [question for question in questions if question.id in shown]
        if asked:
            found |= dict(zip(shown, self._say(asked, list(shown.values()), sampling), strict=True))
        return [found[question.id] for question in questions]

    def close(self) -> None:
        pass

    def _say(
        self, asked: Sequence[Question], clips: Sequence[Sequence[NDArray[Any]]], sampling: Sampling
    ) -> list[Said]:
        import torch
        from PIL import Image

        texts = [self._written(q.prompt, len(images)) for q, images in zip(asked, clips, strict=True)]
        pictures = [[Image.fromarray(image) for image in images] for images in clips]
        inputs = self._processor(images=pictures, text=texts, padding=True, return_tensors="pt")
        inputs = inputs.to(self._network.device, dtype=self._network.dtype)
        pad = self._processor.tokenizer.pad_token_id
        with torch.inference_mode(), torch_threads(self.threads):
            out = self._network.generate(
                **inputs, max_new_tokens=sampling.max_new_tokens, do_sample=False, num_beams=1, pad_token_id=pad
            )
        question = inputs["input_ids"]
        length = question.shape[1]
        if out.shape[1] >= length and torch.equal(out[:, :length], question):
            out = out[:, length:]  # an encoder-decoder does not repeat the question
        lengths = inputs["attention_mask"].sum(1).tolist()
        return [self._read(row, n) for row, n in zip(out.tolist(), lengths, strict=True)]

    def _written(self, prompt: str, images: int) -> str:
        """The prompt as the model wants to see it."""
        if getattr(self._processor, "chat_template", None):
            content = [*({"type": "image"} for _ in range(images)), {"type": "text", "text": prompt}]
            chat = [{"role": "user", "content": content}]
            return str(self._processor.apply_chat_template(chat, add_generation_prompt=True))
        token = getattr(self._processor, "image_token", None)
        return prompt if token is None or token in prompt else f"{token * images}\n{prompt}"

    def _read(self, tokens: Sequence[int], asked: int) -> Said:
        end = next((i for i, token in enumerate(tokens) if token in self._ends), None)
        said = list(tokens if end is None else tokens[:end])
        text = self._processor.tokenizer.decode(said, skip_special_tokens=True).strip()
        return Said(text, end is not None, asked, len(said))
