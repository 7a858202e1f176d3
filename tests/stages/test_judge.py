"""Judge and Select: verdicts with every failed condition; a failed score is not a pass."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ConfigError, RunError
from builder.records import Caption, Failure, Verdict
from builder.stages.judge import Judge, Select
from builder.stages.pick import Duplicate
from builder.stages.rank import Threshold
from judged_run import (
    MEASURED,
    MotionScore,
    TextScore,
    clip,
    clip_id,
    inputs,
    scan_of,
    verdicts,
    video_of,
    write,
)

CLIPS = {name: clip(name, seconds=2.0 * n, size=(640, 360 + n)) for n, name in enumerate("abcd", 1)}
CAPTION = Caption("", "describe", "three plain words", "ok", "describe", "", "", (), "{}")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Four clips: text area 0.0 to 0.3, motion 0 to 3, from two sources; `text` failed on the last."""
    rows = list(CLIPS.values())
    write(tmp_path, "split", rows)
    write(tmp_path, "scan", [scan_of(row, sar="4/3") for row in rows])
    licences = ("CC0", "cc by 4.0", "CC0", "")
    sources = zip(rows, ("mine", "site", "mine", "site"), licences, strict=True)
    write(tmp_path, "merge", [video_of(row, source, licence) for row, source, licence in sources])
    text = [TextScore(row.clip_id, n / 10, float(n)) for n, row in enumerate(rows[:3])]
    write(tmp_path, "score.text", text, [Failure(clip_id("d"), "timeout", "too slow", retryable=True)])
    write(tmp_path, "score.motion", [MotionScore(row.clip_id, float(n)) for n, row in enumerate(rows)])
    return tmp_path


def judge(*keep: str, **more: Any) -> Judge:
    return Judge(keep=keep, measured=MEASURED[:3], **more)


def kept(run: Path, *keep: str, **more: Any) -> str:
    return "".join(name for name, why in sorted(verdicts(run, judge(*keep, **more)).items()) if not why)


def test_all_conditions_must_hold_and_every_failed_one_is_named(run: Path) -> None:
    assert verdicts(run, judge("text.area <= 0.05", "motion.flow in 0.5..1.5")) == {
        "a": ("motion.flow 0 is not in 0.5..1.5",),
        "b": ("text.area 0.1 is not <= 0.05",),
        "c": ("text.area 0.2 is not <= 0.05", "motion.flow 2 is not in 0.5..1.5"),
        "d": ("no score: text: timeout", "motion.flow 3 is not in 0.5..1.5"),
    }


def test_a_failed_score_is_not_a_pass_whatever_is_asked_of_it(run: Path) -> None:
    for line in ("text.area <= 0.9", "text.area != 7", "all(text.area >= 0, text.boxes >= 0)"):
        assert verdicts(run, judge(line))["d"] == ("no score: text: timeout",)  # once, however often it is missing
    assert kept(run, "any(text.area <= 0.05, motion.flow >= 3)") == "ad"


def test_a_clip_that_nobody_scored_is_not_a_pass(run: Path) -> None:
    write(run, "score.motion", [])
    assert set(verdicts(run, judge("motion.flow >= 0")).values()) == {("no score: motion: not made",)}


def test_no_condition_keeps_everything(run: Path) -> None:
    assert kept(run) == "abcd"


def test_only_the_tables_that_are_named_are_read() -> None:
    assert judge().joins == judge("duration_s > 1").joins == ()
    assert judge("any(motion.flow > 1, source == a)").joins == ("merge", "score.motion")
    assert judge("text > 1").values == {}  # two fields: which one is not said


def test_facts_of_clip_and_video(run: Path) -> None:
    assert kept(run, "duration_s in 4..6") == "bc"
    assert kept(run, "frames > 100") == "cd"
    assert kept(run, "short_side >= 363", "long_side == 640", "width == 640", "fps == 25") == "cd"
    assert kept(run, "pixels <= 231040") == "a"
    assert kept(run, "aspect <= 2.351") == "cd"  # 640 x 363 pixels, each 4/3 as wide as high
    assert kept(run, "bits_per_s == 1e6", "has_audio == 0", "vfr == 0", "bit_depth == 8") == "abcd"
    assert kept(run, "codec == h264", "container != webm", "source == site") == "bd"


