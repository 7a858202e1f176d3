"""Scan as a stage: whose file is read from where."""

from pathlib import Path

import pytest

from builder.frames import Footage
from builder.records import Fetched, Found, Scanned
from builder.stage import Context, Item
from builder.stages.fetch import Fetch
from builder.stages.scan import Scan
from loopback import Answer, Site, video
from made_video import Made, write


def fetched(context: Context, found: Found) -> Fetched:
    stage = Fetch()
    with stage.opened(context):
        return stage.each(Item(found, ""))[0]


def scanned(context: Context, row: Fetched, **settings: str) -> Scanned:
    stage = Scan(**settings)  # type: ignore[arg-type]
    with stage.opened(context):
        return stage.each(Item(row, ""))[0]  # type: ignore[arg-type]


def test_a_users_file_is_copied_to_scratch_while_it_is_decoded(
    context: Context, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (videos / "a.mp4").write_bytes(video())
    before = (videos / "a.mp4").stat()
    row = fetched(context, Found("00", "mine", root="mine", path="a.mp4"))
    read: list[Path] = []
    call = context.guard.call
    monkeypatch.setattr(context.guard, "call", lambda *a, **k: (read.append(a[1]), call(*a, **k))[1])
    assert scanned(context, row).frames == 6
    assert scanned(context, row, scratch="fast").evidence == scanned(context, row).evidence
    assert [path.is_relative_to(tmp_path / "fast") for path in read] == [False, True, False]
    assert list((tmp_path / "fast").iterdir()) == []
    assert (videos / "a.mp4").stat().st_mtime_ns == before.st_mtime_ns
    assert Scan(scratch="fast").fingerprint() == Scan().fingerprint()


def test_a_download_is_at_hand_already(context: Context, site: Site, tmp_path: Path) -> None:
    row = fetched(context, Found("00", "list", url=site.at("/a.mp4", Answer(video()))))
    assert scanned(context, row, scratch="fast").frames == 6
    assert not (tmp_path / "fast").exists()


def test_a_video_that_breaks_off_is_a_row_that_says_so(context: Context, videos: Path) -> None:
    whole = write(videos / "whole.mkv", Made(frames=60, muxer="matroska")).read_bytes()
    (videos / "part.mkv").write_bytes(whole[: len(whole) // 2])
    row = scanned(context, fetched(context, Found("00", "mine", root="mine", path="part.mkv")))
    assert not row.complete
    assert row.lost.startswith("truncated after")
    assert row.lost_s + row.duration_s == pytest.approx(2.4, abs=0.1)
    assert row.frames > 10


def test_pyscenedetects_statistic_is_no_setting_of_results(context: Context, videos: Path) -> None:
    write(videos / "a.mp4", Made(frames=8))
    row = fetched(context, Found("00", "mine", root="mine", path="a.mp4"))
    plain, more = scanned(context, row), scanned(context, row, content=True)  # type: ignore[arg-type]
    found = [Footage(one, context.storage).evidence.content_deltas for one in (plain, more)]
    assert found[0] is None
    assert found[1] is not None
    assert found[1].shape == (8, 3)
    assert plain.strip == more.strip
    assert Scan(content=True).fingerprint() == Scan().fingerprint()
