"""The phrases of phrases.toml: how captions open that say nothing of the picture, and how models refuse."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).with_name("phrases.toml")
_LISTS: Mapping[str, Mapping[str, list[str]]] = tomllib.loads(FILE.read_text(encoding="utf-8"))
OPENINGS = sorted({p.strip() for group in _LISTS["openings"].values() for p in group}, key=lambda p: (-len(p), p))
# The longest first, so that none hides a longer one. Each ends where its last word does, and not inside `video's`.
OPENING = re.compile("|".join(rf"{re.escape(phrase)}(?=[\s,:;]|\Z|(?<=\W))" for phrase in OPENINGS), re.I)
UNSPACED = ("zh", "ja", "ko")  # a word may go on after what ends a phrase
LEAD = re.compile(r"[\s\"'“”‘’«»*_>-]*")


def whole(phrase: str, language: str) -> str:
    """A pattern of it that ends where a word does: `as an AI` is no `as an airplane`."""
    return re.escape(phrase.strip().casefold()) + ("" if language in UNSPACED else r"(?!\w)")


REFUSALS = re.compile("|".join(whole(p, language) for language, group in _LISTS["refusals"].items() for p in group))


def refuses(text: str) -> bool:
    """Whether it begins as a refusal does: a caption may well quote one later on."""
    start = LEAD.sub("", text.replace("’", "'")[:200].casefold(), count=1)
    return bool(REFUSALS.match(start))
