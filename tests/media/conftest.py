"""Videos: real ones where the folder is there, and made ones that tell their frame number by their looks."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ItemError
from builder.media.decode import ScanFacts, ScanSettings, scan
from builder.media.evidence import Evidence
from builder.media.strip import Strip
from made_video import Made, write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def footage() -> Callable[[str], Path]:
    folder = Path(os.environ.get("OSD_TEST_VIDEOS", ROOT.parent / "shared" / "videos"))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"needs the real video {name} (set OSD_TEST_VIDEOS)")
        return path

    return find


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """make("name.mp4", frames=25, ...) writes a video with the fields of `Made`."""

    def make_one(name: str = "video.mp4", **how: Any) -> Path:
        return write(tmp_path / name, Made(**how))

    return make_one


@pytest.fixture
def scanned(tmp_path: Path) -> Callable[..., tuple[ScanFacts, Evidence, Strip]]:
    """scanned(path, **settings) -> facts, evidence, strip."""

    def run(path: Path, **settings: Any) -> tuple[ScanFacts, Evidence, Strip]:
        evidence, strip = tmp_path / "evidence.parquet", tmp_path / "strip.parquet"
        facts = scan(path, evidence, strip, ScanSettings(**settings))
        return facts, Evidence(evidence), Strip(strip)

    return run


@pytest.fixture
def refuses() -> Callable[..., ItemError]:
    """refuses("kind", function, *args): the ItemError of that kind which the call raises."""

    def call(kind: str, function: Callable[..., object], *args: object) -> ItemError:
        with pytest.raises(ItemError) as caught:
            function(*args)
        assert caught.value.kind == kind, str(caught.value)
        return caught.value

    return call
