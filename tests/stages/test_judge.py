"""Judge and Select: verdicts with every failed condition; a failed score is not a pass."""

from dataclasses import dataclass

import pytest

from builder.errors import ConfigError
from builder.records import Caption, Clip, Score, Verdict
from builder.stage import Item
from builder.stages.judge import Judge, Select

CLIP = Clip("c", "v", 0, 10, 0, 10, 0.0, 1.0, 10.0, 64, 64)
CAPTION = Caption("c", "describe", "three plain words", "ok", "describe", "", "", (), "{}")


@dataclass(frozen=True, slots=True)
class TextScore(Score):
    area: float
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MotionScore(Score):
    flow: float


def judge(keep: tuple[str, ...], text: float | None = 0.0, flow: float | None = 1.0) -> Verdict:
    joined = {}
    if text is not None:
        joined["score.text"] = TextScore("c", text)
    if flow is not None:
        joined["score.motion"] = MotionScore("c", flow)
    return Judge(keep=keep).each(Item(CLIP, "", joined))[0]


def test_all_conditions_must_hold_and_every_failed_one_is_named() -> None:
    keep = ("text.area <= 0.02", "motion.flow in 0.5..30")
    assert judge(keep) == Verdict("c", True)
    assert judge(keep, text=0.5, flow=99.0) == Verdict(
        "c", False, ("text.area 0.5 is not <= 0.02", "motion.flow 99 is not in 0.5..30")
    )


def test_a_failed_score_is_not_a_pass() -> None:
    verdict = judge(("text.area <= 0.02",), text=None)
    assert verdict == Verdict("c", False, ("text.area has no value",))


def test_no_condition_keeps_everything() -> None:
    assert judge(()).kept


def test_a_malformed_condition_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"text\.area is small"):
        Judge(keep=("text.area is small",))


def test_select_judges_captions_and_drops_clips_without_one() -> None:
    select = Select(keep=("caption-describe.words >= 3",), tables=("caption.describe",))
    row = Verdict("c", True)
    assert select.each(Item(row, "", {"caption.describe": CAPTION}))[0].kept
    verdict = select.each(Item(row, "", {}))[0]
    assert not verdict.kept
    assert verdict.failed[0] == "caption.describe has none"
