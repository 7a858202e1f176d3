"""Made edits: their labels say what is in the pictures."""

import numpy as np
import pytest

from builder.pretrained.differences import differences
from builder.pretrained.transitions import TransitionNetwork
from edits import Example, example
from sample_clips import growing, panning, texture
from shots import HIGH, WIDE, Footage


@pytest.fixture(scope="module")
def footage() -> Footage:
    """Six videos of one shot each."""
    pans = [list(panning(texture(WIDE, HIGH, seed), 120, 0.3 * seed)) for seed in range(4)]
    zooms = [list(growing(texture(WIDE, HIGH, seed), 120, 1.003)) for seed in range(4, 6)]
    return Footage([np.stack(pictures) for pictures in (*pans, *zooms)])


@pytest.fixture(scope="module")
def made(footage: Footage) -> list[Example]:
    return [example(seed, footage) for seed in range(25)]


def test_the_same_seed_makes_the_same(footage: Footage, made: list[Example]) -> None:
    again = example(3, footage)
    assert np.array_equal(again.pictures, made[3].pictures) and np.array_equal(again.cut, made[3].cut)
    assert not np.array_equal(made[4].pictures[:20], made[3].pictures[:20])


def test_every_frame_has_its_labels(made: list[Example]) -> None:
    for one in made:
        assert one.pictures.shape[1:] == (27, 48, 3) and one.pictures.dtype == np.uint8
        for labels in (one.cut, one.gradual, one.unsure):
            assert labels.shape == (len(one.pictures),) and set(labels.tolist()) <= {0.0, 1.0}
        assert not (one.cut * one.gradual).any()


def test_there_are_edits_and_untouched_shots(made: list[Example]) -> None:
    transitions = [one.cut.sum() + one.gradual.sum() for one in made]
    assert 0 in transitions and sum(n > 0 for n in transitions) >= 15
    assert sum(one.cut.sum() for one in made) >= 30 and sum(one.gradual.sum() for one in made) >= 300


def test_a_picture_changes_at_a_cut(made: list[Example]) -> None:
    for one in made:
        pictures = one.pictures.astype(np.int16)
        for at in np.flatnonzero(one.cut):
            assert np.abs(pictures[at] - pictures[at - 1]).mean() > 3


def test_the_trained_network_agrees_with_most_of_it(made: list[Example]) -> None:
    network, right, all_cuts = TransitionNetwork(), 0, 0
    for one in made:
        cut, _ = network(differences(one.pictures))
        right += int((cut[one.cut == 1] > 0.5).sum())
        all_cuts += int(one.cut.sum())
    assert right > 0.8 * all_cuts
