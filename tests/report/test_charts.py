"""What a report draws adds up."""

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.execute import open_run
from builder.records import Failure
from builder.report.charts import bars, costs, funnel_rows, kinds, spread, spreads
from builder.report.clips import everything, values_of
from builder.report.funnel import Count, funnel
from builder.report.summary import failures
from pictured_run import Pictured, Texts, pictured, write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Pictured:
    return pictured(tmp_path_factory.mktemp("run"), [Texts(f"title {n}") for n in range(12)], clips_each=5)


def test_every_loss_of_the_funnel_is_drawn(made: Pictured) -> None:
    rows = {row.name: row for row in funnel_rows(funnel(open_run(made.run)))}
    assert list(rows)[:7] == ["find", "admit", "fetch", "merge", "scan", "detect", "split"]
    assert rows["measure"].losses == (("motion: timeout", 2, True),)
    assert rows["measure"].stages == ("score.motion", "score.sharpness")
    judge = rows["judge"]
    assert (judge.given, judge.kept, judge.top, judge.end) == (60, 28, 1.0, 28 / 60)
    assert judge.losses == (("motion.flow", 30, False), ("no score: motion", 2, False))
    assert rows["pack"].given == 0


def test_what_waits_says_so(tmp_path: Path) -> None:
    rows = funnel_rows(funnel(open_run(write_run(tmp_path))))
    assert {row.state for row in rows} == {"not run yet"}
    count = Count("judge", inputs=5, kept=5, finished=1, units=4)
    stale = Count("select", inputs=5, kept=5, finished=0, units=4)
    assert [row.state for row in funnel_rows([count, stale])] == ["1 of 4 parts", "out of date"]


NUMBERS = st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=50)


@given(numbers=NUMBERS, data=st.data())
def test_bars_hold_every_clip_once(numbers: list[float | None], data: st.DataObject) -> None:
    out = data.draw(st.lists(st.booleans(), min_size=len(numbers), max_size=len(numbers)))
    if all(x is None for x in numbers):
        return
    found = spread("x", pl.Series("x", numbers, pl.Float64), pl.Series("out", out, pl.Boolean))
    known = [(x, gone) for x, gone in zip(numbers, out, strict=True) if x is not None]
    assert sum(found["kept"]) == sum(not gone for _, gone in known)
    assert sum(found["lost"]) == sum(gone for _, gone in known)
    assert found["missing"] == len(numbers) - len(known)
    assert found["low"] < found["high"]
    assert (found["least"], found["most"]) == (min(x for x, _ in known), max(x for x, _ in known))


def test_spreads_of_a_run(made: Pictured) -> None:
    run = open_run(made.run)
    found = {one["name"]: one for one in spreads(everything(run), values_of(run))}
    assert {sum(one["kept"]) + sum(one["lost"]) + one["missing"] for one in found.values()} == {60}
    assert list(found)[:2] == ["duration_s", "fps"]
    assert found["sharpness.laplacian"]["least"] == 5.0


def test_kinds_of_clips(made: Pictured) -> None:
    charts = {chart.title: chart for chart in kinds(everything(open_run(made.run)))}
    assert charts["Resolution"].bars == (("320x180", 60, 28),)
    assert charts["Aspect ratio"].bars == (("16:9", 60, 28),)
    assert sum(n for _, n, _ in charts["Licence"].bars) == 60
    assert {label for label, _, _ in charts["Source"].bars} == {"mine", "other"}


def test_a_kind_of_less_than_one_percent_is_only_counted() -> None:
    found = bars("x", [("a", 500, 400), ("a", 496, 1), ("b", 4, 4)])
    assert (found.bars, found.unlisted, found.unlisted_kinds, found.total) == ((("a", 996, 401),), 4, 1, 1000)


def test_costs_come_from_receipts(made: Pictured) -> None:
    folder = made.run / "score.motion.receipts"
    folder.mkdir()
    for n, device in enumerate(["cpu", "cuda:0"]):
        receipt = {"computed": 10, "cpu_s": 1.5, "wall_s": 2.0, "device": device}
        (folder / f"part-{n:05d}.json").write_text(json.dumps(receipt))
    (folder / "part-00002.json").write_text("{ damaged")
    run = open_run(made.run)
    [cost] = costs(run, run.jobs())
    assert (cost.table, cost.computed, cost.cpu_s, cost.wall_s) == ("score.motion", 20, 3.0, 4.0)
    assert cost.gpu_s == 0  # the stage asks for no GPU, whatever its process held


def test_failures_by_kind_failed_ones_first() -> None:
    failed = [Failure(f"{n}", "timeout", "slow", retryable=True) for n in range(30)]
    left_out = [Failure("x", "too_short", "short", filtered=True)]
    counts = [
        Count("split", failures=left_out, reasons=Counter(too_short=1)),
        Count("score.text", failures=failed, reasons=Counter(timeout=30)),
    ]
    found = failures(counts)
    assert [(one.table, one.kind, one.count, len(one.examples)) for one in found] == [
        ("score.text", "timeout", 30, 20),
        ("split", "too_short", 1, 1),
    ]
