"""What is decided of each answer, and what of it is stored."""

import pytest

from builder.captioning.answers import Answer, Terms, judged
from builder.captioning.engine import Said
from builder.captioning.language import available
from builder.captioning.phrases import OPENINGS, REFUSALS, refuses
from scripted import GOOD

needs_languages = pytest.mark.skipif(not available(), reason="needs py3langid, of the extra `caption`")


def judge(text: str, finished: bool = True, **terms: object) -> Answer:
    given = {"language": "", **terms}
    return judged(Said(text, finished, 1, 1), Terms(**given))  # type: ignore[arg-type]


def test_a_caption_is_stored_as_it_was_said() -> None:
    found = judge(f"  {GOOD}\n")
    assert (found.status, found.text, found.raw, found.keep) == ("ok", GOOD, "", True)


@pytest.mark.parametrize(
    "text", ["", "   \n\t ", "...", "\u200b\ufeff", "<p></p>", "The video depicts ", "In the video,", "<think>Hm"]
)
def test_what_says_nothing_is_empty(text: str) -> None:
    found = judge(text)
    assert (found.status, found.keep, found.again) == ("empty", False, True)


@pytest.mark.parametrize(
    "said, kept",
    [
        ("The video depicts a cat on a roof.", "A cat on a roof."),
        ("In this image, a McLaren drives past.", "A McLaren drives past."),
        ("the video appears to focus closely on a NASA rocket", "A NASA rocket"),
        ("In the video, the video shows a man who runs.", "A man who runs."),  # one inside the other
        ("Caption: The image portrays an Épée duel.", "An Épée duel."),
        ("The video is over.", "The video is over."),  # one word is no caption
        ("The video shows: 一只猫在沙发上睡觉。", "一只猫在沙发上睡觉。"),
        ("The video's colours fade.", "The video's colours fade."),
        ("The videos show a cat.", "The videos show a cat."),
        ("A man says: In the video, we run.", "A man says: In the video, we run."),
    ],
)
def test_an_opening_phrase_goes_and_nothing_else(said: str, kept: str) -> None:
    found = judge(said)
    assert (found.status, found.text) == ("ok", kept)
    assert found.raw == ("" if said == kept else said)
    assert judge(said, openings="keep").text == said


@pytest.mark.parametrize("opening", OPENINGS)
def test_no_opening_phrase_eats_what_it_opens(opening: str) -> None:
    assert judge(f"{opening} two dogs RUN over a hill").text == "Two dogs RUN over a hill"


@pytest.mark.parametrize(
    "said, kept",
    [
        ("<p>A <b>man</b> &amp; a&nbsp;dog<br/>run.</p><script>alert('x')</script>", "A man & a dog run."),
        ("A man\x00 walks\x1b[31m a red\x07 dog\x1b[0m home.", "A man walks a red dog home."),
        ("A\u200b man\ufeff walks\u202e his\u00ad dog.", "A man walks his dog."),
        ("A\u3000man\u2028walks\r\nhis\tdog.", "A man walks his dog."),
        ("Cafe\u0301 by the sea.", "Caf\u00e9 by the sea."),
        ("می\u200cخواهم بروم", "می\u200cخواهم بروم"),  # Persian needs its joiner
        ("A family 👨\u200d👩\u200d👧 waves.", "A family 👨\u200d👩\u200d👧 waves."),
        ("A ca\u200dt sits here.", "A cat sits here."),
        ("<think>The user wants a caption.</think>\nA dog sleeps.", "A dog sleeps."),
        ("A dog sleeps on a rug.<|im_end|></s>", "A dog sleeps on a rug."),
        ('"A large fish, golden."', "A large fish, golden."),
        ('"Stop" and "Go" are written there, "twice"', '"Stop" and "Go" are written there, "twice"'),
        ("1. **Flowers**:\n   - A pink one.\n### More\n- A bee", "1. Flowers: A pink one. More A bee"),
        ("It is < 5 and > 3 where a<b holds.", "It is < 5 and > 3 where a<b holds."),
        ("half a \ud83d character in a room", "half a character in a room"),
        ("A sign reads &lt;EXIT&gt; in red.", "A sign reads <EXIT> in red."),
    ],
)
def test_markup_and_what_nobody_sees_goes(said: str, kept: str) -> None:
    found = judge(said)
    assert (found.status, found.text) == ("ok", kept)
    found.raw.encode()  # whatever it was, it can be stored


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I cannot describe people.",
        '"As an AI language model, I do not see videos."',
        "Assistant: Unfortunately, I cannot view the image.",
        "There is no image provided, so I cannot tell.",
        "抱歉，我无法描述这个视频。",
        "申し訳ありませんが、この画像は説明できません。",
        "죄송합니다만, 이 영상은 설명할 수 없습니다.",
        "Es tut mir leid, aber ich kann das Bild nicht beschreiben.",
        "Désolé, je ne peux pas décrire cette vidéo.",
        "Lo siento, no puedo ayudar con eso.",
        "Извините, я не могу описать это видео.",
    ],
)
def test_a_refusal_is_no_caption(text: str) -> None:
    found = judge(text)
    assert (found.status, found.keep, found.again) == ("refused", False, True)


