"""Plan: shards of one source each, about as large as asked, that keep their clips when others go."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import RunError
from builder.records import Caption, Planned, Verdict
from builder.samples import covers
from builder.sides import by_duplicates
from builder.stage import Context, Item
from builder.stages.plan import Plan
from builder.storage import Storage
from planned_clips import clip


def plan(items: Sequence[Item[Verdict]], shard_bytes: int = 10_000, **settings: Any) -> list[Planned]:
    stage = Plan(shard_bytes=shard_bytes, **settings)
    with stage.opened(Context(Storage(Path("none")))):  # nothing was published
        answers = stage.batch(items)
    return [row for answer in answers if isinstance(answer, list) for row in answer]


@given(st.integers(1, 200), st.integers(500, 50_000))
def test_every_clip_is_in_one_shard_and_shard_numbers_have_no_gap(clips: int, shard_bytes: int) -> None:
    items = [clip(n, "ab"[n % 2]) for n in range(clips)]
    rows = plan(items, shard_bytes)
    assert [row.clip_id for row in rows] == [i.id for i in items]
    assert {row.shard_number for row in rows} == set(range(max(row.shard_number for row in rows) + 1))
    names = {row.shard_number: row.shard for row in rows}
    assert all(names[row.shard_number] == row.shard for row in rows)
    assert len(set(names.values())) == len(names)
    assert Plan().parts(rows) == {"shard": len(names)}


def test_shards_hold_one_source_and_about_the_bytes_asked_for() -> None:
    items = [clip(n, "ab"[n % 2]) for n in range(400)]
    sizes: dict[str, int] = defaultdict(int)
    for row in plan(items, 20_000):
        sizes[row.shard] += 1000
    assert {name.split("/")[1] for name in sizes} == {"a", "b"}
    assert len(sizes) == 20
    assert max(sizes.values()) < 2 * 20_000


def test_a_clip_that_goes_moves_no_other() -> None:
    items = [clip(n) for n in range(95)]
    before = {row.clip_id: row.shard for row in plan(items)}
    after = {row.clip_id: row.shard for row in plan(items[1:])}
    assert after == {key: shard for key, shard in before.items() if key != items[0].id}


def test_the_digest_of_everything_joined_is_carried() -> None:
    assert plan([clip(7)])[0].covers == covers(clip(7))


def test_covers_tells_what_a_sample_is_made_of_and_nothing_else() -> None:
    one = clip(7)
    for same in (clip(7, retrieved_at="later"), clip(7, etag="x")):
        assert covers(same) == covers(one)
    for other in (
        clip(7, title="x"),
        clip(7, author="x"),
        clip(7, license="CC-BY-4.0"),
        clip(7, size=(32, 64)),
        clip(8),
    ):
        assert covers(other) != covers(one)
    moved = replace(one, joined={**one.joined, "merge": replace(one.joined["merge"], path="elsewhere.mp4")})
    assert covers(moved) == covers(one)
    said = Caption(one.id, "vlm", "said", "ok", "m", "", "", (), "")
    captioned = replace(one, joined={**one.joined, "caption.vlm": said})
    assert covers(captioned, {one.id: {"vlm": "written"}}) != covers(captioned)
    assert covers(captioned, {one.id: {"other": "written"}, "x": {"vlm": "written"}}) == covers(captioned)


# -- how many shards
@given(st.integers(1, 60), st.integers(0, 60), st.integers(1, 40))
def test_so_many_training_shards_of_equal_numbers(ours: int, theirs: int, shards: int) -> None:
    items = [clip(n, "ab"[n >= ours]) for n in range(ours + theirs)]
    kinds = 1 + bool(theirs)
    if not kinds <= shards <= len(items):
        with pytest.raises(RunError, match=f"make {kinds} to {len(items)} shards"):
            plan(items, shards=shards)
        return
    counts = Counter(row.shard for row in plan(items, shards=shards))
    assert len(counts) == shards
    for source in "ab":
        sizes = [count for shard, count in counts.items() if shard.split("/")[1] == source]
        assert not sizes or max(sizes) - min(sizes) <= 1


def test_clips_that_must_not_be_published_share_no_shard_and_come_last() -> None:
    items = [clip(n, license="CC0-1.0" if n % 3 else "Pexels License") for n in range(60)]
    rows = plan(items, 5000)
    barred = {row.shard for row in rows if not row.redistributable}
    allowed = {row.shard for row in rows if row.redistributable}
    assert barred and allowed and not barred & allowed
    assert min(barred) > max(allowed)
    assert len(barred) + len(allowed) == 1 + int(max(barred)[-10:-4])


@pytest.mark.parametrize(
    ("by", "buckets"),
    [
        (("aspect",), {"16x9", "9x16"}),
        (("resolution",), {"360p", "1080p"}),
        (("length",), {"2s", "8s"}),
        (("aspect", "length"), {"16x9_2s", "16x9_8s", "9x16_2s", "9x16_8s"}),
    ],
)
def test_shards_of_one_bucket(by: tuple[str, ...], buckets: set[str]) -> None:
    sizes = [(1920, 1080), (360, 640)]
    items = [clip(n, size=sizes[n % 2], seconds=[3.9, 15.0][n // 2 % 2]) for n in range(40)]
    rows = plan(items, group_by=by)
    assert {row.bucket for row in rows} == buckets
    of = {row.shard: row.bucket for row in rows}
    assert all(row.bucket == of[row.shard] for row in rows)


# -- training and validation
def sides(items: Sequence[Item[Verdict]], **settings: Any) -> dict[str, str]:
    return {row.clip_id: row.split for row in plan(items, **settings)}


def test_without_a_share_all_is_for_training() -> None:
    assert set(sides([clip(n) for n in range(50)]).values()) == {"train"}


@given(st.sets(st.integers(0, 500)), st.sets(st.integers(0, 500)), st.sampled_from(["duplicates", "author", "video"]))
def test_videos_that_are_added_move_none(before: set[int], added: set[int], by: str) -> None:
    items = {n: clip(n, author=f"author {n % 7}" if n % 2 else "") for n in before | added}
    first = sides([items[n] for n in sorted(before)], validation=0.3, split_by=by)
    second = sides([items[n] for n in sorted(before | added)], validation=0.3, split_by=by)
    assert first.items() <= second.items()


def test_about_the_share_asked_for() -> None:
    counts = Counter(sides([clip(n) for n in range(2000)], validation=0.1).values())
    assert 150 < counts["validation"] < 250


def test_an_author_is_on_one_side() -> None:
    items = [clip(n, author=f" Author  {n % 20} " if n % 3 else f"author {n % 20}") for n in range(400)]
    found = defaultdict(set)
    for n, split in enumerate(sides(items, validation=0.4, split_by="author").values()):
        found[n % 20].add(split)
    assert {len(splits) for splits in found.values()} == {1}
    assert {split for splits in found.values() for split in splits} == {"train", "validation"}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40), st.sets(st.integers(0, 60)))
def test_a_group_is_on_one_side_whatever_of_it_is_kept(pairs: list[tuple[int, int]], kept: set[int]) -> None:
    groups = {clip(n).id: clip(star).id for n, star in pairs} | {clip(star).id: clip(star).id for _, star in pairs}
    videos = {clip(n).id: clip(n).id.partition("-")[0] for n in kept}
    found = by_duplicates(groups.items(), videos, {}, 0.5)
    assert found.keys() == groups.keys() | videos.keys()
    for star in set(groups.values()):
        assert len({found[key] for key, group in groups.items() if group == star}) == 1
    fewer = by_duplicates(groups.items(), dict(list(videos.items())[::2]), {}, 0.5)
    assert fewer.items() <= found.items()


def test_a_split_is_in_the_name_of_its_shards() -> None:
    rows = plan([clip(n) for n in range(60)], 5000, validation=0.3)
    assert all(f"-{row.split}-0" in row.shard for row in rows)
    for split in ("train", "validation"):
        numbers = sorted({int(row.shard[-10:-4]) for row in rows if row.split == split})
        assert numbers == list(range(len(numbers)))
