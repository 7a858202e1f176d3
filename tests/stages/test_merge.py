"""Equal bytes become one video, in whatever order they come."""

import json
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from builder.layout import clip_parts, video_parts
from builder.records import Failure, Fetched, SourceVideo
from builder.stage import Item
from builder.stages.merge import Merge


def row(found_id: str, video_id: str) -> Fetched:
    named = {"video_id": video_id, "found_id": found_id, "source": "s", "root": "s", "path": f"{found_id}.mp4"}
    content = {"sha256": video_id * 3, "size_bytes": 1, "container": "mov", "codec": "h264", "has_audio": False}
    shape = {"width": 64, "height": 48, "rotation": 0, "fps": 10.0, "duration_s": 2.0}
    values: dict[str, Any] = {**named, **content, **shape, "tags": ("a",), "retrieved_at": "now"}
    return Fetched(**values)


def merge(rows: Sequence[Fetched]) -> dict[str, Sequence[SourceVideo] | Failure]:
    answers = Merge().batch([Item(r, r.digest()) for r in rows])
    return {r.found_id: answer for r, answer in zip(rows, answers, strict=True)}


def ids(video: SourceVideo) -> list[str]:
    return [json.loads(listing)["found_id"] for listing in video.also]


def test_a_licence_that_allows_more_wins_and_every_listing_is_recorded() -> None:
    bare, known = row("a1", "ff"), replace(row("b1", "ff"), license="CC-BY-4.0", author="Zoë", site_id="7")
    answers = merge([bare, known])
    [kept] = answers["b1"]  # type: ignore[misc]
    assert (kept.found_id, kept.license, kept.author) == ("b1", "CC-BY-4.0", "Zoë")
    assert json.loads(kept.also[0])["path"] == "a1.mp4"
    assert isinstance(answers["a1"], Failure) and answers["a1"].kind == "duplicate"


def test_spans_of_all_listings_are_kept_unless_one_asks_for_all_of_it() -> None:
    rows = [replace(row(n, "ff"), starts_s=(s,), ends_s=(s + 1,)) for n, s in (("a1", 5.0), ("b1", 2.0), ("c1", 5.0))]
    [kept] = merge(rows)["a1"]  # type: ignore[misc]
    assert (kept.starts_s, kept.ends_s) == ((2.0, 5.0), (3.0, 6.0))
    [kept] = merge([*rows, row("d1", "ff")])["a1"]  # type: ignore[misc]
    assert kept.starts_s == ()


def test_what_the_takedown_list_names_by_its_hash_is_left_out() -> None:
    rows = [row("a1", "ff"), row("b1", "ff"), row("c1", "ee")]
    stage = Merge(taken_down=(f"sha256:{rows[0].sha256}",))
    answers = stage.batch([Item(r, r.digest()) for r in rows])
    kinds = [a.kind if isinstance(a, Failure) else "kept" for a in answers]
    assert kinds == ["taken_down", "taken_down", "kept"]
    assert stage.fingerprint() != Merge().fingerprint()


def test_the_smallest_found_id_stands_for_all() -> None:
    answers = merge([row("c1", "ff"), row("a1", "ff"), row("b1", "ff"), row("d1", "ee")])
    [kept] = [r for a in answers.values() if not isinstance(a, Failure) for r in a if r.video_id == "ff"]
    assert type(kept) is SourceVideo
    assert (kept.id, kept.found_id, ids(kept)) == ("ff", "a1", ["b1", "c1"])
    assert (kept.path, kept.tags, kept.retrieved_at, kept.duration_s) == ("a1.mp4", ("a",), "now", 2.0)
    for found_id in ("b1", "c1"):
        left_out = answers[found_id]
        assert isinstance(left_out, Failure)
        assert (left_out.item_id, left_out.kind, left_out.filtered) == (found_id, "duplicate", True)
        assert "a1" in left_out.message


IDS = st.text("0123456789abcdef", min_size=4, max_size=4)


@given(st.dictionaries(IDS, st.sampled_from(["aa", "bb", "cc"])), st.randoms())
def test_the_order_of_arrival_does_not_matter(found: dict[str, str], random: Random) -> None:
    rows = [row(found_id, video_id) for found_id, video_id in found.items()]
    shuffled = rows.copy()
    random.shuffle(shuffled)
    answers = merge(rows)
    assert answers == merge(shuffled)
    kept = [r for a in answers.values() if not isinstance(a, Failure) for r in a]
    assert sorted(r.video_id for r in kept) == sorted(set(found.values()))
    assert sorted(f for r in kept for f in (r.found_id, *ids(r))) == sorted(found)


def test_parts_follow_number_and_length() -> None:
    fetched = row("a1", "aa")
    [video] = next(a for a in merge([fetched]).values() if not isinstance(a, Failure))
    videos = [replace(video, video_id=f"{n:020x}") for n in range(100)]
    assert Merge().parts(videos) == {"video": video_parts(100), "clip": clip_parts([2.0] * 100)}
