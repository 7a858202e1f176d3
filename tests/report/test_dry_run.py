"""The dry run: its counts equal those of the verdicts, and it writes nothing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from builder.errors import ConfigError, RunError
from builder.execute import open_run
from builder.pipeline import Run
from builder.records import Clip, Failure
from builder.report.dry_run import Forecast, counted, everything, forecast, judge_of, render
from builder.report.explain import explain
from builder.report.explain import render as render_clip
from builder.scorers.motion import MotionScore
from builder.scorers.sharpness import SharpnessScore
from builder.stages.judge import Judge
from command_line import digests
from judged_run import clip, inputs, scan_of, video_of, write

CONFIG = """\
[[source]]
kind = "folder"
name = "mine"
path = "videos"
[[source]]
kind = "folder"
name = "other"
path = "more"
[score]
use = ["motion", "sharpness"]
[dedupe]
on = false
[filter]
keep = [
    "motion.flow >= 0.5", "any(sharpness.laplacian >= 4, motion.camera < 0.1)", "duration_s in 2..16",
    "motion.flow <= p90",
]
[filter.source.other]
keep = ["motion.static <= 0.9", "sharpness.laplacian >= 1"]
"""
CLIPS = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of two sources with random scores; of every tenth `motion` could not be had."""
    root = tmp_path_factory.mktemp("judged")
    (root / "build.toml").write_text(CONFIG)
    random = np.random.default_rng(0)
    clips = [clip(f"{n}", seconds=random.choice([1.0, 4.0, 20.0], p=[0.1, 0.8, 0.1])) for n in range(CLIPS)]
    figures = random.random((CLIPS, 4))
    write(root, "split", clips)
    write(root, "scan", [scan_of(row) for row in clips])
    write(
        root, "merge", [video_of(row, "other" if n % 3 else "mine", "CC0", author="Mo") for n, row in enumerate(clips)]
    )
    moving = [MotionScore(row.clip_id, 2 * a, b, b, c) for row, (a, b, c, _) in zip(clips, figures, strict=True)]
    failed = [Failure(row.clip_id, "timeout", "took too long", retryable=True) for row in clips[::10]]
    write(root, "score.motion", [row for n, row in enumerate(moving) if n % 10], failed)
    write(
        root,
        "score.sharpness",
        [SharpnessScore(row.clip_id, 10 * d, 10 * d) for row, d in zip(clips, figures[:, 3], strict=True)],
    )
    return root


def opened(folder: Path, *sets: str) -> Run:
    return open_run(folder, sets)


def judged(run: Run, without: str = "") -> dict[str, list[str]]:
    """The verdicts themselves, by the stage; `without` a condition."""
    judge = judge_of(run)
    if without:
        kept = tuple(line for line in judge.keep or () if line != without)
        own = {name: tuple(line for line in lines if line != without) for name, lines in judge.overrides.items()}
        judge = Judge(keep=kept, overrides=own, measured=judge.measured)
    rank = next(s for _, s in run.stages if s.table == "rank")
    jobs = {job.target.name: job for job in run.jobs()}
    known = dict(rank.query(everything(jobs, "rank")).select("asked", "value").iter_rows())
    vars(judge)["thresholds"] = lambda inputs: known
    return {row["clip_id"]: row["failed"] for row in judge.asked(everything(jobs, "judge")).to_pylist()}


def test_the_counts_are_those_of_the_verdicts(folder: Path) -> None:
    run = opened(folder)
    found, verdicts = forecast(run), judged(run)
    kept = {key for key, failed in verdicts.items() if not failed}
    assert (found.clips, found.kept) == (CLIPS, len(kept))
    assert 0 < found.kept < CLIPS
    assert found.measured == CLIPS - sum("no score: motion: timeout" in failed for failed in verdicts.values())
    rows = {row.clip_id: row for row in clips(folder)}
    assert found.kept_s == pytest.approx(sum(rows[key].duration_s for key in kept))
    assert len(found.conditions) == 6
    for cost in found.conditions:
        line = cost.line.partition("  [")[0]
        freed = {key for key, failed in judged(run, without=line).items() if not failed}
        assert cost.alone == len(freed - kept)  # what is lost by it alone is what leaving it out would give back
        assert cost.alone <= cost.fails
        assert cost.lacks <= cost.fails


def clips(folder: Path) -> list[Clip]:
    run = opened(folder)
    return [
        row for job in run.jobs() if job.target.name == "split" for row in job.target.rows() if isinstance(row, Clip)
    ]


