"""The best is kept, and what is left out is a twin of what is kept for it."""

from collections.abc import Collection

from builder.duplicates.choose import Choice, Shown, choose
from builder.duplicates.match import Overlap, Twins


def lies(offset: int, shared: int) -> Overlap:
    return Overlap(offset, shared, bits=1.0, correlation=0.9)


def chosen(
    lengths: tuple[int, ...], found: Twins, least: float = 0.5, unfit: Collection[int] = ()
) -> dict[int, Choice[int]]:
    better: dict[int, list[Shown[int]]] = {}
    for (a, b), overlap in sorted(found.items()):
        better.setdefault(b, []).append(Shown(a, *overlap.span))
    return choose(better, dict(enumerate(lengths)), least, lambda clip: clip not in unfit)


def kept_for(lengths: tuple[int, ...], found: Twins, least: float = 0.5, unfit: Collection[int] = ()) -> dict[int, int]:
    return {clip: choice.kept for clip, choice in chosen(lengths, found, least, unfit).items()}


def test_the_best_of_a_group_stands_for_the_others() -> None:
    found = {(0, 1): lies(0, 10), (0, 2): lies(0, 10), (1, 2): lies(0, 10)}
    assert kept_for((10, 10, 10), found) == {1: 0, 2: 0}


def test_a_chain_joins_only_what_looks_alike() -> None:
    """0 ~ 1 ~ 2, but not 0 ~ 2: 1 is left out for 0, and 2 stays, as nothing that is kept shows it."""
    assert kept_for((10, 10, 10), {(0, 1): lies(0, 10), (1, 2): lies(0, 10)}) == {1: 0}


def test_a_long_clip_stays_beside_a_better_one_that_shows_little_of_it() -> None:
    assert kept_for((10, 40), {(0, 1): lies(-5, 10)}) == {}
    assert kept_for((10, 40), {(0, 1): lies(-5, 10)}, least=0.25) == {1: 0}


def test_several_that_are_kept_count_together_and_what_both_show_counts_once() -> None:
    assert kept_for((10, 10, 30), {(0, 2): lies(0, 10), (1, 2): lies(-10, 10)}) == {2: 0}
    assert kept_for((10, 10, 30), {(0, 2): lies(0, 10), (1, 2): lies(-4, 10)}) == {}
    assert chosen((10, 10, 30), {(0, 2): lies(0, 10), (1, 2): lies(-10, 10)})[2].covered == 20 / 30


def test_the_one_that_shows_most_is_named() -> None:
    assert kept_for((10, 10, 20), {(0, 2): lies(0, 8), (1, 2): lies(-10, 10)}) == {2: 1}


def test_one_that_is_not_fit_stands_for_none_and_may_still_be_left_out() -> None:
    found = {(0, 1): lies(0, 10), (0, 2): lies(0, 10), (1, 2): lies(0, 10)}
    assert kept_for((10, 10, 10), found, unfit={0}) == {2: 1}
    assert kept_for((10, 10, 10), found, unfit={0, 1}) == {}
    assert kept_for((10, 10, 10), found, unfit={1}) == {1: 0, 2: 0}
