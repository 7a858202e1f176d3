"""osd-build as a user runs it, in processes of its own, on good, odd and hostile input."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.execute import open_run
from builder.records import Clip, Failure, Fetched, Record, Scanned
from builder.table import Table
from made_video import Made, write

OSD_BUILD = Path(sys.executable).with_name("osd-build")
SETTINGS = """
name = "zoo"
[[source]]
kind = "folder"
name = "zoo"
path = "{videos}"
license = "CC0-1.0"
[split]
min_s = 0.2
[score.motion]
[score.brightness]
[judge]
keep = ["motion.flow >= 0", "brightness.mean >= 0"]
[caption.describe]
tags = "off"
"""
NAMES = ("plain", "with space", "quo'te\"s", "semi;colon", "new\nline", "-dash", "a.b.c", "ünï—名", "UPPER")
SOME_FAILED, STOPPED, WRONG = 3, 1, 2


def osd_build(*args: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    return subprocess.run(
        [OSD_BUILD, *args], check=False, capture_output=True, text=True, env=environment, cwd=cwd, timeout=100
    )


def write_run(folder: Path, videos: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "build.toml").write_text(SETTINGS.format(videos=videos))
    return folder


def digests(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and modification time of every file."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {str(p): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in files}


@dataclass(frozen=True)
class Zoo:
    videos: Path
    run: Path
    before: dict[str, tuple[str, int]]
    result: subprocess.CompletedProcess[str]

    def rows(self, name: str, record: type[Record]) -> list[Record]:
        return list(Table(open_run(self.run).storage, name, record).rows())

    def failures(self) -> dict[str, Failure]:
        """By file name."""
        jobs = [job for job in open_run(self.run).jobs() if job.target.name in ("fetch", "scan")]
        found = [a.failure for j in jobs for n in j.target.parts() for a in j.target.read(n).answers.values()]
        named = {re.search(r"'([^']+)' of source", f.message): f for f in found if f}
        return {Path(m[1]).name: f for m, f in named.items() if m}


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """One run over everything odd; read-only, as the tests say what must have become of each file."""
    folder = tmp_path_factory.mktemp("zoo")
    videos = folder / "videos"
    (videos / "deep" / "er").mkdir(parents=True)
    for n, name in enumerate(NAMES):
        write(videos / f"{name}.{'MP4' if name == 'UPPER' else 'mp4'}", Made(frames=20 + n))
    write(videos / "deep" / "plain.mp4", Made(frames=40))
    write(videos / "deep" / "er" / "rotated.mp4", Made(frames=25, rotation=90))
    write(videos / "vfr.mp4", Made(frames=25, pts=[n + 3 * (n // 5) for n in range(25)]))
    shutil.copy(videos / "plain.mp4", videos / "deep" / "copy of plain.mp4")
    whole = write(folder / "whole.mp4", Made(frames=100, size=(320, 240), muxer_options={"movflags": "+faststart"}))
    data = whole.read_bytes()
    (videos / "truncated.mp4").write_bytes(data[: len(data) // 2])
    late = write(folder / "late.mp4", Made(frames=50)).read_bytes()
    (videos / "moovless.mp4").write_bytes(late[: len(late) // 2])
    (videos / "empty.mp4").write_bytes(b"")
    (videos / "text.mp4").write_text("not a video at all, whatever its name says\n" * 9)
    (videos / "playlist.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{whole}\n#EXT-X-ENDLIST\n"
    )
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb"}
    locked = Made(frames=25, muxer_options=key | {"encryption_kid": "a7e61c373e219033c21091fa607bf3b8"})
    write(videos / "encrypted.mp4", locked)
    before = digests(videos)
    for path in [videos, *videos.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    run = write_run(folder / "run", videos)
    return Zoo(videos, run, before, osd_build("run", run))


def test_bad_files_fail_by_name_and_the_rest_is_packed(zoo: Zoo) -> None:
    assert zoo.result.returncode == SOME_FAILED, zoo.result.stderr
    assert {name: failure.kind for name, failure in zoo.failures().items()} == {
        "empty.mp4": "empty_file",
        "text.mp4": "not_video",
        "playlist.mp4": "not_video",
        "moovless.mp4": "truncated",
        "encrypted.mp4": "encrypted",
        "truncated.mp4": "truncated",
    }
    for name in ("empty.mp4", "truncated.mp4"):
        assert name in zoo.result.stderr
    assert osd_build("verify", zoo.run / "dataset").returncode == 0


def test_every_odd_name_and_both_of_one_stem_are_there(zoo: Zoo) -> None:
    fetched = {Path(row.path).stem: row for row in zoo.rows("fetch", Fetched) if isinstance(row, Fetched)}
    assert len([row for row in zoo.rows("fetch", Fetched) if "plain" in getattr(row, "path", "")]) == 3
    scanned = {row.id for row in zoo.rows("scan", Scanned)}
    for row in fetched.values():
        assert row.video_id in scanned or Path(row.path).stem == "truncated"
    assert len(scanned) == len(NAMES) + 3


def test_outputs_are_named_by_content_and_sources_stay_as_they_were(zoo: Zoo) -> None:
    assert digests(zoo.videos) == zoo.before
    written = [p for p in zoo.run.rglob("*") if p.is_file()]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", p.name) for p in written)
    assert not list((zoo.run / ".scratch").iterdir())
    tables = b"".join(p.read_bytes() for p in written if p.suffix == ".parquet")
    assert str(zoo.videos).encode() not in tables


def test_rotation_and_variable_rate(zoo: Zoo) -> None:
    rows = [row for row in zoo.rows("scan", Scanned) if isinstance(row, Scanned)]
    assert [(r.width, r.height) for r in rows if r.height > r.width] == [(120, 160)]
    assert [r.frames for r in rows if r.vfr] == [25]
    clips = {row.video_id: row for row in zoo.rows("split", Clip) if isinstance(row, Clip)}
    vfr = next(clips[r.video_id] for r in rows if r.vfr)
    assert vfr.duration_s == pytest.approx(37 / 25, abs=0.05)


def test_counts_add_up_and_the_duplicate_is_merged(zoo: Zoo) -> None:
    status = osd_build("status", zoo.run).stdout
    lines = [line.split() for line in status.splitlines()[1:] if line[:1].strip()]
    counts = {line[0]: [int(n) for n in line[1:6]] for line in lines if len(line) > 5}
    assert set(counts) >= {"find", "fetch", "merge", "scan", "split", "judge", "caption.describe", "pack"}
    for given, kept, filtered, failed, _ in counts.values():
        assert given == kept + filtered + failed
    assert counts["merge"][2] == 1
    assert "duplicate 1" in status


def test_a_second_run_does_nothing_and_says_the_same(zoo: Zoo) -> None:
    before = digests(zoo.run / "pack") | digests(zoo.run / "dataset" / "data")
    again = osd_build("run", zoo.run)
    assert again.returncode == SOME_FAILED
    assert "computed" not in again.stderr
    assert digests(zoo.run / "pack") | digests(zoo.run / "dataset" / "data") == before


# -- small runs


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
