"""fixed: spans of one length, and what becomes of the rest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.detectors.fixed import Fixed
from builder.errors import ConfigError, Filtered
from builder.frames import Footage
from made_video import Made, write


@pytest.fixture
def footage(tmp_path: Path, look: Callable[..., Footage]) -> Footage:
    return look(write(tmp_path / "a.mp4", Made(frames=150, size=(64, 48), rate=30)))


@pytest.mark.parametrize(
    ("settings", "starts", "end"),
    [
        ({}, (0, 64, 128), 150),
        ({"preset": "no_transition", "tail": "drop"}, (0, 64), 128),
        ({"tail": "merge"}, (0, 64), 150),
        ({"frames": 50, "tail": "merge"}, (0, 50, 100), 150),
        ({"frames": 50, "tail": "drop"}, (0, 50, 100), 150),
        ({"seconds": 2.0}, (0, 60, 120), 150),
        ({"frames": 1000, "tail": "merge"}, (0,), 150),
    ],
)
def test_lengths_and_tails(settings: dict[str, Any], starts: tuple[int, ...], end: int, footage: Footage) -> None:
    shots = Fixed(**settings).shots(footage)
    assert shots.starts == starts
    assert shots.ends == (*starts[1:], end)
    assert set(shots.kinds) == {""}  # nothing was seen there, so nothing will be trimmed


def test_nothing_but_a_tail_to_drop_is_told(footage: Footage) -> None:
    with pytest.raises(Filtered, match="150 frames, less than one span of 151"):
        Fixed(frames=151, tail="drop").shots(footage)


@pytest.mark.parametrize("settings", [{"frames": 0}, {"seconds": 0.0}])
def test_no_length_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="greater than"):
        Fixed(**settings)


def test_one_length_at_most() -> None:
    with pytest.raises(ConfigError, match="one of the two"):
        Fixed(frames=64, seconds=2.0)
