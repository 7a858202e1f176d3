"""How much a text repeats itself, in any script and in time proportional to its length."""

import re

WORD = re.compile(
    # scripts without spaces, a character each: CJK, kana, Hangul is spaced, Thai, Lao, Khmer, Burmese
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]|[^\W_]+(?:['’][^\W_]+)*"
)
GRAM = 4  # words, as Welleck et al. count them
TAIL = 4000  # characters at the end that are looked at for a loop
TIMES, LOOP = 4, 40  # as often, and over at least as many characters, the end must say the same to be a loop


def words(text: str) -> list[str]:
    """Its words; of scripts that put no spaces between them, its characters."""
    return WORD.findall(text)


def repetition(text: str) -> float:
    """The share of 4-grams of words that were there before, 0..1: 1 - distinct / all.

    Known as seq-rep-4 (Welleck et al., Neural Text Generation with Unlikelihood Training, ICLR 2020, section 6).
    """
    said = words(text.casefold())
    grams = [tuple(said[i : i + GRAM]) for i in range(len(said) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def loops(text: str) -> bool:
    """Whether the end says one thing over and over, cut anywhere: four times, over at least 40 characters.

    A good caption that ends in a loop repeats few of its 4-grams, and one character repeated is a single word; so this
    looks at characters. The border of every prefix of the reversed text gives the period of every end of the text
    (Knuth, Morris and Pratt, 1977).
    """
    end = text.casefold()[: -TAIL - 1 : -1]
    borders = [0] * len(end)
    longest = 0
    for i in range(1, len(end)):
        while longest and end[i] != end[longest]:
            longest = borders[longest - 1]
        longest += end[i] == end[longest]
        borders[i] = longest
        length = i + 1
        if length >= LOOP and length >= TIMES * (length - longest):
            return True
    return False
