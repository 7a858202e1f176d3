"""What a dry run foretells is what a crawl then does."""

from dataclasses import replace
from pathlib import Path

import pytest

from builder.execute import execute, open_run
from builder.forecast import Forecast, forecasts, show
from loopback import Answer, Site, video
from stock_sites import KEYS, StockSites


def told(run: Path, limit: int = 0) -> dict[str, Forecast]:
    return {one.source: one for one in forecasts(open_run(run, ["web.allow_private_hosts=true"]), limit)}


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_what_is_listed_is_counted_as_it_would_be_admitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(video())
    with Site() as site:
        rows = ["https://example.org/a.mp4,CC0-1.0", "https://example.org/a.mp4#x,CC0-1.0"]
        rows += ["https://example.org/b.mp4,MIT", "https://example.org/c.mp4,"]
        listing = site.at("/l.csv", Answer("\n".join(["url,license", *rows]).encode()))
        (tmp_path / "build.toml").write_text(
            f'[[source]]\nkind = "urls"\nname = "list"\npath = "{listing}"\n'
            '[[source]]\nkind = "folder"\npath = "videos"\nlicense = "CC0-1.0"\n'
            '[[source]]\nkind = "folder"\nname = "none"\npath = "nowhere"\n'
            '[licenses]\nallow = ["CC0-1.0"]\n'
        )
        before = files(tmp_path)
        found = told(tmp_path)
        assert files(tmp_path) == before
    assert (found["list"].videos, found["list"].estimate.notes) == (1, ("2 left out: license", "1 left out: duplicate"))
    assert (found["folder"].videos, found["folder"].size_bytes) == (1, len(video()))
    assert "no_such_folder" in found["none"].failure
    show(list(found.values()))
    shown = capsys.readouterr().out
    assert "2 left out: license" in shown
    assert "split keeps about 580 MB for each hour of video\n" in shown


def test_a_site_is_asked_once_and_what_is_here_is_subtracted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEXELS_API_KEY", KEYS["pexels"])
    with StockSites(videos=200) as sites:
        (tmp_path / "build.toml").write_text(f'[[source]]\nkind = "pexels"\nquery = "sea"\napi = "{sites.url}"\n')
        found = told(tmp_path)["pexels"]
        assert (found.videos, found.estimate.requests, len(sites.requests)) == (200, 3, 1)
        assert found.size_bytes > 0
        assert found.least_s == pytest.approx((200 + 3) / 5)
        assert told(tmp_path, limit=10)["pexels"].videos == 10


def test_what_split_will_keep_is_told_of_the_videos_that_are_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(video())
    (tmp_path / "build.toml").write_text('[[source]]\nkind = "folder"\npath = "videos"\n')
    assert told(tmp_path)["folder"].here_s == 0
    execute(tmp_path, ["crawl"])
    found = told(tmp_path)
    assert (found["folder"].here, found["folder"].here_s) == (1, pytest.approx(0.6))
    show([replace(one, here_s=7200.0) for one in found.values()])
    assert "1.16 GB for the 2 h that are here" in capsys.readouterr().out
