"""Near-duplicates in a run as a user makes it: what is left out, what a later video costs, and how to keep them."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from builder.records import Clip, Verdict
from builder.stages.dedupe import Twin
from builder.storage import Storage
from builder.table import Table
from command_line import WRONG, osd_build
from drifting_clips import drifting

BUILD = """
name = "copies"
[[source]]
kind = "folder"
name = "mine"
path = "../videos"
license = "CC0-1.0"
[detect]
method = "fixed"
seconds = 10
[score]
use = []
[filter]
keep = []
[caption.describe]
tags = "off"
"""


def write(path: Path, seed: int, size: tuple[int, int], start: int = 0, crf: str = "20") -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=24, options={"preset": "ultrafast", "crf": crf})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for picture in drifting(seed)[0][start:]:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            output.mux(stream.encode(frame.reformat(*size)))
        output.mux(stream.encode())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "build.toml").write_text(BUILD)
    write(tmp_path / "videos" / "large.mp4", 1, (480, 270))
    write(tmp_path / "videos" / "small_and_later.mp4", 1, (320, 180), start=17, crf="33")
    write(tmp_path / "videos" / "other.mp4", 2, (320, 180))
    return tmp_path / "run"


def built(run: Path, *arguments: str) -> None:
    done = osd_build("run", run, *arguments)
    assert done.returncode == 0, done.stderr


def verdicts(run: Path) -> dict[str, Verdict]:
    return {row.id: row for row in Table(Storage(run), "judge", Verdict).rows()}


def computed(run: Path, table: str) -> int:
    receipts = (run / f"{table}.receipts").glob("*.json")
    return sum(json.loads(receipt.read_text())["computed"] for receipt in receipts)


def test_a_copy_is_left_out_for_the_better_one_and_a_later_video_costs_its_own_clips_only(run: Path) -> None:
    built(run)
    clips = {row.id: row for row in Table(Storage(run), "split", Clip).rows()}
    [(left_out, verdict)] = [(name, row) for name, row in verdicts(run).items() if not row.kept]
    [twin] = [row for row in Table(Storage(run), "dedupe", Twin).rows() if row.group != row.clip_id]
    assert twin.clip_id == left_out
    assert (clips[left_out].width, clips[twin.group].width) == (320, 480)
    assert clips[left_out].duration_s < clips[twin.group].duration_s
    assert verdict.failed == (f"duplicate of {twin.group}, which shows 100% of it",)
    before = verdicts(run)
    for receipt in run.glob("*.receipts/*"):
        receipt.unlink()  # only those of the second run are left
    write(run.parent / "videos" / "one_more.mp4", 3, (320, 180))
    built(run)
    assert before.items() < verdicts(run).items()
    once = {table: computed(run, table) for table in ("hash", "dedupe", "caption.describe")}
    assert once == {"hash": 1, "dedupe": 4, "caption.describe": 1}  # a query like judge redoes the unit that changed


def test_a_copy_that_conditions_rule_out_takes_no_other_along(run: Path) -> None:
    built(run, "--set", 'filter.keep=["width <= 400"]')
    clips = {row.id: row for row in Table(Storage(run), "split", Clip).rows()}
    assert [clips[name].width for name, row in verdicts(run).items() if row.kept] == [320, 320]
    small = next(row.id for row in Table(Storage(run), "dedupe", Twin).rows() if row.group != row.clip_id)
    told = osd_build("filter", run, "--explain", small)
    assert "FAILS  duplicate of" in told.stdout  # by build.toml, which lets the large one through


def test_without_it_all_are_kept_and_nothing_is_hashed(run: Path) -> None:
    built(run, "--set", "dedupe.on=false")
    assert all(row.kept for row in verdicts(run).values())
    assert not (run / "hash").exists()
    assert not (run / "dedupe").exists()


def test_a_wrong_setting_is_named(run: Path) -> None:
    done = osd_build("filter", run, "--set", "dedupe.radius=40")
    assert done.returncode == WRONG
    assert "[dedupe] radius = 40" in done.stderr
