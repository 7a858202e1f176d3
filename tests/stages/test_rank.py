"""Rank: percentiles are values that clips have, exact, and counted over the clips that have one."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from builder.records import Failure, Verdict
from builder.stages.rank import Rank, RankSelected, nearest_rank
from judged_run import MEASURED, MotionScore, clip, clip_id, inputs, write

percents = st.integers(0, 100) | st.decimals(0, 100, places=2).map(float)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40), percents)
def test_a_percentile_is_the_inverse_of_the_distribution(values: list[int], percent: float) -> None:
    """As numpy's "inverted_cdf", but for its rounding of q * n: the smallest value with q of all at or below it."""
    ranked = sorted(values)
    found = ranked[nearest_rank(f"p{percent}", len(values))]
    share = sum(value <= found for value in values) / len(values)
    below = sum(value < found for value in values) / len(values)
    assert share >= percent / 100 - 1e-12
    assert below < percent / 100 or found == ranked[0]


def test_ten_percent_of_ten_is_one() -> None:
    """0.1 * 10 is 1.0000000000000002 steps for some decimals; the ranks are exact."""
    for count in (10, 100, 1000, 123_457):
        for percent in range(101):
            exact = -(-percent * count // 100) - 1
            assert nearest_rank(f"p{percent}", count) == max(0, exact)


def test_of_clips_that_have_the_value(tmp_path: Path) -> None:
    names = [f"{n}" for n in range(11)]
    write(tmp_path, "split", [clip(name) for name in names])
    flows = [MotionScore(clip_id(name), float(int(name) ** 2)) for name in names[:10]]
    write(tmp_path, "score.motion", flows, [Failure(clip_id("10"), "timeout", "")])
    rank = Rank(
        percentiles=("duration_s p50", "motion.flow p0", "motion.flow p30", "motion.flow p95"), measured=MEASURED
    )
    rows = rank.asked(inputs(tmp_path, rank)).to_pylist()
    assert [(row["value"], row["clips"]) for row in rows] == [(4.0, 11), (0.0, 10), (4.0, 10), (81.0, 10)]
    assert rows[2]["value"] == np.quantile([row.flow for row in flows], 0.3, method="inverted_cdf")


def test_of_no_clip_there_is_no_percentile(tmp_path: Path) -> None:
    write(tmp_path, "split", [])
    write(tmp_path, "score.motion", [])
    rank = Rank(percentiles=("motion.flow p30",), measured=MEASURED)
    assert len(rank.asked(inputs(tmp_path, rank))) == 0


def test_of_clips_kept_so_far(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    write(tmp_path, "split", [clip(name) for name in names])
    write(tmp_path, "score.motion", [MotionScore(clip_id(name), float(n)) for n, name in enumerate(names)])
    write(tmp_path, "judge", [Verdict(clip_id(name), kept=name != "d") for name in names])
    rank = RankSelected(percentiles=("motion.flow p100",), measured=MEASURED)
    [row] = rank.asked(inputs(tmp_path, rank)).to_pylist()
    assert (row["value"], row["clips"]) == (2.0, 3)