def test_fails_and_lacks_of_a_simple_condition(folder: Path) -> None:
    found = forecast(opened(folder, 'filter.keep=["motion.flow >= 1"]', "filter.source={}"))
    [cost] = found.conditions
    run = opened(folder)
    rows = [row for job in run.jobs() if job.target.name == "score.motion" for row in job.target.rows()]
    slow = sum(isinstance(row, MotionScore) and row.flow < 1 for row in rows)
    assert (cost.fails, cost.alone, cost.lacks) == (slow + CLIPS // 10, slow + CLIPS // 10, CLIPS // 10)
    assert found.kept == CLIPS - cost.fails


def test_nothing_is_written_and_thresholds_can_be_tried(folder: Path) -> None:
    before = digests(folder)
    first, second = forecast(opened(folder)), forecast(opened(folder, "filter.keep=[]", "filter.source={}"))
    assert (second.kept, second.conditions) == (CLIPS, ())
    assert first.kept < second.kept
    assert digests(folder) == before


def test_text_and_json_say_the_same(folder: Path) -> None:
    found = forecast(opened(folder))
    values: dict[str, Any] = json.loads(found.to_json())
    text = render(found)
    assert values["kept"] == found.kept
    assert [cost["alone"] for cost in values["conditions"]] == [cost.alone for cost in found.conditions]
    for cost in found.conditions:
        [line] = [line for line in text.splitlines() if cost.line in line]
        assert [int(word) for word in line.split()[-3:]] == [cost.fails, cost.alone, cost.lacks]
    assert "motion.flow <= p90  [p90 = " in text
    assert "motion.static <= 0.9 (source other)" in text


def test_what_is_not_up_to_date_is_said(folder: Path, tmp_path: Path) -> None:
    assert any("score.motion: 2 parts were made with other settings" in note for note in forecast(opened(folder)).notes)
    (tmp_path / "build.toml").write_text(CONFIG)
    with pytest.raises(RunError, match=f"has no clips yet; run: osd-build split {tmp_path}"):
        forecast(opened(tmp_path))
    write(tmp_path, "split", clips(folder))
    with pytest.raises(RunError, match=f"nothing has been scored in .* yet; run: osd-build filter {tmp_path}"):
        forecast(opened(tmp_path))
    rows = [row for job in opened(folder).jobs() if job.target.name == "score.motion" for row in job.target.rows()]
    write(tmp_path, "score.motion", rows)
    (tmp_path / "score.motion" / "part-00001.parquet").unlink()
    found: Forecast = forecast(opened(tmp_path, 'filter.keep=["motion.flow >= 0"]', "filter.source={}"))
    assert 0 < found.kept == CLIPS - found.conditions[0].lacks < CLIPS
    assert "score.motion: 1 of 2 parts are finished; the other clips have no value yet" in found.notes


def test_a_preset_says_what_it_cannot_do(folder: Path) -> None:
    found = forecast(opened(folder, "filter.keep=[]", "filter.preset=panda-70m", "filter.source={}"))
    assert [cost.line for cost in found.conditions] == ["duration_s in 2.5..60"]
    assert any("no classifier with weights" in note for note in found.notes)


# -- one clip
def pick(folder: Path, failed: Sequence[str]) -> str:
    """A clip against which just these things speak."""
    return next(key for key, texts in judged(opened(folder)).items() if [t.split()[0] for t in texts] == [*failed])


def test_every_condition_is_told_with_the_clips_value(folder: Path) -> None:
    run = opened(folder)
    found = explain(run, pick(folder, ["motion.flow"]))
    assert not found.kept
    assert [bool(answer.failed) for answer in found.conditions].count(True) == 1
    assert found.conditions[0].values == {"motion.flow": found.scores["motion.flow"]}
    assert found.provenance["author"] == "Mo"
    assert found.provenance["license"] == "CC0-1.0"
    text = render_clip(found, run)
    assert text.startswith(f"{found.clip_id}: not kept\n")
    assert "of a.mp4, source mine, Mo, CC0-1.0" in text
    assert f"FAILS  motion.flow >= 0.5:  motion.flow {found.scores['motion.flow']:.4g}" in text
    assert json.loads(found.to_json())["conditions"][0]["failed"] == list(found.verdict)


def test_the_explanation_is_the_verdict(folder: Path) -> None:
    run = opened(folder)
    for key, failed in list(judged(run).items())[:20]:
        assert list(explain(run, key).verdict) == failed


def test_conditions_of_the_clips_own_source_are_told(folder: Path) -> None:
    found = explain(opened(folder), pick(folder, ["motion.static"]))
    assert [answer.line for answer in found.conditions] == ["motion.static <= 0.9", "sharpness.laplacian >= 1"]


def test_a_score_that_could_not_be_had_is_told_with_the_way_to_try_again(folder: Path) -> None:
    run = opened(folder)
    found = explain(run, pick(folder, ["no"]))
    assert found.failures["score.motion"].kind == "timeout"
    text = render_clip(found, run)
    assert "has no value  (no score: motion: timeout)" in text
    assert "score.motion failed: timeout: took too long" in text
    assert f"osd-build retry score.motion {folder} --kind timeout" in text


def test_a_clip_is_found_by_any_beginning_that_is_its_own(folder: Path) -> None:
    run = opened(folder)
    key = clips(folder)[0].clip_id
    assert explain(run, key[:9]).clip_id == explain(run, key).clip_id == key
    with pytest.raises(ConfigError, match="no clip begins with 'nothing'; their ids are in the tables of"):
        explain(run, "nothing")
    with pytest.raises(ConfigError, match=r"200 clips begin with '': .*, \.\.\.; write more of the id"):
        explain(run, "")


def test_near_duplicates_are_counted_like_a_condition(tmp_path: Path) -> None:
    rows = [clip(name, seconds=seconds) for name, seconds in (("a", 4.0), ("b", 4.0), ("c", 1.0))]
    write(tmp_path, "split", rows)
    twins = pl.DataFrame({"clip_id": [row.clip_id for row in rows[1:]], "group": rows[0].clip_id, "covered": 1.0})
    judge = Judge(keep=("duration_s >= 2",))
    row = counted(judge, inputs(tmp_path, judge), judge.rules, twins)
    assert (row["kept"], row["fails twin"], row["alone twin"], row["alone 0"]) == (1, 2, 1, 0)
