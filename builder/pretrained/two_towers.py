"""Networks that put pictures and text into one space (CLIP, SigLIP), to tell how well the two fit."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from builder.errors import RunError
from builder.pretrained.hub import local_folder, missing, resolve
from builder.pretrained.image_encoder import FeaturesOf

SPLITS = (r"(?<=[.!?;])\s+|(?<=[。！？；])", r"\s+", r"(?!^)(?!$)")  # into sentences, into words, into characters


@dataclass(frozen=True)
class Piece:
    """A part of a text that the network can read at once: its unit vector, and its length in tokens."""

    vector: NDArray[np.float32]
    tokens: int


class TwoTowers(FeaturesOf):
    """A model that transformers' AutoModel loads, with image and text features, in float32.

    Raises:
        RunError: it is not at hand, or has no text features.
    """

    def __init__(self, model: str, revision: str, device: str) -> None:
        super().__init__(model, revision, device)
        from transformers import AutoTokenizer

        folder = local_folder(model)
        where = {"trust_remote_code": False} | ({} if folder else {"revision": resolve(model, revision)})
        if not hasattr(self._network, "get_text_features"):
            raise RunError(f"{model} ({type(self._network).__name__}) has no text features; name a model such as CLIP")
        try:
            self._tokenizer = cast(Any, AutoTokenizer).from_pretrained(str(folder or model), **where)
        except (OSError, ValueError, ImportError) as error:
            raise RunError(missing(model, revision, error)) from error
        text = getattr(self._network.config, "text_config", self._network.config)
        self.context = min(self._tokenizer.model_max_length, text.max_position_embeddings)

    def read(self, texts: Sequence[str]) -> list[list[Piece]]:
        """Each text in pieces that fit the network's context; most captions are one."""
        cut = [[p for p in pieces(text, self._fits) if p] for text in texts]
        vectors = iter(self._vectors([p for parts in cut for p in parts], self._tokens, "text") if any(cut) else ())
        return [[Piece(next(vectors), self._length(p)) for p in parts] for parts in cut]

    def _length(self, text: str) -> int:
        return len(self._tokenizer(text, verbose=False)["input_ids"])

    def _fits(self, text: str) -> bool:
        return bool(self._length(text) <= self.context)

    def _tokens(self, texts: Sequence[str]) -> Any:
        """Padded to the whole context: SigLIP was trained so, and a text has one vector in whatever company."""
        return self._tokenizer(list(texts), padding="max_length", max_length=self.context, return_tensors="pt")


def pieces(text: str, fits: Callable[[str], bool], splits: Sequence[str] = SPLITS) -> list[str]:
    """As few pieces as whole sentences allow; a sentence that does not fit is cut between words, a word anywhere."""
    if fits(text) or not splits:
        return [text.strip()]
    found: list[str] = []
    for start, end in spans(text, splits[0]):
        longer = f"{found[-1]}{text[start:end]}" if found else ""
        if found and fits(longer.strip()):
            found[-1] = longer
        else:
            found += (
                pieces(text[start:end], fits, splits[1:]) if not fits(text[start:end].strip()) else [text[start:end]]
            )
    return [piece.strip() for piece in found]


def spans(text: str, split: str) -> list[tuple[int, int]]:
    """From the end of one separator to the end of the next."""
    ends = [found.end() for found in re.finditer(split, text)]
    return list(zip([0, *ends], [*ends, len(text)], strict=True))
