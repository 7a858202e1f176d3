"""Filtering as a user does it: trying conditions, asking why, percentiles, and scores that could not be had."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from builder.board import Board
from builder.execute import open_run
from builder.records import Failure
from builder.report.funnel import funnel
from builder.retry import forget
from builder.table import Answer
from command_line import WRONG, digests, osd_build, write_run
from made_video import Made, write


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write(folder / "a.mp4", Made(frames=30))
    write(folder / "b.mp4", Made(frames=45))
    return folder


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory, videos: Path) -> Path:
    """A run that is scored and judged; whoever changes it works on a copy."""
    run = write_run(tmp_path_factory.mktemp("run") / "run", videos)
    go(run, "crawl", "split", "filter")
    return run


def go(folder: Path, *verbs: str) -> None:
    """As `osd-build VERB` does, but in this process: no pool to start."""
    run = open_run(folder)
    run.write_sources()
    board = Board(run.jobs(), {stage.table for verb, stage in run.stages if verb in verbs})
    context = run.context()
    while unit := board.take(gpu=False):
        with board.jobs[unit.table].stage.opened(context):
            board.account(board.jobs[unit.table].run(unit))
    assert board.finished()
    board.close()
    context.close()


def tables(run: Path, name: str) -> dict[str, Any]:
    """The answers of a table by input."""
    job = next(job for job in open_run(run).jobs() if job.target.name == name)
    return {key: answer for n in job.target.parts() for key, answer in job.target.read(n).answers.items()}


def edit_motion(run: Path, clip: str, answer: Answer[Any]) -> None:
    job = next(job for job in open_run(run).jobs() if job.target.name == "score.motion")
    for n in job.target.parts():
        part = job.target.read(n)
        if clip in part.answers:
            job.target.write(n, part.stamp, {**part.answers, clip: answer})


def test_a_dry_run_writes_nothing(filtered: Path) -> None:
    before = digests(filtered)
    sets = ["--set", 'filter.keep=["motion.flow >= 1000", "duration_s >= 1.5", "brightness.mean >= p0"]']
    text, told = (
        osd_build("filter", filtered, "--dry-run", *sets),
        osd_build("filter", filtered, "--dry-run", "--json", *sets),
    )
    values = json.loads(told.stdout)
    assert (text.returncode, told.returncode) == (0, 0)
    assert (values["clips"], values["kept"]) == (2, 0)
    assert [(cost["fails"], cost["alone"]) for cost in values["conditions"]] == [(2, 1), (1, 0), (0, 0)]
    assert "motion.flow >= 1000" in text.stdout
    assert digests(filtered) == before


def test_a_clip_is_explained(filtered: Path) -> None:
    before = digests(filtered)
    clip = next(iter(tables(filtered, "judge")))
    done = osd_build("filter", filtered, "--explain", clip[:12], "--set", 'filter.keep=["motion.flow >= 1000"]')
    assert done.stdout.startswith(f"{clip}: not kept\n"), done.stderr
    assert "FAILS  motion.flow >= 1000" in done.stdout
    assert "on record in judge: kept" in done.stdout
    assert json.loads(osd_build("filter", filtered, "--explain", clip, "--json").stdout)["kept"] is True
    assert digests(filtered) == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--explain", "nothing"], "no clip begins with 'nothing'"),
        (["--json"], "--json goes with --dry-run or --explain CLIP"),
        (["--dry-run", "--set", 'judge.keep=["fps > 1"]'], "what it held is in [filter] now"),
        (["--set", 'filter.keep=["motion.flow >= p400"]'], "percentiles go from p0 to p100"),
    ],
)
def test_what_cannot_be_done_is_said(filtered: Path, args: list[str], said: str) -> None:
    done = osd_build("filter", filtered, *args)
    assert done.returncode == WRONG
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_score_that_could_not_be_had_keeps_a_clip_out_until_it_is_retried(filtered: Path, tmp_path: Path) -> None:
    run = shutil.copytree(filtered, tmp_path / "run")
    verdicts, motion = tables(run, "judge"), tables(run, "score.motion")
    clip = next(iter(motion))
    for kind in ("timeout", "crash"):  # the reason is kept up to date
        failure = Failure(clip, kind, "", retryable=True)
        edit_motion(run, clip, Answer(motion[clip].digest, (), failure))
        go(run, "filter")
        [verdict] = tables(run, "judge")[clip].rows
        assert (verdict.kept, verdict.failed) == (False, (f"no score: motion: {kind}",))
        [judged] = funnel(open_run(run), {"judge"})
        assert (judged.inputs, judged.kept, judged.filtered) == (2, 1, 1)
        assert judged.reasons == {"no score: motion": 1}
    assert forget(open_run(run), "score.motion")[0] == 1
    go(run, "filter")
    assert tables(run, "judge") == verdicts
    assert tables(run, "score.motion") == motion


def test_a_percentile_that_stays_judges_and_captions_nothing_again(videos: Path, tmp_path: Path) -> None:
    shutil.copytree(videos, tmp_path / "videos")
    run = write_run(tmp_path / "run", tmp_path / "videos")
    config = run / "build.toml"
    config.write_text(config.read_text().replace('"motion.flow >= 0"', '"duration_s >= p10"'))
    go(run, "crawl", "split", "filter", "caption")
    [ranked] = tables(run, "rank").values()
    assert (ranked.rows[0].asked, ranked.rows[0].value, ranked.rows[0].clips) == ("duration_s p10", 1.2, 2)
    before = {name: digests(run / name) for name in ("judge", "caption.describe")}
    write(tmp_path / "videos" / "c.mp4", Made(frames=60))
    go(run, "crawl", "split", "filter", "caption")
    [ranked] = tables(run, "rank").values()
    assert (ranked.rows[0].value, ranked.rows[0].clips) == (1.2, 3)
    for name, files in before.items():
        now = digests(run / name)
        changed = [path for path in files if now.get(path) != files[path] and "part-" in path]
        assert len(changed) == 1  # the part that the new clip is in
    config.write_text(config.read_text().replace("p10", "p50"))
    go(run, "filter")
    assert sum(answer.rows[0].kept for answer in tables(run, "judge").values()) == 2
