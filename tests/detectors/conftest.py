"""Footage to detect on: videos made here or real ones, scanned."""

from collections.abc import Callable
from pathlib import Path

import pytest

from builder.frames import Footage
from builder.media.decode import ScanSettings
from sample_clips import sample

Look = Callable[..., Footage]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """The footage of a video; with `content` the pass also takes PySceneDetect's statistic."""

    def scanned(video: Path, content: bool = False) -> Footage:
        folder = tmp_path / f"content-{content}"
        folder.mkdir(exist_ok=True)
        return sample(video, folder, ScanSettings(content=content)).footage

    return scanned
