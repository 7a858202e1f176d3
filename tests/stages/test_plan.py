"""Plan: shards of one source each, about as large as asked, that keep their clips when others go."""

import hashlib
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from builder.records import Clip, Planned, Scanned, SourceVideo, Verdict
from builder.samples import covers
from builder.stage import Item
from builder.stages.plan import Plan

FRAMES = 100


def item(number: int, source: str = "a", size_bytes: int = 1000) -> Item[Verdict]:
    """One clip that is a whole video."""
    key = hashlib.sha256(str(number).encode()).hexdigest()[:20]
    clip = Clip(f"{key}-0-{FRAMES}", key, 0, FRAMES, 0, FRAMES, 0.0, 4.0, 25.0, 64, 64)
    video = SourceVideo(key, key, source, "", "", "", size_bytes, "mov", "h264", 64, 64, 0, 25.0, 4.0, False)
    scan = Scanned(key, FRAMES, 64, 64, 25.0, 4.0, 0, FRAMES, "1/25", False, 0, 8, "", "")
    return Item(Verdict(clip.clip_id, True), key, {"split": clip, "merge": video, "scan": scan})


def plan(items: list[Item[Verdict]], shard_bytes: int = 10_000) -> list[Planned]:
    answers = Plan(shard_bytes=shard_bytes).batch(items)
    return [row for answer in answers if isinstance(answer, list) for row in answer]


@given(st.integers(1, 200), st.integers(500, 50_000))
def test_every_clip_is_in_one_shard_and_shard_numbers_have_no_gap(clips: int, shard_bytes: int) -> None:
    items = [item(n, "ab"[n % 2]) for n in range(clips)]
    rows = plan(items, shard_bytes)
    assert [row.clip_id for row in rows] == [i.id for i in items]
    assert {row.shard_number for row in rows} == set(range(max(row.shard_number for row in rows) + 1))
    names = {row.shard_number: row.shard for row in rows}
    assert all(names[row.shard_number] == row.shard for row in rows)
    assert len(set(names.values())) == len(names)
    assert Plan().parts(rows) == {"shard": len(names)}


def test_shards_hold_one_source_and_about_the_bytes_asked_for() -> None:
    items = [item(n, "ab"[n % 2]) for n in range(400)]
    sizes: dict[str, int] = defaultdict(int)
    for row in plan(items, 20_000):
        sizes[row.shard] += 1000
    assert {name.split("/")[1] for name in sizes} == {"a", "b"}
    assert len(sizes) == 20
    assert max(sizes.values()) < 2 * 20_000


def test_a_clip_that_goes_moves_no_other() -> None:
    items = [item(n) for n in range(95)]
    before = {row.clip_id: row.shard for row in plan(items)}
    after = {row.clip_id: row.shard for row in plan(items[1:])}
    assert after == {key: shard for key, shard in before.items() if key != items[0].id}


def test_the_digest_of_everything_joined_is_carried() -> None:
    assert plan([item(7)])[0].covers == covers(item(7))
