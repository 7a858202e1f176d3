"""Which language a text is in. The model is inside the package py3langid: nothing is fetched."""

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

UNSURE = "und"  # BCP 47's own word for it
LEAST_BYTES = 20  # of letters, as UTF-8: 20 in English, 7 in Chinese; below that nobody can tell
SURE = 0.8  # probability


def available() -> bool:
    return find_spec("py3langid") is not None


@lru_cache(maxsize=1)
def identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def language_of(text: str) -> str:
    """A BCP 47 tag (`en`), `und` where that cannot be told, "" where py3langid is not installed."""
    if not available():
        return ""
    letters = "".join(c for c in text if c.isalpha() or c.isspace())
    if len("".join(letters.split()).encode()) < LEAST_BYTES:
        return UNSURE
    tag, probability = identifier().classify(letters)
    return str(tag) if probability >= SURE else UNSURE


def differs(found: str, wanted: str) -> bool:
    """Whether a text is surely in another language than the one wanted ("": any); `en-GB` wants what `en` does."""
    return bool(wanted) and found not in ("", UNSURE) and found != wanted.partition("-")[0].lower()
