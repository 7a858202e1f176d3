"""Every sample once, for any number of ranks, workers and shards; and going on where one stopped."""

import itertools
import pickle
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from open_sora_dataset import stream
from shards.order import Shuffle
from streamed_dataset import for_rank, in_turn, keys_of, write_numbered

WORLDS, WORKERS = (1, 2, 3, 4, 8), (0, 1, 2, 4)
COUNTS = {3: [7, 5, 9], 5: [4, 1, 6, 3, 7], 16: [2, 1, 3, 2] * 4}
MIXED = Shuffle(3, 1200)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return {n: write_numbered(tmp_path_factory.mktemp("shards") / str(n), counts) for n, counts in COUNTS.items()}


def of_rank(folder: Path, rank: int, world: int, **asked: Any) -> Any:
    return stream(folder, decode=False, check="never", shuffle=MIXED, rank=rank, world=world, **asked)


@pytest.mark.parametrize("shards", COUNTS)
@pytest.mark.parametrize("world", WORLDS)
def test_each_sample_once(folders: dict[int, Path], shards: int, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = sorted(of_rank(folders[shards], 0, 1).catalog.keys.to_pylist())
    for workers, (batch, tail) in itertools.product(WORKERS, ((None, "pad"), (3, "pad"), (3, "drop"), (3, "uneven"))):
        if tail == "drop" and len(keys) < world * (batch or 1):
            continue
        one = of_rank(folders[shards], 0, 1, batch_size=batch, tail=tail, seed=4)
        ranks = [for_rank(one, rank, world) for rank in range(world)]
        given = [list(in_turn(data, workers, monkeypatch)) for data in ranks]
        assert [len(units) for units in given] == [len(data) for data in ranks]
        seen = [key for units in given for unit in units for key in keys_of(unit)]
        assert len(seen) == len(set(seen))
        whole = world * (batch or 1)
        assert len(seen) == (len(keys) // whole * whole if tail == "drop" else len(keys))
        if tail != "uneven":
            assert len({len(units) for units in given}) == 1
        if tail == "pad":
            repeated = sum(int(torch.as_tensor(unit["pad"]).sum()) for units in given for unit in units)
            assert repeated == -len(keys) % whole


@pytest.mark.parametrize("workers", WORKERS)
def test_the_sequence_of_a_rank_does_not_depend_on_workers(
    folders: dict[int, Path], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [unit["__key__"] for unit in of_rank(folders[16], 1, 3, batch_size=2)]
    assert [u["__key__"] for u in in_turn(of_rank(folders[16], 1, 3, batch_size=2), workers, monkeypatch)] == alone


def stopped(data: Any, workers: int, units: int, patch: pytest.MonkeyPatch) -> tuple[list[list[str]], dict[str, Any]]:
    """What a trainer was given before it was killed, and what it last saved. Workers had read further."""
    given = []
    for unit in itertools.islice(in_turn(data, workers, patch), units):
        data.mark(unit)
        given.append(keys_of(unit))
    return given, pickle.loads(pickle.dumps(data.state_dict()))


def chances() -> Iterator[tuple[int, dict[str, Any]]]:
    chooser = random.Random(1)
    for number in range(120):
        one = {
            "shards": chooser.choice([3, 5, 16]),
            "batch": chooser.choice([None, 1, 2, 3]),
            "seed": chooser.randrange(9),
        }
        one |= {name: chooser.choice(WORLDS) for name in ("world", "then_world")}
        one |= {name: chooser.choice(WORKERS) for name in ("workers", "then_workers")}
        yield number, one | {"part": chooser.random(), "bucketed": chooser.random() < 0.3}


@pytest.mark.parametrize("tenth", range(10))
def test_going_on_after_a_kill(folders: dict[int, Path], tenth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """120 kills. The same world: the sequence goes on. Another: what is still to come is what had not been consumed."""
    for _, c in itertools.islice(chances(), tenth, None, 10):
        batch = 2 if c["bucketed"] else c["batch"]
        asked: dict[str, Any] = {"batch_size": batch, "seed": c["seed"], "tail": "uneven"}
        asked |= {"aspects": (1.5, 1.6)} if c["bucketed"] else {}
        folder, world = folders[c["shards"]], c["world"]
        one = of_rank(folder, 0, 1, **asked)
        whole = [[keys_of(u) for u in for_rank(one, rank, world)] for rank in range(world)]
        steps = int(c["part"] * min(map(len, whole)))
        first = [stopped(for_rank(one, rank, world), c["workers"], steps, monkeypatch) for rank in range(world)]
        state = first[0][1]
        assert all(saved == state for _, saved in first) or steps == min(map(len, whole))
        assert [given for given, _ in first] == [units[:steps] for units in whole]
        left = Counter(key for units in whole for unit in units[steps:] for key in unit)
        for then in {world, c["then_world"]}:
            again = [for_rank(one, rank, then) for rank in range(then)]
            for data in again:
                data.load_state_dict(state)
            rest = [[keys_of(u) for u in in_turn(data, c["then_workers"], monkeypatch)] for data in again]
            assert Counter(key for units in rest for unit in units for key in unit) == left
            if then == world:
                assert rest == [units[steps:] for units in whole]


def test_epochs_follow_each_other(folders: dict[int, Path]) -> None:
    data = of_rank(folders[3], 0, 1)
    epochs = [[unit["__key__"] for unit in data] for _ in range(3)]
    assert data.epoch == 3
    assert len({tuple(keys) for keys in epochs}) == 3
    assert all(sorted(keys) == sorted(epochs[0]) for keys in epochs)
    data.set_epoch(1)
    assert [unit["__key__"] for unit in data] == epochs[1]
    next(iter(data))
    data.set_epoch(2)  # the one under way
    assert data.state_dict()["consumed"] == 1
    assert [unit["__key__"] for unit in data] == epochs[2][1:]


def test_the_end_of_an_epoch_is_the_beginning_of_the_next(folders: dict[int, Path]) -> None:
    for rank in range(3):  # the last sample of this uneven epoch is not for all of them
        data = of_rank(folders[5], rank, 4, tail="uneven", batch_size=2)
        list(data)
        assert {name: data.state_dict()[name] for name in ("epoch", "consumed")} == {"epoch": 1, "consumed": 0}


@pytest.mark.parametrize("persistent", [False, True])
def test_a_loader_with_workers(folders: dict[int, Path], persistent: bool) -> None:
    """Real processes, that have read ahead when the trainer stops in the middle of an epoch and goes on."""
    alone = of_rank(folders[16], 0, 2, batch_size=2, seed=1)
    whole = [[unit["__key__"] for unit in alone] for _ in range(2)]
    data = of_rank(folders[16], 0, 2, batch_size=2, seed=1)
    loader = data.loader(num_workers=2, prefetch_factor=3, persistent_workers=persistent)
    given = [unit["__key__"] for unit in itertools.islice(loader, 3)]
    assert loader.state_dict() == {**data.state_dict(), "seed": 1, "epoch": 0, "consumed": 12}
    given += [unit["__key__"] for unit in loader]
    assert given == whole[0]
    assert [unit["__key__"] for unit in loader] == whole[1]
    assert (len(loader), loader.pads, loader.skipped) == (8, 0, 0)


def test_a_loader_that_makes_batches_itself(folders: dict[int, Path]) -> None:
    """Without workers it is in order; with them, no count could say what was consumed, so it is refused."""
    keys = [unit["__key__"] for unit in of_rank(folders[3], 0, 1)]
    data = of_rank(folders[3], 0, 1)
    batches = list(DataLoader(data, batch_size=4, collate_fn=list))
    assert [unit["__key__"] for batch in batches for unit in batch] == keys
    data = of_rank(folders[3], 0, 1)
    with pytest.raises(ValueError, match="give batch_size to stream"):
        for batch in DataLoader(data, batch_size=4, num_workers=2, collate_fn=collated):
            data.mark(batch)
    with pytest.raises(ValueError, match="batch_size goes to stream"):
        data.loader(batch_size=4)


def collated(units: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [unit[name] for unit in units] for name in units[0]}


def test_a_state_of_something_else_is_refused(folders: dict[int, Path]) -> None:
    state = of_rank(folders[3], 0, 1).state_dict()
    assert set(state) == {"seed", "epoch", "consumed", "of"}
    other = [
        stream(folders[3], decode=False, keep=["width >= 65"]),
        of_rank(folders[5], 0, 1),
        stream(folders[3], decode=False),
    ]
    for data in other:
        with pytest.raises(ValueError, match="another dataset, revision, split"):
            data.load_state_dict(state)
    plain = {"seed": 9, "epoch": 2, "consumed": 5}
    data = of_rank(folders[3], 0, 1)
    data.load_state_dict(plain)
    assert data.state_dict() == {**plain, "of": state["of"]}
    for wrong in ({"consumed": 22}, {"consumed": -1}, {"epoch": -1}):
        with pytest.raises(ValueError, match="no such place"):
            data.load_state_dict({**plain, **wrong})


def test_what_cannot_be_asked_for(folders: dict[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folders[3]
    for asked, complaint in (
        ({"split": "validation"}, "no shards of the split 'validation'; there are: train"),
        ({"keep": ["width > 99"]}, "no sample of 'train'"),
        ({"keep": ["widht > 9"]}, "widht"),
        ({"captions": "gpt"}, "no captions of gpt; there are: describe, llava"),
        ({"captions": {"llava": -1.0, "describe": 2.0}}, "weights"),
        ({"captions": {"llava": 0.0}}, "weights"),
        ({"batch_size": 30, "tail": "drop"}, "not one step of 30"),
        ({"rank": 2, "world": 2}, "rank 2 of 2"),
        ({"rank": 1}, "give rank and world"),
        ({"num_frames": 0}, "positive"),
        ({"tail": "padded"}, "tail must be one of"),
        ({"on_error": "ignore"}, "on_error must be one of"),
        ({"check": "no"}, "check must be one of"),
        ({"fps": -1.0}, "positive"),
    ):
        with pytest.raises(ValueError, match=complaint):
            stream(folder, decode=False, **asked)
    with pytest.raises(FileNotFoundError, match="no folder"):
        stream(folder / "nothing" / "here")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert [unit["__key__"] for unit in stream(folder, decode=False, shuffle=MIXED)] == [
        unit["__key__"] for unit in of_rank(folder, 1, 4)
    ]
