"""What people decide by hand: kept as a table, as CSV that comes back as it went, and obeyed by who judges."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.decisions import Decision, Decisions, decision, from_csv, to_csv
from builder.errors import ConfigError
from builder.execute import open_run
from builder.report.dry_run import everything
from builder.stages.dedupe import Twin
from builder.stages.judge import Judge, Select
from builder.stages.pick import Pick
from builder.storage import Storage
from judged_run import MEASURED, MotionScore, clip, clip_id, inputs, scan_of, verdicts, video_of, write
from pictured_run import write_run

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40).filter(str.strip)
NAMES = st.text("abc-_0", min_size=1, max_size=5)
ROWS = st.dictionaries(
    NAMES, st.tuples(st.sampled_from(["", "keep", "drop"]), st.dictionaries(NAMES, TEXT, max_size=3))
)


@settings(max_examples=60)
@given(rows=ROWS)
def test_csv_comes_back_as_it_went(rows: dict[str, tuple[str, dict[str, str]]]) -> None:
    made = {key: decision(key, *said) for key, said in rows.items()}
    text = to_csv(made)
    assert {row.clip_id: row for row in from_csv(text)} == made
    assert from_csv("\ufeff" + text) == from_csv(text)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "'x", "\tx", '=HYPERLINK("x")', "\r=1"])
def test_no_spreadsheet_runs_a_cell(text: str) -> None:
    table = to_csv({"a": Decision("a", "", ("describe",), (text,))})
    assert [row.texts for row in from_csv(table)] == [(text,)]
    cell = table.split('"describe",')[1].lstrip('"')
    assert cell.startswith("'")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "first line"),
        ("clip_id,decision\na,keep\n", "first line"),
        ("clip_id,decision,captioner,caption\na,perhaps,,\n", "no decision about a"),
        ("clip_id,decision,captioner,caption\na,keep\n", "line 2"),
        ("clip_id,decision,captioner,caption\na,keep,,,,\n", "line 2"),
        ("clip_id,decision,captioner,caption\n,keep,,\n", "line 2"),
        ("clip_id,decision,captioner,caption\na,keep,,\na,drop,,\n", "line 3"),
        ("clip_id,decision,captioner,caption\na,keep,,text\n", "line 2"),
        ("clip_id,decision,captioner,caption\na,keep,describe,  \n", "a caption of a is empty"),
        ('clip_id,decision,captioner,caption\na,keep,"x,y\n', "CSV"),
    ],
)
def test_a_csv_that_says_nothing_clear(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        from_csv(text)


def test_they_are_kept_replaced_and_taken_back(tmp_path: Path) -> None:
    book = Decisions(Storage(tmp_path))
    book.add([decision("a", "keep", {}), decision("b", "drop", {"describe": "x"})])
    book.add([decision("a", "drop", {}), decision("b", "", {})])
    again = Decisions(Storage(tmp_path)).rows
    assert {key: row.decision for key, row in again.items()} == {"a": "drop"}
    assert again["a"].decided_at


def test_the_next_run_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    before = {stage.name: stage.fingerprint() for _, stage in open_run(run).stages if isinstance(stage, Judge)}
    Decisions(Storage(run)).add([decision("a", "keep", {}), decision("b", "", {"describe": "x"})])
    after = {stage.name: stage for _, stage in open_run(run).stages if isinstance(stage, Judge)}
    assert after["judge"].by_hand == after["select"].by_hand == {"a": "keep"}
    assert all(before[name] != stage.fingerprint() for name, stage in after.items())
    assert everything


def judged(tmp_path: Path, flows: dict[str, float]) -> None:
    clips = [clip(name) for name in flows]
    write(tmp_path, "split", clips)
    write(tmp_path, "scan", [scan_of(row) for row in clips])
    write(tmp_path, "merge", [video_of(row) for row in clips])
    write(tmp_path, "score.motion", [MotionScore(clip_id(name), value) for name, value in flows.items()])


def test_judging_obeys(tmp_path: Path) -> None:
    judged(tmp_path, {"a": 1.0, "b": 0.0, "c": 1.0, "d": 0.0})
    by_hand = {clip_id("b"): "keep", clip_id("c"): "drop", "of another time": "keep"}
    judge = Judge(keep=("motion.flow >= 0.5",), measured=MEASURED, by_hand=by_hand)
    failed = ("motion.flow 0 is not >= 0.5",)
    assert verdicts(tmp_path, judge) == {"a": (), "b": (), "c": ("dropped by hand",), "d": failed}


def test_what_is_kept_by_hand_still_needs_its_caption() -> None:
    select = Select(by_hand={"a": "keep"})
    reasons = ["no score: text: timeout", "no caption: llava: truncated", "motion.flow 0 is not >= 1"]
    assert select.decided("a", reasons) == ["no caption: llava: truncated"]


def test_a_dropped_clip_takes_no_twin_along(tmp_path: Path) -> None:
    """Of two that show the same the better one is dropped: the other stays, and one that is kept stands for others."""
    judged(tmp_path, {"a": 1.0, "b": 1.0})
    better = (clip_id("a"),)
    write(
        tmp_path,
        "dedupe",
        [Twin(clip_id("a"), clip_id("a"), moments=8), Twin(clip_id("b"), *better, 1, 1, 1, better, (0,), (8,), 8)],
    )
    pick = Pick(keep=("motion.flow >= 0.5",), measured=MEASURED, twins="dedupe")
    assert pick.query(inputs(tmp_path, pick))["clip_id"].to_list() == [clip_id("b")]
    dropped = Pick(keep=("motion.flow >= 0.5",), measured=MEASURED, twins="dedupe", by_hand={clip_id("a"): "drop"})
    assert dropped.query(inputs(tmp_path, dropped))["clip_id"].to_list() == []
    failing = Pick(keep=("motion.flow >= 5",), measured=MEASURED, twins="dedupe")
    kept = Pick(keep=("motion.flow >= 5",), measured=MEASURED, twins="dedupe", by_hand={clip_id("a"): "keep"})
    found = [stage.query(inputs(tmp_path, stage))["clip_id"].to_list() for stage in (failing, kept)]
    assert found == [[], [clip_id("b")]]
