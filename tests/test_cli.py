"""What changes, errors, interruptions and edits do to a run, from the command line."""

import dataclasses
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from builder.execute import open_run
from builder.records import Caption
from builder.table import Table
from command_line import OSD_BUILD, SOME_FAILED, STOPPED, WRONG, digests, osd_build, write_run
from made_video import Made, write


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A run over two good videos, not run yet."""
    (tmp_path / "videos").mkdir()
    write(tmp_path / "videos" / "a.mp4", Made(frames=30))
    write(tmp_path / "videos" / "b.mp4", Made(frames=45))
    return write_run(tmp_path / "run", tmp_path / "videos")


def test_a_file_that_changed_is_taken_anew_by_run_and_refused_by_a_later_step(one: Path) -> None:
    assert osd_build("crawl", one).returncode == 0
    write(one.parent / "videos" / "a.mp4", Made(frames=31))
    split = osd_build("split", one)
    assert split.returncode == SOME_FAILED
    assert "a.mp4" in split.stderr
    assert "changed" in split.stderr
    assert osd_build("run", one).returncode == 0


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    result = osd_build("run", write_run(tmp_path / "run", tmp_path / "videos"))
    assert result.returncode in (STOPPED, SOME_FAILED)
    assert ".mp4" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[splitt]\nmin_s = 1", ["no section [splitt]", "split"]),
        ("[scan]\nstrip_fsp = 2", ["line", "strip_fsp", "did you mean 'strip_fps'"]),
        ('[scan]\nstrip_fps = "fast"', ["line", "strip_fps", "number"]),
        ('[detect]\nmethod = "adaptve"', ["adaptve", "did you mean 'adaptive'"]),
        ("[score.sharpnes]", ["sharpnes", "did you mean 'sharpness'"]),
        ('[caption.x]\nengine = "transformer"', ["did you mean 'transformers'"]),
        ('[select]\nkeep = ["caption-describe.words > many"]', ["cannot read the condition"]),
        ('[select]\nkeep = ["caption-other.words > 3"]', ["nothing measures 'caption-other.words'"]),
        ("[plan]\nshard_bytes = 0", ["shard_bytes", "greater than 0"]),
        ("[plan\n", ["not valid TOML"]),
    ],
)
def test_a_wrong_build_toml_is_named_before_anything_is_done(one: Path, line: str, said: list[str]) -> None:
    config = one / "build.toml"
    config.write_text(config.read_text() + line + "\n")
    result = osd_build("run", one)
    assert result.returncode == WRONG
    assert all(text in result.stderr for text in said), result.stderr
    assert "Traceback" not in result.stderr
    assert not (one / "find").exists()


def test_missing_model_weights_are_named_with_the_way_to_get_them(one: Path) -> None:
    config = one / "build.toml"
    config.write_text(config.read_text() + '[caption.vlm]\nengine = "transformers"\nmodel = "nobody/no-such-model"\n')
    result = osd_build("run", one)
    assert result.returncode == STOPPED
    assert "nobody/no-such-model" in result.stderr
    assert "Traceback" not in result.stderr


def test_no_run_folder_and_no_folder_to_read(tmp_path: Path) -> None:
    assert "osd-build init" in osd_build("run", tmp_path / "none").stderr
    assert "not a folder" in osd_build("init", tmp_path / "r", "--folder", tmp_path / "none").stderr
    assert osd_build("init", tmp_path / "r").returncode == 0
    assert "exists already" in osd_build("init", tmp_path / "r").stderr


def test_ctrl_c_keeps_what_is_finished_and_a_run_goes_on(one: Path) -> None:
    process = subprocess.Popen([OSD_BUILD, "run", one], stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (one / "scan").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "run the same again" in said
    assert "Traceback" not in said
    assert osd_build("run", one).returncode == 0


def test_set_overrides_one_line(one: Path) -> None:
    assert osd_build("run", one, "--set", "split.min_s=1.5").returncode == 0
    assert "too_short 1" in osd_build("status", one, "--set", "split.min_s=1.5").stdout
    assert "--set split.min_ss=1" in osd_build("run", one, "--set", "split.min_ss=1").stderr


def test_a_moved_run_and_a_moved_source_go_on(one: Path) -> None:
    assert osd_build("run", one).returncode == 0
    moved = one.parent / "elsewhere"
    one.rename(moved)
    (one.parent / "videos").rename(one.parent / "footage")
    config = moved / "build.toml"
    config.write_text(config.read_text().replace(f"{one.parent}/videos", f"{one.parent}/footage"))
    again = osd_build("run", moved)
    assert again.returncode == 0
    assert "scan" not in again.stderr


def test_kill_9_at_any_moment_gives_the_same_shards(one: Path) -> None:
    twin = write_run(one.parent / "twin", one.parent / "videos")
    assert osd_build("run", twin).returncode == 0
    for delay_s in (1.5, 3.0, 4.5):
        process = subprocess.Popen([OSD_BUILD, "run", one], stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(delay_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert osd_build("run", one).returncode == 0
    shards = [
        {p.name: d for p, (d, _) in ((Path(n), v) for n, v in digests(r / "dataset/data").items())} for r in (one, twin)
    ]
    assert shards[0] == shards[1]


def test_clean_removes_only_what_nothing_refers_to(one: Path) -> None:
    assert osd_build("run", one).returncode == 0
    before = digests(one.parent / "videos")
    kept = set(digests(one / "media"))
    assert osd_build("run", one, "--set", "scan.strip_fps=4").returncode == 0
    assert len(digests(one / "media")) > len(kept)
    assert osd_build("run", one).returncode == 0
    assert osd_build("clean", one).returncode == 0
    assert set(digests(one / "media")) == kept
    assert digests(one.parent / "videos") == before
    assert osd_build("verify", one / "dataset").returncode == 0


def test_a_licence_set_right_decodes_nothing_again_and_reaches_the_shards(one: Path) -> None:
    assert osd_build("run", one).returncode == 0
    config = one / "build.toml"
    config.write_text(config.read_text().replace("CC0-1.0", "CC-BY-4.0"))
    again = osd_build("run", one)
    computed = {
        line.partition(":")[0]: int(line.split()[1]) for line in again.stderr.splitlines() if "computed" in line
    }
    assert computed["scan"] == 0
    assert "score.motion" not in computed or computed["score.motion"] == 0
    assert computed["pack"] == 2
    assert '"CC-BY-4.0": 2' in (one / "dataset" / "manifest.json").read_text()


def test_an_edited_caption_repacks_its_shard_and_nothing_else(one: Path) -> None:
    sets = ("--set", "plan.shard_bytes=2000")
    for n in range(6):  # shards are ranges of hashes: with so few clips some are empty, but hardly all but one
        write(one.parent / "videos" / f"{n}.mp4", Made(frames=25 + n))
    assert osd_build("run", one, *sets).returncode == 0
    before = {name: digest for name, (digest, _) in digests(one / "dataset" / "data").items()}
    assert len(before) > 1
    table = Table(open_run(one).storage, "caption.describe", Caption)
    number = next(n for n in table.parts() if table.read(n).rows())
    part = table.read(number)
    key, answer = next((k, a) for k, a in part.answers.items() if a.rows)
    edited = dataclasses.replace(answer, rows=[dataclasses.replace(answer.rows[0], text="What a person wrote.")])
    table.write(number, part.stamp, {**part.answers, key: edited})
    again = osd_build("run", one, *sets)
    computed = {
        line.partition(":")[0]: int(line.split()[1]) for line in again.stderr.splitlines() if "computed" in line
    }
    assert {table for table, count in computed.items() if count} == {"select", "plan", "pack"}
    assert computed["pack"] < 8
    after = {name: digest for name, (digest, _) in digests(one / "dataset" / "data").items()}
    assert sum(after[name] != before[name] for name in before) == 1
    assert any(b"What a person wrote." in Path(name).read_bytes() for name in after)


def test_a_lost_shard_is_packed_again_and_lost_evidence_is_named(one: Path) -> None:
    assert osd_build("run", one).returncode == 0
    before = {name: digest for name, (digest, _) in digests(one / "dataset").items()}
    next((one / "dataset").rglob("*.tar")).unlink()
    assert osd_build("verify", one / "dataset").returncode == STOPPED
    assert osd_build("run", one).returncode == 0
    assert {name: digest for name, (digest, _) in digests(one / "dataset").items()} == before
    for strip in (one / "media" / "evidence").rglob("*.parquet"):
        strip.unlink()
    stopped = osd_build("run", one, "--set", "score.motion.pairs=5")
    assert stopped.returncode == STOPPED
    assert "osd-build retry RUN scan" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert "2 " in osd_build("retry", one, "scan").stdout
    assert osd_build("run", one).returncode == 0
    assert {name: digest for name, (digest, _) in digests(one / "dataset").items()} == before
