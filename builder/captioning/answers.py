"""Whether what a model said can be kept, and as what.

    ok         it is a caption
    truncated  the model ran into the limit; cut back to its last whole sentence, where that keeps most of it
    empty      it says nothing
    repeated   it says the same over and over
    refused    the model declines
    language   it is surely in another language than asked for
    long       it is longer than `most_tokens`, and whole sentences that fit are not most of it

The first two may become rows; the others are asked for again, and fail in the end.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from builder.captioning.cleaning import plain, sentence_ends, whole_sentences, without_opening
from builder.captioning.engine import Said
from builder.captioning.language import differs, language_of
from builder.captioning.phrases import refuses
from builder.captioning.repetition import loops, repetition, words

Status = Literal["ok", "truncated", "empty", "repeated", "refused", "language", "long"]
Cut = Literal["cut", "keep", "fail"]
CHARACTERS_A_TOKEN, LEAST_LIMIT = 32, 4096  # what is longer than any tokens could say is cut off there
MOST = 0.5  # share of characters that whole sentences must be to stand for an answer that was cut off


@dataclass(frozen=True)
class Terms:
    """What an answer must be. `language` is BCP 47, "" for any; a share of repetition of 1 is never too much.

    What is stored is at most `most_tokens` long, as `tokens_in` counts them (0: any length), whatever `on_limit` says.
    """

    language: str = "en"
    openings: Literal["remove", "keep"] = "remove"
    on_limit: Cut = "cut"
    most_repeated: float = 0.3
    max_new_tokens: int = 256
    most_tokens: int = 0
    tokens_in: Callable[[str], int] = len


@dataclass(frozen=True)
class Answer:
    """`text` is what can be stored, `raw` what was said where that is something else, both without a broken half.

    `keep` says whether it is a caption, `again` whether asking with other sampling may help.
    """

    status: Status
    text: str
    raw: str
    language: str = ""
    repetition: float = 0.0
    keep: bool = False
    again: bool = True


def judged(said: Said, terms: Terms) -> Answer:
    """Everything that is decided of one answer; depends on nothing else."""
    limit = max(LEAST_LIMIT, CHARACTERS_A_TOKEN * terms.max_new_tokens)
    heard, finished = storable(said.text[:limit]).strip(), said.finished and len(said.text) <= limit
    clean = plain(heard)
    opened = without_opening(clean) if terms.openings == "remove" else clean
    text = opened if finished or terms.on_limit == "keep" else shortened(opened)
    whole, text = text, fitting(text, terms)
    share, language = repetition(opened), language_of(text or opened)
    status = status_of(opened, terms, share, language)
    raw = heard if heard != text else ""
    if status != "ok":
        return Answer(status, text, raw, language, share)
    if text != whole and (not text or terms.on_limit == "fail"):
        return Answer("long", text, raw, language, share)
    if finished and text == whole:
        return Answer("ok", text, raw, language, share, keep=True)
    keep = bool(text) and terms.on_limit != "fail"
    return Answer("truncated", text, raw, language, share, keep, again=False)


def status_of(text: str, terms: Terms, share: float, language: str) -> Status:
    """Of a text that was not cut off."""
    if not words(text):
        return "empty"
    if refuses(text):
        return "refused"
    if terms.most_repeated < 1 and (share > terms.most_repeated or loops(text)):
        return "repeated"
    return "language" if differs(language, terms.language) else "ok"


def shortened(text: str) -> str:
    """Its whole sentences, where they are most of it; else nothing."""
    whole = whole_sentences(text)
    return whole if len(whole) >= MOST * len(text) else ""


def fitting(text: str, terms: Terms) -> str:
    """All of it where it is short enough, else its whole sentences that fit, where they are most of it."""
    if not terms.most_tokens or terms.tokens_in(text) <= terms.most_tokens:
        return text
    ends = sentence_ends(text)
    count = bisect_right(ends, terms.most_tokens, key=lambda end: terms.tokens_in(text[:end]))
    short = text[: ends[count - 1]] if count else ""
    return short if len(short) >= MOST * len(text) else ""


def storable(text: str) -> str:
    """As UTF-8 can hold it: a server's JSON may name half characters."""
    return text.encode("utf-8", "ignore").decode()