@pytest.mark.parametrize(
    "text",
    [
        "As an airplane takes off, the sun sets.",
        "A woman says: I'm sorry, but I can't.",
        "Als Kinder spielen sie im Garten.",
        "Sorrel grows beside the path.",
        "A sign reads “Sorry, we are closed”.",
    ],
)
def test_a_caption_is_no_refusal(text: str) -> None:
    assert judge(text).status == "ok"


def test_every_refusal_is_known_as_one() -> None:
    assert all(refuses(pattern.replace(r"(?!\w)", "").replace("\\", "")) for pattern in REFUSALS.pattern.split("|"))


@pytest.mark.parametrize(
    "text",
    [
        "The car drives by. " + "It is red. " * 30,
        "a" * 400,
        "ha " * 60,
        f"{GOOD} {GOOD} {GOOD}",
        f"{GOOD} The light is soft and the water still, and then " + "the sea and " * 8 + "the s",
        "一只猫在沙发上睡觉。" * 20,
        "A man walks. " * 80_000,  # a megabyte
    ],
)
def test_a_loop_is_no_caption(text: str) -> None:
    found = judge(text, finished=False)
    assert (found.status, found.keep, found.again) == ("repeated", False, True)
    assert len(found.raw) <= 8192


def test_what_repeats_itself_is_measured_and_may_be_kept() -> None:
    twice = judge(f"{GOOD} {GOOD}", most_repeated=1.0)
    assert (twice.status, twice.keep) == ("ok", True)
    assert twice.repetition == pytest.approx(13 / 29)  # of 29 4-grams, 13 are wholly in the second one
    assert judge(GOOD).repetition == 0


@pytest.mark.parametrize(
    "said, kept",
    [
        (
            "A man walks his dog by the river at dusk. The light is golden and so",
            "A man walks his dog by the river at dusk.",
        ),
        ("Mr. Smith walks to the station at 3.5 km/h. He meets Dr. ", "Mr. Smith walks to the station at 3.5 km/h."),
        ("“Stop!” he says. They go on to", "“Stop!” he says."),
        ("一个男人在河边遛狗。光线是金色的，水", "一个男人在河边遛狗。"),
        ("A man walks his do", ""),
        ("A man. He walks his dog along the river and the light is golden and", ""),  # most of it would be lost
    ],
)
def test_what_was_cut_off_ends_with_its_last_whole_sentence(said: str, kept: str) -> None:
    found = judge(said, finished=False)
    assert (found.status, found.text, found.keep, found.again) == ("truncated", kept, bool(kept), False)
    assert found.raw == said.strip()


def test_what_was_cut_off_may_be_kept_or_failed() -> None:
    said = "A man walks his dog by the river. The li"
    assert (judge(said, finished=False, on_limit="keep").text, judge(said, finished=False, on_limit="keep").keep) == (
        said,
        True,
    )
    assert not judge(said, finished=False, on_limit="fail").keep


def test_a_megabyte_is_cut_like_an_answer_that_hit_the_limit() -> None:
    sentence = "Sentence {} says that thing {} stands left of thing {}. "
    text = "".join(sentence.format(n, n * 7, n * 13) for n in range(20_000))
    found = judge(text, most_repeated=0.9)
    assert (found.status, found.keep) == ("truncated", True)
    assert len(found.text) <= 8192 and found.text.endswith(".")


@needs_languages
@pytest.mark.parametrize(
    "text, language",
    [
        (GOOD, "en"),
        ("Eine Frau in einer roten Jacke geht langsam durch den Schnee.", "de"),
        ("视频里一个穿着红色外套的女人在雪地里慢慢地行走，背景是高山和蓝天。", "zh"),
        ("Une femme en manteau rouge marche dans la neige devant les montagnes.", "fr"),
    ],
)
def test_another_language_is_asked_for_again(text: str, language: str) -> None:
    found = judge(text, language="en")
    assert (found.language, found.status) == (language, "ok" if language == "en" else "language")
    assert judge(text, language=language).keep
    assert judge(text, language="").keep


@needs_languages
def test_a_language_that_cannot_be_told_is_not_held_against_a_caption() -> None:
    assert (judge("A red car.", language="de").language, judge("A red car.", language="de").status) == ("und", "ok")
    assert judge(GOOD, language="en-GB").status == "ok"


@needs_languages
def test_real_captions_are_all_kept() -> None:
    import csv
    import json

    from sample_clips import VIDEOS

    tables = VIDEOS.parent / "tables"
    if not tables.is_dir():
        pytest.skip("needs the sample tables")
    captions = [json.loads(line)["caption"] for line in (tables / "panda70m_captions.jsonl").read_text().splitlines()]
    captions += [row["text"] for row in csv.DictReader((tables / "opensora_example.csv").read_text().splitlines(True))]
    assert len(captions) > 100
    assert {judge(caption, language="en").status for caption in captions} == {"ok"}
