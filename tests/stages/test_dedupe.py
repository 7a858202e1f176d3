"""Dedupe: of clips that show the same the best is kept; judge names it where it leaves the others out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builder.records import Scanned, SourceVideo
from builder.stage import Context, Item
from builder.stages.dedupe import Dedupe
from builder.stages.hash import Hash, Hashes
from drifting_clips import drifting, seen
from sample_clips import VIDEOS, Sample, made, sample

VIDEO = SourceVideo(
    video_id="v", found_id="f", source="s", root="", path="p", sha256="0", size_bytes=1_000_000, container="mp4",
    codec="h264", width=640, height=360, rotation=0, fps=24.0, duration_s=4.0, has_audio=False, license="CC-BY-4.0",
)  # fmt: skip
SCAN = Scanned("v", 96, 640, 360, 24.0, 4.0, 0, 96, "1/24", False, 0, 8, "e", "s")


def item(name: str, seed: int = 1, video: SourceVideo = VIDEO, scan: Scanned = SCAN, bars: int = 0) -> Item[Hashes]:
    """A clip of a video of its own."""
    frames, times = drifting(seed)
    found = seen(np.pad(frames, ((0, 0), (bars, bars), (0, 0), (0, 0))), times)
    row = Hashes(name, name, found.first, found.moments.tobytes(), found.picture)
    return Item(row, "digest", {"scan": replace(scan, video_id=name), "merge": replace(video, video_id=name)})


def groups(*items: Item[Hashes], stage: Dedupe | None = None) -> dict[str, str]:
    """Which clip stands for each."""
    answers = (stage or Dedupe()).batch(items)
    rows = [row for answer in answers for row in answer]  # type: ignore[union-attr]
    assert [row.clip_id for row in rows] == [one.id for one in items]
    return {row.clip_id: row.group for row in rows}


def test_copies_have_one_group_and_others_each_their_own() -> None:
    assert groups(item("a"), item("b", seed=2), item("c"), item("d")) == {"a": "a", "b": "b", "c": "a", "d": "a"}


BETTER = {
    "more pixels": {"scan": replace(SCAN, width=1280, height=720)},
    "no bars": {"video": replace(VIDEO, size_bytes=2_000_000)},  # where the other has them
    "more bytes a second": {"video": replace(VIDEO, size_bytes=2_000_000)},
    "a licence that allows more": {"video": replace(VIDEO, license="CC0-1.0")},
    "a licence that is known": {},
    "a whole file": {"video": replace(VIDEO, license="CC-BY-NC-4.0")},
}
WORSE = {
    "a whole file": {
        "scan": replace(SCAN, complete=False, lost="truncated"),
        "video": replace(VIDEO, size_bytes=2_000_000),
    },
    "no bars": {"bars": 40},
    "a licence that is known": {"video": replace(VIDEO, license="")},
}


@pytest.mark.parametrize("why", BETTER)
def test_the_best_is_kept_whatever_its_name(why: str) -> None:
    better, worse = BETTER[why], WORSE.get(why, {})
    assert groups(item("a", **better), item("b", **worse)) == {"a": "a", "b": "a"}  # type: ignore[arg-type]
    assert groups(item("a", **worse), item("b", **better)) == {"a": "b", "b": "b"}  # type: ignore[arg-type]


def test_pixels_go_before_bytes_and_bytes_before_the_licence() -> None:
    large = item("z", scan=replace(SCAN, width=1280), video=replace(VIDEO, license="CC-BY-NC-4.0"))
    heavy = item("y", video=replace(VIDEO, size_bytes=9_000_000, license="CC-BY-NC-4.0"))
    free = item("x", video=replace(VIDEO, license="CC0-1.0"))
    assert set(groups(free, heavy, large).values()) == {"z"}
    assert set(groups(free, heavy).values()) == {"y"}


def test_a_better_clip_that_comes_later_changes_the_rows_of_its_group_only() -> None:
    before = {row.id: row for [row] in Dedupe().batch([item("a"), item("b", seed=2), item("c", seed=3)])}
    better = item("d", seed=2, scan=replace(SCAN, width=1280))
    after = {row.id: row for [row] in Dedupe().batch([item("a"), item("b", seed=2), item("c", seed=3), better])}
    assert {name for name in before if before[name] != after[name]} == {"b"}
    worse = item("d", seed=2, scan=replace(SCAN, width=320))
    again = {row.id: row for [row] in Dedupe().batch([item("a"), item("b", seed=2), item("c", seed=3), worse])}
    assert all(again[name] == before[name] for name in before)


def test_all_better_twins_are_told_whoever_is_kept() -> None:
    sizes = {"a": 3_000_000, "b": 2_000_000, "c": 1_000_000}
    items = [item(name, video=replace(VIDEO, size_bytes=size)) for name, size in sizes.items()]
    rows = [row for [row] in Dedupe().batch([*items, item("d", seed=2)])]
    assert [row.better for row in rows] == [(), ("a",), ("a", "b"), ()]


def test_the_order_of_arrival_does_not_matter() -> None:
    items = [item("a"), item("b", seed=2), item("c"), item("d", seed=2)]
    assert groups(*items) == groups(*items[::-1])


def test_switching_it_is_no_setting_and_thresholds_are() -> None:
    assert Dedupe(on=False).fingerprint() == Dedupe().fingerprint() != Dedupe(radius=4).fingerprint()


def test_only_what_decides_makes_an_input_new() -> None:
    stage = Dedupe()
    assert stage.digest(replace(VIDEO, title="other")) == stage.digest(VIDEO)
    assert stage.digest(replace(VIDEO, license="CC0-1.0")) != stage.digest(VIDEO)
    assert stage.digest(replace(SCAN, evidence="other")) == stage.digest(SCAN)


# -- hash
def hashed(clip: Sample) -> Hashes:
    stage = Hash()
    with stage.opened(Context(clip.storage)):
        return stage.each(clip.scored())[0]


def test_hashes_are_made_of_what_the_decode_pass_kept(tmp_path: Path) -> None:
    frames, _ = drifting(1)
    first, second = (made(tmp_path, frames[::step], fps=24 // step, name=f"m{step}") for step in (1, 2))
    rows = [replace(hashed(clip), video_id=clip.clip.clip_id) for clip in (first, second)]
    assert [len(row.moments) for row in rows] == [len(seen(*drifting(1)).moments.tobytes())] * 2
    items = [Item(row, "", {"scan": SCAN, "merge": VIDEO}) for row in rows]
    assert groups(*items) == {"m1": "m1", "m2": "m1"}


# -- real videos
DECLARED = (
    ("dup_chair-orig-22-sd-bar", "dup_chair-22-sd-grey-bar"),
    ("dup_chair-orig-22-sd-bar", "dup_chair-19-sd-bar"),
    ("dup_chair-orig-22-sd-bar", "dup_chair-22-with-small-logo-bar"),
    ("dup_chair-orig-22-sd-bar", "dup_chair-22-with-large-logo-bar"),
    ("shot_carphone", "shot_carphone_blocky"),
    ("shot_flower_timelapse", "shot_flower_fragmented"),
)
OTHERS = ("shot_bedroom", "dup_doorknob-hd-no-bar", "shot_bug_bw")


@pytest.mark.torture
@pytest.mark.skipif(not (VIDEOS / "dup_chair-19-sd-bar.mp4").is_file(), reason="the real videos are not here")
def test_declared_copies_are_found_and_nothing_else(tmp_path: Path) -> None:
    names = list(dict.fromkeys([*(name for pair in DECLARED for name in pair), *OTHERS]))
    found = {name: sample(VIDEOS / f"{name}.mp4", tmp_path) for name in names}
    items = []
    for name, clip in found.items():
        row = replace(hashed(clip), clip_id=name, video_id=name)
        items.append(Item(row, "", {"scan": clip.scan, "merge": replace(VIDEO, size_bytes=len(items))}))
    family = groups(*items)
    assert all(family[a] == family[b] for a, b in DECLARED)
    assert len(set(family.values())) == 3 + len(OTHERS)


@pytest.mark.skipif(not (VIDEOS / "shot_carphone_blocky.mp4").is_file(), reason="the real videos are not here")
def test_a_copy_coded_with_few_bits_is_found_and_not_kept(tmp_path: Path) -> None:
    items = []
    for n, name in enumerate(("shot_carphone", "shot_carphone_blocky", "shot_friday_1940")):
        clip, file = sample(VIDEOS / f"{name}.mp4", tmp_path), VIDEOS / f"{name}.mp4"
        video = replace(VIDEO, size_bytes=file.stat().st_size)
        items.append(Item(replace(hashed(clip), video_id=str(n)), "", {"scan": clip.scan, "merge": video}))
    family = groups(*items)
    assert family["shot_carphone_blocky"] == "shot_carphone"
    assert len(set(family.values())) == 2
