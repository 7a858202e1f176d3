"""A model on this machine's devices, asked through transformers: the engine behind the captioner `transformers`."""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.captioning.engine import Question, Said, Sampling
from builder.captioning.inputs import ONE_PICTURE, Prepared, Preparer, side_by_side
from builder.captioning.micro_batches import STEP, Device, Limits, budget, gpus_of, groups
from builder.captioning.sampling import chosen_by, generation
from builder.errors import ItemError
from builder.pretrained.threads import torch_threads
from builder.pretrained.vision_language import Loaded

LOG = logging.getLogger(__name__)
TRIAL = (4, 2, 480, 854, 16)  # clips, pictures, their height and width, new tokens: the same whatever is asked later
PROMPT = "Describe what happens in this video in detail."


@dataclass(frozen=True)
class Pace:
    """How a model is run. What a device kind and these decide is the same on every machine.

    `at_once`: clips it is shown at once; 0 for as many as a device of this kind holds (on a CPU all of a call).
    `threads`: of the model on a CPU. `readers`: threads that read and prepare pictures meanwhile. `static_cache`: keys
    and values in memory of a fixed size, which lets transformers compile the steps on a GPU.
    """

    at_once: int = 0
    threads: int = 1
    readers: int = 2
    static_cache: bool = False


class LocalModel:
    """Greedy answers are those that each clip would get alone, up to the last bits of floating point."""

    def __init__(self, loaded: Loaded, pace: Pace) -> None:
        self._network, self._processor, self._device = loaded.network, loaded.processor, loaded.device
        self._disk, self._pace = loaded.disk, pace
        self.dtype = str(self._network.dtype).removeprefix("torch.")
        self._kind = str(self._network.config.model_type)
        self._answers_anew = bool(self._network.config.is_encoder_decoder)  # else a question may be repeated
        self._inputs = Preparer(self._processor, self._kind, self._network.dtype)
        tokenizer = self._processor.tokenizer
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        ends = self._network.generation_config.eos_token_id
        ends = tokenizer.eos_token_id if ends is None else ends
        self._ends = set(ends if isinstance(ends, list) else [ends])
        self._budget = self.measured(gpus_of(self._network))

    # -- the interface
    def say(self, questions: Sequence[Question], sampling: Sampling) -> list[Said | ItemError]:
        found: dict[str, Said | ItemError] = {}
        with ThreadPoolExecutor(self._pace.readers) as pool:
            try:
                for ready in self._ready(pool, questions, sampling, found):
                    found |= zip((clip.id for clip in ready), self._answers(ready, sampling), strict=True)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        return [found[question.id] for question in questions]

    def close(self) -> None:
        del self._network
        self.release()
        if self._disk:
            self._disk.cleanup()

    # -- what is shown at once
    def _ready(
        self, pool: ThreadPoolExecutor, questions: Sequence[Question], sampling: Sampling, failed: dict[str, Any]
    ) -> Iterator[list[Prepared]]:
        """Micro-batches, prepared by threads while the one before is being answered; what fails goes to `failed`."""
        seen: list[tuple[Question, list[NDArray[Any]]]] = []
        lengths: list[int] = []
        for question, reading in [(question, pool.submit(question.frames)) for question in questions]:
            try:
                frames = reading.result()
                lengths.append(self._inputs.tokens(question, frames) + sampling.max_new_tokens)
                seen.append((question, frames))
            except ItemError as error:
                failed[question.id] = error
        padding = STEP.get(self._device.partition(":")[0], STEP["cuda"]) * sampling.max_new_tokens
        limits = Limits(self._pace.at_once or max(1, len(seen)), self._budget, padding)
        ahead: list[list[tuple[str, Future[Prepared]]]] = []
        for group in groups(lengths, limits):
            ahead.append([(seen[i][0].id, pool.submit(self._inputs.prepare, *seen[i])) for i in group])
            if len(ahead) > 1:
                yield list(finished(ahead.pop(0), failed))
        yield from (list(finished(group, failed)) for group in ahead)

    def measured(self, devices: Sequence[Device]) -> int:
        """How many tokens fit at once; 0 where that is not asked (it was said, or there is no device to ask)."""
        return 0 if self._pace.at_once or not devices else budget(devices, self._trial)

    def _trial(self) -> int:
        clips, pictures, high, wide, new = TRIAL
        shown = 1 if self._kind in ONE_PICTURE else pictures if self._inputs.sees else 0
        blank = [np.zeros((high, wide, 3), np.uint8)] * shown
        ready = [self._inputs.prepare(Question(str(n), PROMPT, lambda: blank), blank) for n in range(clips)]
        self._generate(ready, Sampling(max_new_tokens=new))
        return clips * (ready[0].tokens + new)

    # -- asking
    def _answers(self, ready: list[Prepared], sampling: Sampling) -> list[Said | ItemError]:
        """Of each clip. What does not fit into memory is asked in halves, down to single clips."""
        import torch

        if not ready:
            return []
        try:
            return list(self._generate(ready, sampling))
        except torch.OutOfMemoryError as error:
            reason = str(error).partition("\n")[0][:200]
        self.release()
        if len(ready) == 1:
            what = f"{ready[0].tokens} tokens of {ready[0].id} do not fit into memory beside the model: {reason}"
            return [ItemError("out_of_memory", f"{what}; show fewer frames, or spread the model (device_map)", True)]
        half = len(ready) // 2
        self._told(len(ready), ready[0].tokens + sampling.max_new_tokens)
        return self._answers(ready[:half], sampling) + self._answers(ready[half:], sampling)

    def _told(self, clips: int, tokens: int) -> None:
        """Ask for no more than half of what failed from now on, and say so: it decides the last bits of answers."""
        self._budget = clips * tokens // 2
        LOG.warning(
            "%d clips of %d tokens did not fit into memory at once; going on with at most %d. Captions made so may "
            "differ in floating point from those of a machine where they fit: at_once = %d gives the same everywhere",
            clips, tokens, clips // 2, clips // 2,
        )  # fmt: skip

    def _generate(self, ready: Sequence[Prepared], sampling: Sampling) -> list[Said]:
        import torch

        tokenizer = self._processor.tokenizer
        inputs = side_by_side(ready, tokenizer.pad_token_id, left=not self._answers_anew)
        inputs = {name: value.to(self._device) for name, value in inputs.items()}
        told = generation(self._network, sampling, sorted(self._ends), tokenizer.pad_token_id)
        told.cache_implementation = "static" if self._pace.static_cache else told.cache_implementation
        chosen = chosen_by(sampling, [clip.id for clip in ready], self._device)
        with torch.inference_mode(), torch_threads(self._pace.threads):
            out = self._network.generate(**inputs, generation_config=told, logits_processor=chosen)
        asked = inputs["input_ids"]
        if self._answers_anew:
            out = out[:, 1:]  # what the decoder begins with
        elif out.shape[1] >= asked.shape[1] and torch.equal(out[:, : asked.shape[1]], asked):
            out = out[:, asked.shape[1] :]
        return [self._read(row, clip.tokens) for row, clip in zip(out.tolist(), ready, strict=True)]

    def _read(self, tokens: Sequence[int], asked: int) -> Said:
        end = next((i for i, token in enumerate(tokens) if token in self._ends), None)
        said = list(tokens if end is None else tokens[:end])
        text = self._processor.tokenizer.decode(said, skip_special_tokens=True).strip()
        return Said(text, end is not None, asked, len(said))

    @staticmethod
    def release() -> None:
        """Give memory that is kept for later back to the device."""
        import gc

        import torch

        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def finished(started: Sequence[tuple[str, Future[Prepared]]], failed: dict[str, Any]) -> Iterator[Prepared]:
    for name, future in started:
        try:
            yield future.result()
        except ItemError as error:
            failed[name] = error