def test_licences_are_named_as_elsewhere(run: Path) -> None:
    assert kept(run, "any(license == CC0-1.0, license == CC-BY-4.0)") == "abc"
    assert verdicts(run, judge("license == CC0-1.0"))["b"] == ("license CC-BY-4.0 is not == CC0-1.0",)


def test_a_source_may_have_its_own_conditions_instead(run: Path) -> None:
    own = judge("motion.flow >= 1", overrides={"site": ("duration_s <= 4",)})
    assert verdicts(run, own) == {
        "a": ("motion.flow 0 is not >= 1",),
        "b": (),
        "c": (),
        "d": ("duration_s 8 is not <= 4",),
    }
    assert kept(run, "motion.flow > 9", overrides={"site": ()}) == "bd"


def test_a_percentile_is_read_from_the_ranks(run: Path) -> None:
    write(run, "rank", [Threshold("motion.flow p50", 1.0, 4)])
    ranked = judge("motion.flow >= p50")
    assert ranked.joins == ("score.motion", "rank")
    assert verdicts(run, ranked)["a"] == ("motion.flow 0 is not >= 1 (p50)",)
    assert kept(run, "motion.flow >= p50") == "bcd"


def test_a_near_duplicate_is_left_out_for_its_twin(run: Path) -> None:
    write(run, "pick", [Duplicate(clip_id("b"), clip_id("a"), 0.8), Duplicate("of another part", "x", 1.0)])
    found = verdicts(run, judge("motion.flow <= 0.5", twins="pick"))
    twin = f"duplicate of {clip_id('a')}, which shows 80% of it"
    assert (found["a"], found["b"]) == ((), (twin, "motion.flow 1 is not <= 0.5"))


def test_a_malformed_condition_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"text\.area is small"):
        Judge(keep=("text.area is small",))


def test_a_damaged_part_is_named(run: Path) -> None:
    name = next(path for path in sorted((run / "score.motion").glob("part-*")))
    name.write_bytes(name.read_bytes()[:100])
    with pytest.raises(RunError, match=rf"{name} is damaged; remove it and run again"):
        verdicts(run, judge("motion.flow > 1"))


def test_a_query_that_loses_a_clip_is_a_bug(run: Path) -> None:
    class Losing(Judge):
        def query(self, inputs: Any) -> Any:
            return super().query(inputs).head(3)

    with pytest.raises(AssertionError, match="judge: 3 answers to 4 inputs"):
        verdicts(run, Losing(keep=()))


def test_what_is_written_decides_the_fingerprint_and_what_is_on_does_not() -> None:
    prints = [judge(), judge("motion.flow > 1"), judge(preset="seed"), judge(overrides={"mine": ()})]
    assert len({stage.fingerprint() for stage in prints}) == 4
    assert judge("fps > 1").fingerprint() == Judge(keep=("fps > 1",), twins="pick").fingerprint()


def test_select_judges_captions_and_drops_clips_without_one(run: Path) -> None:
    write(run, "judge", [Verdict(clip_id(name), kept=name != "a") for name in "abcd"])
    texts = [
        dataclasses.replace(CAPTION, clip_id=clip_id("b")),
        Caption(clip_id("d"), "", "one", "", "", "", "", (), ""),
    ]
    write(run, "caption.describe", texts, [Failure(clip_id("c"), "truncated", "")])
    select = Select(
        keep=("caption-describe.words >= 3", "duration_s < 99"), measured=MEASURED, captions=("caption.describe",)
    )
    assert inputs(run, select).main == "judge"
    assert verdicts(run, select) == {
        "b": (),
        "c": ("no caption: describe: truncated",),
        "d": ("caption-describe.words 1 is not >= 3",),
    }
