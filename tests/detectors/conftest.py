"""Footage to detect on: videos made here or real ones, scanned."""

from collections.abc import Callable
from pathlib import Path

import pytest

from builder.frames import Footage
from builder.media.decode import ScanSettings, scan
from builder.records import Scanned
from builder.storage import Storage

Look = Callable[..., Footage]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """The footage of a video; with `content` the pass also takes PySceneDetect's statistic."""

    def scanned(video: Path, content: bool = False) -> Footage:
        names = [f"{video.stem}-{content}.{kind}" for kind in ("evidence", "strip")]
        facts = scan(video, *(tmp_path / name for name in names), ScanSettings(content=content))
        row = Scanned(video.stem, **vars(facts), evidence=names[0], strip=names[1])
        return Footage(row, Storage(tmp_path))

    return scanned
