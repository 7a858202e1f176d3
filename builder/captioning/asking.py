"""Base of captioners that ask a model for a text about a clip: what is asked, what is kept, and how it was made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field

from builder.captioning import slots
from builder.captioning.answers import Answer, Cut, Terms, judged
from builder.captioning.engine import Engine, Question, Said, Sampling
from builder.captioning.language import available
from builder.captioning.metered import Metered
from builder.captioning.tokens import counter, tokenizer_revision
from builder.digests import short_hash
from builder.errors import ConfigError, ItemError, RunError
from builder.figures import one_line
from builder.frames import Frames
from builder.records import Caption, Failure, Record, Score, SourceVideo, Verdict
from builder.stage import Item, settings
from builder.stages.caption import Captioner

PROMPT = "Describe this video in detail: who or what is in it, what happens, the setting, the light and the camera."
WARMER, HOTTEST = 0.4, 1.0  # temperature: what each further attempt adds, and the most it comes to
LESS_AGAIN = 1.1  # least repetition penalty of a further attempt
QUOTED = 80  # characters of a bad answer that its failure quotes
WHY: Mapping[str, tuple[str, str]] = {
    "empty": ("said nothing", "try another prompt"),
    "refused": ("refused", "try another prompt or model"),
    "repeated": ("repeats itself", "set repetition_penalty or temperature, or most_repeated = 1 to keep it"),
    "language": ("answers in another language", 'say in the prompt which one you want, or set language = ""'),
    "long": ("says more than most_tokens", "ask in the prompt for fewer words, or raise most_tokens"),
    "truncated": ("was cut off by the limit", 'raise max_new_tokens, or set on_limit = "keep"'),
}


@dataclass(frozen=True)
class Asked:
    """A question, and where its pictures come from: what was opened for it is not opened again for its row."""

    question: Question
    frames: Frames | None


@dataclass(frozen=True)
class Heard:
    """The last answer to a question, and how often it was asked."""

    answer: Answer
    said: Said
    sampling: Sampling
    attempts: int


@settings
class Asking(Captioner):
    """Subclasses give `plugin` and `engine`; settings that every engine knows are here.

    `prompt` may have slots (builder/captioning/slots.py): `{captions}` are those of the captioners named in `of`. With
    `frames_per_clip` = 0 the model is shown no picture, and need not be able to see. Temperature 0 takes the likeliest
    token, always the same. An answer that is no caption (builder/captioning/answers.py) is asked for again, `tries`
    times in all, each time 0.4 warmer and with another seed, as Whisper falls back (Radford et al., 2022, section 4.5).
    What ran into `max_new_tokens` is cut back to its last whole sentence (`on_limit`: or kept as it is, or failed).
    `language` is BCP 47, "" for any; `most_repeated` is a share of 4-grams, 1 to keep what repeats itself. No caption
    is longer than `most_tokens` of `tokenizer`, a Hub id or folder, counted with its marks of start and end (0: any
    length): a longer one is cut back to its whole sentences that fit, or asked for again where they are less than half.
    """

    version: ClassVar[int] = 2
    flush_s: ClassVar[float] = 0.0

    model: str = ""
    revision: str = "main"
    prompt: Annotated[str, Field(min_length=1)] = PROMPT
    of: tuple[str, ...] = ()
    frames_per_clip: Annotated[int, Field(ge=0, le=64)] = 1
    max_new_tokens: Annotated[int, Field(ge=1)] = 256
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    repetition_penalty: Annotated[float, Field(ge=1, le=2)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=1 << 31)] = 0
    tries: Annotated[int, Field(ge=1, le=10)] = 3
    language: Annotated[str, Field(pattern=r"^([A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*)?$")] = "en"
    openings: Literal["remove", "keep"] = "remove"
    on_limit: Cut = "cut"
    most_repeated: Annotated[float, Field(gt=0, le=1)] = 0.3
    most_tokens: Annotated[int, Field(ge=0)] = 0
    tokenizer: str = ""

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
        limit = {"most_tokens": self.most_tokens, "tokenizer": self.tokenizer} if self.most_tokens else {}
        return {"frames": self.frames_per_clip, **asdict(sampling), "dtype": dtype, **limit}

    def price(self, said: Said) -> float:
        """What an answer costs, where it costs anything, in whatever the user counts in."""
        return 0.0

    # -- given
    @property
    def joins(self) -> tuple[str, ...]:
        return (*super().joins, *slots.tables_for(self.wording, (*self.scores, *self.captions)))

    @cached_property
    def wording(self) -> str:
        """The prompt with every slot by its own name."""
        return slots.spelled(self.prompt, self.of)

    @property
    def rewrites(self) -> tuple[str, ...]:
        return slots.captions_in(self.wording)

    def check(self) -> None:
        """Refuse a prompt that cannot be filled, and settings that need each other.

        Raises:
            ConfigError: says what to write.
        """
        others = [table.removeprefix(slots.CAPTION) for table in self.captions]
        if unknown := [name for name in self.of if name not in others]:
            raise ConfigError(f"of: no other captioner is called {unknown[0]!r}; there are: {listed(others)}")
        if (slots.CAPTIONS in slots.slots(self.prompt)) != bool(self.of):
            here = "is in the prompt" if not self.of else "is not in the prompt"
            what = f"{{captions}} {here}; it stands for what the captioners of `of = [...]` said"
            raise ConfigError(f"{what}, which may be: {listed(others)}")
        slots.check(self.wording, (*self.scores, *self.captions))
        if not self.frames_per_clip and not slots.slots(self.wording):
            raise ConfigError("frames_per_clip = 0 shows no picture, and no slot of the prompt tells of the clip")
        if bool(self.most_tokens) != bool(self.tokenizer):
            raise ConfigError("most_tokens and tokenizer go together: so many tokens of which tokenizer?")

    def identity(self) -> Mapping[str, str]:
        counted = {"tokenizer": tokenizer_revision(self.tokenizer)} if self.tokenizer else {}
        return {"revision": self.model_revision, **counted}

    def digest(self, row: Record) -> str:
        """Of what is joined only what the prompt is filled with: a corrected licence asks for nothing again."""
        asked = slots.slots(self.wording)
        if isinstance(row, Caption):
            return short_hash([row.text])
        if isinstance(row, SourceVideo):
            return short_hash([getattr(row, slot) for slot in asked if slot in slots.OF_VIDEO])
        if isinstance(row, Score):
            fields = [slot.partition(".")[2] for slot in asked] + (["lines"] if slots.TEXT in asked else [])
            return short_hash([getattr(row, name, None) for name in fields if name])
        return row.digest()

    def setup(self) -> None:
        if self.language and not available():
            raise RunError(
                "py3langid is not installed, so no caption's language can be told; run: "
                f"pip install 'open-sora-dataset[caption]', or set {self.table}.language=\"\""
            )
        _ = self.terms  # a tokenizer that cannot be had is said before a model is loaded
        vars(self)["_engine"] = Metered(self.engine(), self.context.meter, self.price)

    def close(self) -> None:
        if engine := cast(Engine | None, vars(self).pop("_engine", None)):
            engine.close()

    def batch(self, items: Sequence[Item[Verdict]]) -> list[Sequence[Caption] | Failure]:
        ready, failed = self.sift(items, self.question)
        heard = self.ask({key: asked.question for key, asked in ready.items()})
        return [
            failed.get(item.id) or self.answer(item.id, partial(self.row, item, ready[item.id], heard[item.id]))
            for item in items
        ]

    def question(self, item: Item[Verdict]) -> Asked:
        if lacking := [table for table in self.rewrites if table not in item.joined]:
            what = f"{item.id} has no caption in {lacking[0]}, which this one is made of"
            raise ItemError("no_caption", f"{what}; `osd-build status RUN` tells why, `osd-build retry RUN` asks again")
        asked = slots.fill(self.wording, item.joined)
        if not self.frames_per_clip:
            return Asked(Question(item.id, asked, list), None)
        frames = self.frames(item)
        return Asked(Question(item.id, asked, partial(frames.images, self.frames_per_clip)), frames)

    def ask(self, questions: Mapping[str, Question]) -> dict[str, Heard | ItemError]:
        """The answer to each question by its id; those that are no captions are asked again together."""
        engine = cast(Engine, vars(self)["_engine"])
        heard: dict[str, Heard | ItemError] = {}
        left = list(questions.values())
        for attempt in range(1, self.tries + 1):
            sampling = self.sampling(attempt)
            for question, said in zip(left, engine.say(left, sampling) if left else [], strict=True):
                found = said if isinstance(said, ItemError) else Heard(self.judge(said), said, sampling, attempt)
                heard[question.id] = found
            left = [question for question in left if wants_more(heard[question.id])]
        return heard

    def judge(self, said: Said) -> Answer:
        return judged(said, self.terms)

    @cached_property
    def terms(self) -> Terms:
        how = (self.language, self.openings, self.on_limit, self.most_repeated, self.max_new_tokens)
        return Terms(*how, self.most_tokens, counter(self.tokenizer)) if self.most_tokens else Terms(*how)

    def sampling(self, attempt: int) -> Sampling:
        """Of the nth attempt, from 1 on."""
        first = Sampling(self.max_new_tokens, self.temperature, self.top_p, self.repetition_penalty, self.seed)
        if attempt == 1:
            return first
        return replace(
            first,
            temperature=max(self.temperature, min(HOTTEST, self.temperature + WARMER * (attempt - 1))),
            repetition_penalty=max(LESS_AGAIN, self.repetition_penalty),
            seed=self.seed + attempt - 1,
        )

    def row(self, item: Item[Verdict], asked: Asked, heard: Heard | ItemError) -> Sequence[Caption]:
        if isinstance(heard, ItemError):
            raise heard
        answer = heard.answer
        if not answer.keep:
            raise self.complaint(item.id, heard)
        return [
            Caption(
                item.id,
                captioner=self.label or self.plugin,
                text=answer.text,
                status=answer.status,
                model=self.model,
                revision=self.model_revision,
                prompt=asked.question.prompt,
                frames_s=tuple(asked.frames.times_s(self.frames_per_clip)) if asked.frames else (),
                parameters=json.dumps(self.parameters(heard.sampling)),
                tokens=heard.said.tokens_out,
                tokens_in=heard.said.tokens_in,
                engine=self.plugin,
                prompt_hash=hash_of(self.prompt),
                language=answer.language,
                attempts=heard.attempts,
                repetition=answer.repetition,
                raw=answer.raw,
            )
        ]

    def complaint(self, item_id: str, heard: Heard) -> ItemError:
        status, said = heard.answer.status, one_line(heard.said.text[:QUOTED])
        what, hint = WHY[status]
        times = "" if heard.attempts == 1 else f" {heard.attempts} times"
        quote = f' ("{said}")' if said else ""
        return ItemError(
            status, f"{self.model or self.plugin} {what}{times} about {item_id}{quote}; {hint}", heard.answer.again
        )


def listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none yet"


def wants_more(heard: Heard | ItemError) -> bool:
    return isinstance(heard, Heard) and not heard.answer.keep and heard.answer.again


def hash_of(prompt: str) -> str:
    """16 hex digits of a prompt before its slots are filled: captions of one prompt share them."""
    return sha256(prompt.encode()).hexdigest()[:16]
