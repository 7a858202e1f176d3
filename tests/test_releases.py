"""Releases: what was published stands, byte for byte, under its name; only what changed goes into the next one."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from builder import releases
from builder.errors import RunError
from builder.execute import open_run, standing
from builder.pipeline import Run
from builder.records import Packed, Planned, Verdict
from builder.stage import Context, Item
from builder.stages.pack import Pack
from builder.stages.plan import Plan
from builder.storage import Storage
from builder.table import Answer, Stamp, Table
from command_line import STOPPED, digests, osd_build, write_run
from made_video import Made, write
from planned_clips import clip
from shards.manifest import Manifest, ShardEntry, Totals

MADE = "as now"


class Author:
    """Plans, "packs" and publishes; rows stand for shards, since what a shard is made of is all that counts here."""

    def __init__(self, folder: Path) -> None:
        self.storage = Storage(folder)
        self.plan: list[Planned] = []

    def planned(self, items: Sequence[Item[Verdict]], made: str = MADE, **settings: Any) -> dict[str, str]:
        """Clip -> shard."""
        closed = releases.digests(self.storage)
        self.stage = Plan(closed=closed, made=made, **{"shard_bytes": 10_000, **settings})
        with self.stage.opened(Context(self.storage)):
            answers = self.stage.batch(items)
        self.plan = [row for answer in answers if isinstance(answer, list) for row in answer]
        return {row.clip_id: row.shard for row in self.plan}

    def publish(self, commit: str = "c1", failed: Sequence[str] = ()) -> releases.Release:
        by_shard: dict[str, list[Planned]] = {}
        for row in self.plan:
            by_shard.setdefault(row.shard, []).append(row)
        entries = []
        for n, (shard, rows) in enumerate(sorted(by_shard.items())):
            sha256 = str(sorted((row.clip_id, row.covers) for row in rows if row.clip_id not in failed))
            packed = [Packed(r.clip_id, shard, 1, sha256, "[]", "{}", "{}") for r in rows if r.clip_id not in failed]
            self.table("plan", Planned, n, rows)
            self.table("pack", Packed, n, packed)
            if packed:
                row = rows[0]
                entries.append(ShardEntry(shard, len(packed), 1, sha256, row.split, row.redistributable, row.bucket))
        manifest = Manifest("a", "b", (), (), tuple(entries), Totals(0, 0, 0), {}, "")
        run = cast(Run, SimpleNamespace(storage=self.storage, stages=[("pack", self.stage)]))
        return releases.close(run, "me/mine", commit, manifest)

    def table(self, name: str, record: type[Any], n: int, rows: Sequence[Any]) -> None:
        Table(self.storage, name, record).write(n, Stamp("s", ""), {row.id: Answer("d", [row]) for row in rows})


@pytest.fixture
def author(tmp_path: Path) -> Author:
    return Author(tmp_path)


def of_release(shards: dict[str, str], name: str) -> set[str]:
    return {clip for clip, shard in shards.items() if shard.split("/")[2] == name}


def test_an_append_goes_into_the_next_release_and_moves_nothing(author: Author) -> None:
    first = author.planned([clip(n) for n in range(50)])
    numbers = {row.shard: row.shard_number for row in author.plan}
    author.publish()
    second = author.planned([clip(n) for n in range(60)])
    assert first.items() <= second.items()
    assert of_release(second, "r0002") == {clip(n).id for n in range(50, 60)}
    assert {shard: n for shard, n in numbers.items() if shard in second.values()} == numbers
    assert {r.shard: r.shard_number for r in author.plan}.items() >= numbers.items()  # so no part is made again


def test_published_and_not_changed_is_planned_as_it_was(author: Author) -> None:
    items = [clip(n) for n in range(50)]
    first = author.planned(items)
    before = author.plan
    author.publish()
    for settings in ({}, {"shard_bytes": 1}, {"shards": 1}, {"group_by": ("aspect",)}):
        assert author.planned(items, **settings) == first
    assert author.planned(items) and author.plan == before
    assert len(author.publish("c2").published) == 2  # no release of its own: there is nothing new
    assert [release.name for release in releases.releases(author.storage)] == ["r0001"]


def test_a_clip_that_goes_or_changes_gives_only_its_shard_out_anew(author: Author) -> None:
    items = [clip(n) for n in range(95)]
    first = author.planned(items)
    author.publish()
    for changed in (items[1:], [clip(0, title="another"), *items[1:]], [clip(0, license="CC-BY-ND-4.0"), *items[1:]]):
        second = author.planned(changed)
        concerned = {key for key, shard in first.items() if shard == first[items[0].id]}
        assert of_release(second, "r0002") == concerned & set(second)
        assert {key: shard for key, shard in second.items() if key not in concerned} == {
            key: shard for key, shard in first.items() if key not in concerned
        }


def test_what_was_superseded_never_comes_back(author: Author) -> None:
    items = [clip(n) for n in range(20)]
    first = author.planned(items, shard_bytes=10**9)
    author.publish()
    second = author.planned(items[1:], shard_bytes=10**9)
    author.publish("c2")
    third = author.planned(items, shard_bytes=10**9)
    assert (set(first.values()), set(second.values())) == (
        {"data/a/r0001/a-train-000000.tar"},
        {"data/a/r0002/a-train-000000.tar"},
    )
    assert second.items() <= third.items()
    assert of_release(third, "r0003") == {items[0].id}


def test_other_settings_of_pack_give_everything_out_anew(author: Author) -> None:
    items = [clip(n) for n in range(20)]
    author.planned(items)
    author.publish()
    assert of_release(author.planned(items, made="otherwise"), "r0002") == {item.id for item in items}
    assert Pack(crf=20).made != Pack().made == Pack(wall_s=5).made


def test_a_clip_that_could_not_be_packed_is_tried_in_the_next_release(author: Author) -> None:
    items = [clip(n) for n in range(20)]
    first = author.planned(items)
    author.publish(failed=[items[3].id])
    second = author.planned(items)
    assert of_release(second, "r0002") == {items[3].id}
    assert {key: shard for key, shard in second.items() if key != items[3].id}.items() <= first.items()


def test_sides_of_what_was_published_stay(author: Author) -> None:
    """A better copy comes, and its hash alone would put the pair on the other side."""
    items = [clip(n) for n in range(40)]
    first = author.planned(items, validation=0.3)
    sides = {row.clip_id: row.split for row in author.plan}
    author.publish()
    assert set(sides.values()) == {"train", "validation"}
    old = next(item for item in items if sides[item.id] == "train")
    new = next(c for c in map(clip, range(100, 999)) if author.planned([c], validation=0.3)[c.id].count("validation"))
    twins = [("dedupe", old.id, new.id), ("dedupe", new.id, new.id)]
    author.table("dedupe", *twin_rows(twins))
    planned = [item for item in items if item is not old] + [new]
    author.planned(planned, validation=0.3, twins="dedupe")
    assert {row.split for row in author.plan if row.clip_id == new.id} == {"train"}
    author.planned(planned, validation=0.29, twins="dedupe")  # another rule: what was published decides nothing
    assert {row.split for row in author.plan if row.clip_id == new.id} == {"validation"}
    assert first


def twin_rows(pairs: Sequence[tuple[str, str, str]]) -> tuple[type[Any], int, list[Any]]:
    from builder.stages.dedupe import Twin

    return Twin, 0, [Twin(clip_id, group) for _, clip_id, group in pairs]


def test_a_close_that_was_killed_does_not_count(author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [clip(n) for n in range(50)]
    first = author.planned(items)
    write_file = Storage.write

    def stop(self: Storage, name: str, data: bytes) -> None:
        if name.endswith(".json") or (name.startswith("releases") and name.endswith("2.parquet")):
            raise KeyboardInterrupt
        write_file(self, name, data)

    monkeypatch.setattr(Storage, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        author.publish()
    monkeypatch.undo()
    assert not any(releases.is_closed(author.storage, shard) for shard in first.values())
    assert author.planned(items[1:]).items() <= first.items()
    author.publish()
    assert all(releases.is_closed(author.storage, row.shard) for row in author.plan)
    assert len(author.storage.list("releases/r0001")) == len({row.shard for row in author.plan})


def test_what_the_run_no_longer_packs_is_not_recorded_as_published(author: Author) -> None:
    author.planned([clip(n) for n in range(5)])
    manifest = author.publish()
    author.planned([clip(n) for n in range(9)])
    stale = dataclasses.replace(manifest.shards[0], path="data/a/r0002/a-train-000000.tar", sha256="0")
    run = cast(Run, SimpleNamespace(storage=author.storage, stages=[("pack", author.stage)]))
    with pytest.raises(RunError, match="is not what the run now packs"):
        releases.close(run, "me/mine", "c2", Manifest("a", "b", (), (), (stale,), Totals(0, 0, 0), {}, ""))


def test_a_record_that_is_gone_is_named(author: Author) -> None:
    author.planned([clip(n) for n in range(5)])
    author.publish()
    author.storage.remove("releases/r0001/a-train-000000.parquet")
    with pytest.raises(RunError, match=r"a-train-000000\.parquet is gone"):
        author.planned([clip(n) for n in range(5)])


def test_a_damaged_record_is_named(author: Author) -> None:
    author.storage.write("releases/r0001.json", b'{"name": "r0001"}')
    with pytest.raises(RunError, match=r"r0001\.json is damaged"):
        releases.releases(author.storage)


# -- with real shards
def test_shards_that_were_published_are_neither_packed_nor_written_again(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for n in range(6):
        write(tmp_path / "videos" / f"{n}.mp4", Made(frames=25 + n))
    run = write_run(tmp_path / "run", tmp_path / "videos")
    sets = ("--set", "plan.shard_bytes=6000")

    def built(*options: str) -> dict[str, tuple[str, int]]:
        done = osd_build("run", run, *sets, *options)
        assert done.returncode == 0, done.stderr
        assert osd_build("verify", run / "dataset").returncode == 0
        return {Path(name).relative_to(run / "dataset").as_posix(): found for name, found in shards(run).items()}

    first = built()
    assert len(first) > 1
    releases.close(open_run(run), "me/mine", "c1")
    assert built("--set", "plan.shards=3") == first

    write(tmp_path / "videos" / "late.mp4", Made(frames=40))
    second = built()
    assert first.items() <= second.items()
    assert [name.split("/")[2] for name in second.keys() - first.keys()] == ["r0002"]

    gone = next(iter(first))
    (run / "dataset" / gone).unlink()  # made again, to the byte
    again = built()
    assert {name: digest for name, (digest, _) in again.items()} == {n: digest for n, (digest, _) in second.items()}
    assert [name for name in again if again[name] != second[name]] == [gone]

    (run / "dataset" / gone).unlink()
    record = run / "releases" / "r0001" / f"{Path(gone).stem}.parquet"
    rows = list(releases.rows_of(Storage(run), gone).values())
    changed = [dataclasses.replace(row, shard_sha256="0" * 64) for row in rows]  # as another libx264 would have it
    record.write_bytes(releases.encode(releases.Closed, changed, {}))
    done = osd_build("run", run, *sets)
    assert done.returncode == STOPPED
    assert f"hf download me/mine {gone} --repo-type dataset --revision c1" in done.stderr
    assert json.loads((run / "releases" / "r0001.json").read_text())["published"] == [["me/mine", "c1"]]


def shards(run: Path) -> dict[str, tuple[str, int]]:
    return digests(run / "dataset" / "data")


def test_what_no_setting_changes_any_more_is_told(author: Author) -> None:
    run = cast(Run, SimpleNamespace(storage=author.storage))
    author.planned([clip(n) for n in range(20)])
    assert list(standing(run)) == []
    author.publish()
    shards = len({row.shard for row in author.plan})
    [note] = standing(run)
    assert note.startswith(f"note: {shards} of {shards} shards stand as they were published (r0001); ")
