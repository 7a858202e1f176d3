"""How clips are grouped, and how many a device holds."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.captioning.micro_batches import USABLE, Limits, budget, groups

LENGTHS = st.lists(st.integers(1, 3000), max_size=40)


@given(LENGTHS, st.integers(1, 9), st.integers(0, 5000), st.integers(0, 2000))
def test_every_clip_is_in_one_group_within_the_limits(
    lengths: list[int], clips: int, tokens: int, padding: int
) -> None:
    found = groups(lengths, Limits(clips, tokens, padding))
    assert sorted(i for group in found for i in group) == list(range(len(lengths)))
    for group in found:
        longest = max(lengths[i] for i in group)
        assert len(group) <= clips
        assert len(group) == 1 or not tokens or longest * len(group) <= tokens
        assert sum(longest - lengths[i] for i in group) <= padding


def test_like_lengths_go_together_longest_first() -> None:
    assert groups([10, 500, 11, 490, 12], Limits(8, padding=20)) == [[1, 3], [4, 2, 0]]
    assert groups([7, 7, 7, 7, 7], Limits(2)) == [[0, 1], [2, 3], [4]]
    assert groups([5, 5, 5], Limits(8, tokens=10)) == [[0, 1], [2]]
    assert groups([50], Limits(8, tokens=10)) == [[0]]
    assert groups([], Limits(8)) == []


@dataclass
class Made:
    """A device on which a token takes `each` bytes, beside the model's."""

    size: int
    model: int
    each: int
    most: int = 0
    log: list[str] = field(default_factory=list)

    def total(self) -> int:
        return self.size

    def used(self) -> int:
        return self.model

    def peak(self) -> int:
        return self.most

    def forget(self) -> None:
        self.log.append("forget")
        self.most = self.model

    def work(self, tokens: int) -> int:
        self.most = self.model + tokens * self.each
        return tokens


def test_the_budget_is_what_a_device_of_this_kind_holds_beside_the_model() -> None:
    gpu = Made(size=80 << 30, model=15 << 30, each=1 << 20)
    found = budget([gpu], lambda: gpu.work(1000))
    exact = ((80 << 30) * USABLE - (15 << 30)) / (1 << 20)
    assert exact * 0.75 < found <= exact
    assert gpu.log == ["forget"]
    slightly_more = Made(size=80 << 30, model=15 << 30, each=(1 << 20) + 900)
    assert budget([slightly_more], lambda: slightly_more.work(1000)) == found


def test_the_fullest_device_of_a_spread_model_decides() -> None:
    free, full = Made(80 << 30, 10 << 30, 1 << 20), Made(80 << 30, 70 << 30, 1 << 20)
    both = budget([free, full], lambda: max(free.work(100), full.work(100)))
    assert both == budget([full], lambda: full.work(100)) < budget([free], lambda: free.work(100))


def test_a_full_device_still_gets_one_clip() -> None:
    full = Made(80 << 30, 79 << 30, 1 << 20)
    found = budget([full], lambda: full.work(100))
    assert found >= 1
    assert groups([900, 900], Limits(8, found)) == [[0], [1]]


@pytest.mark.parametrize("tokens", [1, 7, 8, 9, 1000, 12345])
def test_a_budget_keeps_three_digits(tokens: int) -> None:
    gpu = Made(size=round(tokens * 1000 / USABLE), model=0, each=1000)
    assert f"{budget([gpu], lambda: gpu.work(10)):b}".rstrip("0").__len__() <= 3
