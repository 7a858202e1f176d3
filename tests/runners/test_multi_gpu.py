"""Which GPUs a run uses, and how they are dealt out. There is none here: their number is made up."""

import os
from pathlib import Path

import pytest

from builder.board import Board
from builder.errors import ConfigError
from builder.execute import open_run
from builder.runners import multi_gpu
from builder.runners.multi_gpu import VISIBLE, claim, on_gpus


@pytest.fixture(autouse=True)
def none_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    "gpus, named, visible", [("all", None, None), ("2", None, "0,1"), ("2,0", None, "0,2"), ("1,", "5,7", "7")]
)
def test_gpus_are_all_or_so_many_or_those(
    monkeypatch: pytest.MonkeyPatch, gpus: str, named: str | None, visible: str | None
) -> None:
    with_gpus(monkeypatch, 4)
    if named:
        monkeypatch.setenv(VISIBLE, named)
    assert on_gpus(gpus) == ["run.ranks=0"]
    assert os.environ.get(VISIBLE) == visible
    monkeypatch.delenv(VISIBLE, raising=False)


def test_without_gpus_the_ranks_run_on_the_cpu_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_gpus(monkeypatch, 0)
    assert on_gpus("") == []
    assert on_gpus("all") == ["run.ranks=0"]
    assert on_gpus("3") == ["run.ranks=3"]
    notes = capsys.readouterr().err.splitlines()
    assert [note.rpartition(", ")[2] for note in notes] == ["on one rank", "on 3 ranks"]


@pytest.mark.parametrize("there", [0, 2])
@pytest.mark.parametrize("gpus", ["0", "0,2", "7,", "some", "-1", "1.5", ",", "0,x"])
def test_gpus_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch, gpus: str, there: int) -> None:
    with_gpus(monkeypatch, there)
    with pytest.raises(ConfigError, match=r"--gpus"):
        on_gpus(gpus)
    assert VISIBLE not in os.environ


def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 2)
    with pytest.raises(ConfigError, match="--gpus 3: there are 2 here"):
        on_gpus("3")


def test_under_accelerate_launch_the_ranks_are_there_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="accelerate launch has started the ranks"):
        on_gpus("all")


@pytest.mark.parametrize(
    "named, of, each, seen",
    [(None, 4, 1, ["0", "1", "2"]), ("3,5", 2, 1, ["3", "5", "3"]), (None, 6, 2, ["0,1", "2,3", "4,5"])],
)
def test_each_rank_sees_its_own_devices(
    monkeypatch: pytest.MonkeyPatch, named: str | None, of: int, each: int, seen: list[str]
) -> None:
    monkeypatch.setattr(multi_gpu, "partial_state", lambda: type("State", (), {"device": "cuda:0"}))
    found = []
    for rank in range(3):
        monkeypatch.delenv(VISIBLE, raising=False)
        if named:
            monkeypatch.setenv(VISIBLE, named)
        assert claim(rank, of, each) == "cuda:0"
        found.append(os.environ[VISIBLE])
    monkeypatch.delenv(VISIBLE)
    assert found == seen


def test_ranks_of_a_spread_model_share_out_the_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Six GPUs (made up), two for each copy of the model: the third rank gets the last two."""
    source = 'name = "one"\n[[source]]\nkind = "folder"\nname = "mine"\npath = "."\n[filter]\nkeep = []\n'
    lines = '[caption.large]\nengine = "transformers"\nmodel = "/none"\ngpus = 2\n'
    (tmp_path / "build.toml").write_text(source + lines)
    with pytest.raises(ConfigError, match=r"\[caption.large\] gpus: .*device_map"):
        open_run(tmp_path)
    (tmp_path / "build.toml").write_text(source + lines + 'device_map = "auto"\n')
    jobs = {job.target.name: job for job in open_run(tmp_path).jobs()}
    board = Board([], set())
    board.jobs, board.wanted = jobs, {"caption.large"}
    assert board.gpus() == 2
    monkeypatch.setattr(multi_gpu, "partial_state", lambda: type("State", (), {"device": "cuda:0"}))
    assert claim(2, 6, board.gpus()) == "cuda:0"
    assert os.environ.pop(VISIBLE) == "4,5"
