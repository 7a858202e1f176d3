"""Frames of clips, read by several threads at once, as captioners do."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builder import frames as module
from builder.frames import Frames
from sample_clips import Sample, made, panning, texture

FPS, CLIPS = 2, 12  # a picture a frame; together more than the strip's group of 32


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("run")
    return [made(folder, panning(texture(320, 180, seed=n), 96, 5.0), FPS, f"video{n}") for n in range(3)]


def clips(videos: list[Sample]) -> list[Frames]:
    """Eight frames each, those of three videos by turns."""
    found = []
    for n in range(CLIPS):
        for video in videos:
            ticks = (video.clip.end_pts - video.clip.start_pts) // 96
            span = {
                "start_frame": 8 * n,
                "end_frame": 8 * n + 8,
                "start_pts": 8 * n * ticks,
                "end_pts": (8 * n + 8) * ticks,
            }
            found.append(Frames(replace(video.clip, **span), video.scan, video.storage))
    return found


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that take turns all the time, so that what is not guarded goes wrong."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_threads_read_what_one_would(videos: list[Sample]) -> None:
    one_by_one = [clip.images() for clip in clips(videos)]
    assert all(len(images) >= 4 for images in one_by_one)
    for _ in range(10):
        with ThreadPoolExecutor(6) as pool:
            together = list(pool.map(Frames.images, clips(videos)))
        for wanted, found in zip(one_by_one, together, strict=True):
            assert len(wanted) == len(found)
            assert all(np.array_equal(a, b) for a, b in zip(wanted, found, strict=True))


def test_a_strip_is_opened_once_for_threads_that_want_it(videos: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    intact = module.intact

    def counted(storage: module.Storage, name: str) -> Path:
        opened.append(intact(storage, name))
        return opened[-1]

    monkeypatch.setattr(module, "intact", counted)
    module.open_strip.cache_clear()
    mine = [clip for clip in clips(videos) if clip.scan == videos[0].scan]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(Frames.images, mine))
    assert len(opened) == 1
