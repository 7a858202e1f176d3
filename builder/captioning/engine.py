"""What an engine is asked and what it answers: frames and a prompt in, text out. An engine knows nothing of tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from builder.errors import ItemError


@dataclass(frozen=True)
class Question:
    """One clip as a model sees it. `frames()` reads its upright RGB pictures, uint8 (h, w, 3), in order of time.

    Nothing is read before `frames` is called, so that an engine may read ahead in threads and hold few of them. It
    raises ItemError where they cannot be had.
    """

    id: str
    prompt: str
    frames: Callable[[], list[NDArray[Any]]]


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. Temperature 0 takes the likeliest (greedy); else `seed` makes the choice repeatable."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Said:
    """An answer as it came: `finished` if the model ended it by itself, `tokens_in` with those of the pictures."""

    text: str
    finished: bool
    tokens_in: int
    tokens_out: int


class Engine(Protocol):
    """A model that is ready to be asked."""

    dtype: str  # what it computes in, "" where that is not known

    def say(self, questions: Sequence[Question], sampling: Sampling) -> list[Said | ItemError]:
        """One answer a question, in order. What is wrong with one question is its ItemError; others are answered."""

    def close(self) -> None:
        """Give back memory, connections, threads."""
