"""What a model said as plain text: one line, no markup, nothing invisible, no opening phrase, whole sentences."""

import html
import re
import unicodedata

from builder.captioning.phrases import OPENING
from builder.captioning.repetition import words

THOUGHT = re.compile(r"\A.*</think(?:ing)?\s*>", re.S | re.I)  # models that think aloud answer after it
THINKING = re.compile(r"<think(?:ing)?\s*>.*\Z", re.S | re.I)  # ... or never come to it
HIDDEN = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.S | re.I)
ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.I)
SPECIAL = re.compile(  # tokens that steer models
    r"<[|｜][^<>\s]{1,64}[|｜]>|</?s>|<(?:pad|eos|bos|unk|image|video|start_of_turn|end_of_turn|end_of_utterance)>|\[/?INST\]",
    re.I,
)
INLINE = re.compile(r"</?(?:a|b|i|u|em|strong|span|sub|sup|code|small|mark|font|q)(?:\s[^<>]*)?/?>", re.I)
BLOCK = re.compile(
    r"</?(?:br|p|div|ul|ol|li|h[1-6]|hr|img|video|html|head|body|title|pre|table|thead|tbody|tr|td|th|section|article"
    r"|header|footer|main|center|blockquote|figure|figcaption|caption|answer|output|response|text)(?:\s[^<>]*)?/?>",
    re.I,
)
RULE = re.compile(r"^[ \t]*(?:[-*_=]{3,}|```\w*)[ \t]*$", re.M)
LIST = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|[-*•][ \t]+)", re.M)
BOLD = re.compile(r"(\*\*|__)(?=\S)([^*_\n]+?)(?<=\S)\1")
ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # colours and cursor moves of a terminal
JOINERS = "\u200c\u200d"
# Scripts and emoji that are written with joiners; between other characters they are invisible marks.
JOINED = r"[\u0600-\u0dff\u1780-\u17ff\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]"
STRAY = re.compile(rf"(?<!{JOINED})[{JOINERS}]+|[{JOINERS}]+(?!{JOINED})")
QUOTES = {'"': '"', "“": "”", "'": "'", "‘": "’", "«": "»", "「": "」"}
LEAST_WORDS = 2  # that removing an opening phrase must leave
ENDS = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s|$)|[。！？]+[」』”’）]*")
NOT_ENDS = frozenset(
    ["mr", "mrs", "ms", "dr", "st", "vs", "no", "approx", "e.g", "i.e", "etc", "prof", "jr", "sr"]
)  # full stops after these end nothing


def plain(said: str) -> str:
    """One line of visible characters, as they are composed (NFC); markup is gone, what it marked is there."""
    text = THINKING.sub("", THOUGHT.sub("", said))
    text = ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = BLOCK.sub(" ", INLINE.sub("", SPECIAL.sub(" ", HIDDEN.sub(" ", text))))
    text = BOLD.sub(r"\2", LIST.sub("", RULE.sub(" ", ESCAPE.sub("", text))))
    return unquoted(" ".join(visible(text).split()))


def visible(text: str) -> str:
    """Without what nobody sees: controls, zero-width and directional marks, half characters. White space is spaces."""
    if text.isascii() and text.isprintable():
        return text
    text = unicodedata.normalize("NFC", text)
    seen = "".join(c if c.isprintable() or c in JOINERS else " " if c.isspace() else "" for c in text)
    return STRAY.sub("", seen.replace("\ufffd", ""))


def unquoted(text: str) -> str:
    """Without the quotation marks around all of it."""
    close = QUOTES.get(text[:1])
    inside = text[1:-1]
    if close and len(text) > 1 and text[-1] == close and close not in inside and text[0] not in inside:
        return inside.strip()
    return text


def without_opening(text: str) -> str:
    """Without the phrases of `phrases.toml` it opens with, and with a capital then; never without what they open.

    Empty of a text that is such a phrase and nothing else.
    """
    rest = text
    while opening := OPENING.match(rest):
        after = rest[opening.end() :].lstrip(" ,:;")
        if 0 < len(words(after)) < LEAST_WORDS:
            break
        rest = after
    return rest if rest == text else capitalised(rest)


def capitalised(text: str) -> str:
    first = text[:1].upper()
    return first + text[1:] if len(first) == 1 else text


def whole_sentences(text: str) -> str:
    """Up to the last sentence that ends; empty where none does."""
    return text[: max(sentence_ends(text), default=0)]


def sentence_ends(text: str) -> list[int]:
    """How far it goes with one sentence, with two, and so on."""
    return [end.end() for end in ENDS.finditer(text) if not abbreviation(text[: end.end()])]


def abbreviation(text: str) -> bool:
    """Whether the full stop at its end is that of an abbreviation or of an initial."""
    last = text.rpartition(" ")[2].rstrip(".").lstrip("(\"'“‘").casefold()
    return text.endswith(".") and (last in NOT_ENDS or (len(last) == 1 and last.isalpha() and last not in "ai"))
