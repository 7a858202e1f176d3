"""Pick: the best clip that conditions let through stands for those that show the same."""

from pathlib import Path
from typing import Any

import pytest

from builder.stages.dedupe import Twin
from builder.stages.judge import Judge
from builder.stages.pick import Duplicate, Pick
from builder.stages.rank import Threshold
from judged_run import MEASURED, MotionScore, TextScore, clip, clip_id, inputs, scan_of, verdicts, video_of, write


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Four clips of which a, b and c show the same, the best first; only `a` has text on it, and `c` moves least."""
    rows = [clip(name) for name in "abcd"]
    write(tmp_path, "split", rows)
    write(tmp_path, "scan", [scan_of(row) for row in rows])
    write(tmp_path, "merge", [video_of(row, source="mine") for row in rows])
    write(tmp_path, "score.text", [TextScore(row.clip_id, float(n == 0), 0.0) for n, row in enumerate(rows)])
    write(tmp_path, "score.motion", [MotionScore(row.clip_id, 3.0 - n) for n, row in enumerate(rows)])
    write(tmp_path, "dedupe", [twin("a"), twin("b", "a"), twin("c", "ab"), twin("d")])
    return tmp_path


def twin(name: str, better: str = "") -> Twin:
    spans = {"firsts": (0,) * len(better), "lasts": (8,) * len(better), "moments": 10 if better else 0}
    return Twin(clip_id(name), clip_id((better or name)[0]), better=tuple(map(clip_id, better)), **spans)


def picked(run: Path, *keep: str, **more: Any) -> dict[str, str]:
    """Who stands for each clip that is left out; the table is written for `judge`."""
    stage = Pick(keep=keep, measured=MEASURED[:3], twins="dedupe", **more)
    rows = [Duplicate(**row) for row in stage.asked(inputs(run, stage)).to_pylist()]
    assert all(row.covered == pytest.approx(0.8) for row in rows)
    write(run, "pick", rows)
    return {row.clip_id.partition("-")[2]: row.group.partition("-")[2] for row in rows}


def test_the_best_stands_for_all_where_it_may(run: Path) -> None:
    assert picked(run) == {"b": "a", "c": "a"}


def test_where_conditions_rule_it_out_the_next_best_is_kept(run: Path) -> None:
    assert picked(run, "text.area <= 0") == {"c": "b"}
    judge = Judge(keep=("text.area <= 0",), measured=MEASURED[:3], twins="pick")
    found = verdicts(run, judge)
    assert {name for name, failed in found.items() if not failed} == {"b", "d"}
    assert found["c"] == (f"duplicate of {clip_id('b')}, which shows 80% of it",)


def test_conditions_of_the_source_and_percentiles_count_too(run: Path) -> None:
    assert picked(run, overrides={"mine": ("text.area <= 0",)}) == {"c": "b"}
    write(run, "rank", [Threshold("motion.flow p50", 1.0, 4)])
    assert picked(run, "motion.flow <= p50") == {}
    assert picked(run, "motion.flow >= p50") == {"b": "a", "c": "a"}


def test_those_that_show_too_little_stand_for_none(run: Path) -> None:
    assert picked(run, least=0.9) == {}


def test_a_clip_that_a_scorer_failed_on_stands_for_none(run: Path) -> None:
    write(run, "score.motion", [MotionScore(clip_id(name), 1.0) for name in "bcd"])
    assert picked(run, "motion.flow >= 0") == {"c": "b"}


def test_without_twins_there_are_no_rows(run: Path) -> None:
    write(run, "dedupe", [twin(name) for name in "abcd"])
    assert picked(run) == {}
