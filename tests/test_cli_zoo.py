"""One run over everything odd and hostile."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.execute import open_run
from builder.records import Clip, Failure, Fetched, Record, Scanned
from builder.table import Table
from command_line import SOME_FAILED, digests, osd_build, write_run
from made_video import Made, write

NAMES = ("plain", "with space", "quo'te\"s", "semi;colon", "new\nline", "-dash", "a.b.c", "ünï—名", "UPPER")


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
    }
    for name in ("empty.mp4", "moovless.mp4"):
        assert name in zoo.result.stderr
    assert osd_build("verify", zoo.run / "dataset").returncode == 0


def test_every_odd_name_and_both_of_one_stem_are_there(zoo: Zoo) -> None:
    fetched = {Path(row.path).stem: row for row in zoo.rows("fetch", Fetched) if isinstance(row, Fetched)}
    assert len([row for row in zoo.rows("fetch", Fetched) if "plain" in getattr(row, "path", "")]) == 3
    scanned = {row.id for row in zoo.rows("scan", Scanned)}
    assert {row.video_id for row in fetched.values()} == scanned
    assert len(scanned) == len(NAMES) + 4


def test_the_good_head_of_a_truncated_file_is_kept_and_the_row_says_so(zoo: Zoo) -> None:
    broken = [row for row in zoo.rows("scan", Scanned) if isinstance(row, Scanned) and not row.complete]
    assert len(broken) == 1 and broken[0].lost.startswith("truncated after") and 0 < broken[0].lost_s < 4
    assert f"1 video breaks off, the good head is kept: {broken[0].id}: truncated after" in zoo.result.stderr
    ends = [row.end_frame for row in zoo.rows("split", Clip) if isinstance(row, Clip) and row.video_id == broken[0].id]
    assert ends and max(ends) <= broken[0].frames < 100


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
    assert [r.frames for r in rows if r.vfr and r.complete] == [25]
    clips = {row.video_id: row for row in zoo.rows("split", Clip) if isinstance(row, Clip)}
    vfr = next(clips[r.video_id] for r in rows if r.vfr and r.complete)
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
