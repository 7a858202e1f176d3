"""Base of captioners that show frames of a clip to a model and ask for a text about them."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, cast

from pydantic import Field

from builder.captioning.engine import Engine, Question, Said, Sampling
from builder.captioning.metered import Metered
from builder.errors import ItemError
from builder.records import Caption, Failure, Verdict
from builder.stage import Item, settings
from builder.stages.caption import Captioner

PROMPT = "Describe this video in detail: who or what is in it, what happens, the setting, the light and the camera."


@settings
class Asking(Captioner):
    """Subclasses give `plugin` and `engine`; settings that every engine knows are here."""

    flush_s: ClassVar[float] = 0.0

    model: str = ""
    revision: str = "main"
    prompt: Annotated[str, Field(min_length=1)] = PROMPT
    frames_per_clip: Annotated[int, Field(ge=1, le=64)] = 1
    max_new_tokens: Annotated[int, Field(ge=1)] = 256

    # -- required
    def engine(self) -> Engine:
        """Load the model onto `self.context.device`, or connect to it."""
        raise NotImplementedError

    # -- optional
    @property
    def model_revision(self) -> str:
        """The version of the model that is asked, as exactly as it can be known."""
        return self.revision

    def parameters(self, sampling: Sampling) -> dict[str, Any]:
        """What else decided a text: how frames were shown and tokens chosen."""
        dtype = cast(Engine, vars(self)["_engine"]).dtype
        known = {"frames": self.frames_per_clip, "max_new_tokens": sampling.max_new_tokens, "do_sample": False}
        return {**known, "dtype": dtype}

    def price(self, said: Said) -> float:
        """What an answer costs, where it costs anything, in whatever the user counts in."""
        return 0.0

    # -- given
    def identity(self) -> Mapping[str, str]:
        return {"revision": self.model_revision}

    def setup(self) -> None:
        vars(self)["_engine"] = Metered(self.engine(), self.context.meter, self.price)

    def close(self) -> None:
        if engine := cast(Engine | None, vars(self).pop("_engine", None)):
            engine.close()

    def batch(self, items: Sequence[Item[Verdict]]) -> list[Sequence[Caption] | Failure]:
        engine = cast(Engine, vars(self)["_engine"])
        sampling = Sampling(self.max_new_tokens)
        ready, failed = self.sift(items, self.question)
        said = dict(zip(ready, engine.say(list(ready.values()), sampling) if ready else [], strict=True))
        return [
            failed.get(item.id) or self.answer(item.id, partial(self.row, item, said.get(item.id))) for item in items
        ]

    def question(self, item: Item[Verdict]) -> Question:
        frames = self.frames(item)
        return Question(item.id, self.prompt, partial(frames.images, self.frames_per_clip))

    def row(self, item: Item[Verdict], said: Said | ItemError | None) -> Sequence[Caption]:
        if isinstance(said, ItemError):
            raise said
        assert said is not None  # who did not fail was asked
        if not said.text:
            raise ItemError("empty_caption", f"{self.model} said nothing about {item.id}; try another prompt", True)
        return [
            Caption(
                item.id,
                captioner=self.label or self.plugin,
                text=said.text,
                status="ok" if said.finished else "truncated",
                model=self.model,
                revision=self.model_revision,
                prompt=self.prompt,
                frames_s=tuple(self.frames(item).times_s(self.frames_per_clip)),
                parameters=json.dumps(self.parameters(Sampling(self.max_new_tokens))),
                tokens=said.tokens_out,
            )
        ]
