"""How the next token is chosen: in a batch each clip gets what it would get alone, sampled or not."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from builder.captioning.engine import Sampling

if TYPE_CHECKING:
    from torch import Tensor


def generation(network: Any, sampling: Sampling, ends: Sequence[int], pad: int) -> Any:
    """What `generate` is told. What else the model's own file asks for (a first token, n-grams to avoid) stays."""
    from copy import deepcopy

    config = deepcopy(network.generation_config)
    config.max_new_tokens, config.max_length = sampling.max_new_tokens, None
    config.do_sample, config.num_beams = False, 1  # sampled too: the noise is added before the largest is taken
    config.temperature = config.top_p = config.top_k = None
    config.repetition_penalty = sampling.repetition_penalty
    config.eos_token_id, config.pad_token_id = list(ends), pad
    config.early_stopping, config.length_penalty = False, 1.0
    return config


def chosen_by(sampling: Sampling, ids: Sequence[str], device: Any) -> Any:
    """Logits processors; none where the likeliest token is taken."""
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

    steps: list[Any] = []
    if sampling.temperature > 0:
        steps.append(TemperatureLogitsWarper(float(sampling.temperature)))
        if sampling.top_p < 1:
            steps.append(TopPLogitsWarper(float(sampling.top_p)))
        steps.append(Noise(sampling.seed, ids, device))
    return LogitsProcessorList(steps)


class Noise:
    """Gumbel noise: the largest of logits + noise is a sample of their softmax (Gumbel 1954; Maddison et al. 2014).

    Each clip has a generator of its own, seeded by `seed` and its id, so its text depends on no other clip.
    """

    def __init__(self, seed: int, ids: Sequence[str], device: Any) -> None:
        import torch

        self._of = [torch.Generator(device).manual_seed(number(seed, name)) for name in ids]

    def __call__(self, input_ids: "Tensor", scores: "Tensor") -> "Tensor":
        import torch

        chance = [torch.rand(scores.shape[1], generator=one, device=one.device) for one in self._of]
        noise = -torch.log(-torch.log(torch.stack(chance).clamp(1e-20, 1 - 1e-7)))
        return scores.float() + noise.to(scores.device)


def number(seed: int, name: str) -> int:
    """63 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8], "big") >> 1
