"""What Find makes of the sources: ids, defaults, duplicates, sources that list nothing."""

import json
import re
from pathlib import Path

import pytest

from builder import registry
from builder.errors import ConfigError
from builder.layout import video_parts
from builder.records import Failure, Found, SourceSpec
from builder.registry import discover
from builder.stage import Context, Item
from builder.stages.find import Find, Source
from builder.storage import Storage


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "videos" / "sub").mkdir(parents=True)
    (tmp_path / "videos" / "a.mp4").write_bytes(b"1")
    (tmp_path / "videos" / "sub" / "a.mp4").write_bytes(b"2")
    (tmp_path / "list.csv").write_text(
        "url,license\nHTTP://Example.org:80/a.mp4#x,CC0-1.0\nhttp://example.org/a.mp4,\nhttp://example.org/b.mp4,\n"
    )
    return tmp_path


def spec(name: str, kind: str, **values: object) -> SourceSpec:
    return SourceSpec(name, kind, json.dumps(values))


def find(base: Path, *specs: SourceSpec) -> list[list[Found] | Failure]:
    sources = {s.source: registry.find("sources", Source, s.kind)(**json.loads(s.settings)) for s in specs}
    stage, context = Find(), Context(Storage(base / "run"), base, sources)
    with stage.opened(context):
        answers = stage.batch([Item(row, row.digest()) for row in sorted(specs, key=lambda row: row.id)])
    return [answer if isinstance(answer, Failure) else list(answer) for answer in answers]


def rows(base: Path, *specs: SourceSpec) -> list[Found]:
    [found] = find(base, *specs)
    assert not isinstance(found, Failure)
    return found


def test_local_files(base: Path) -> None:
    found = rows(base, spec("mine", "folder", path="videos", license="CC-BY-4.0", author="me"))
    assert {row.path for row in found} == {"a.mp4", "sub/a.mp4"}
    assert {(row.source, row.root, row.url, row.license, row.author) for row in found} == {
        ("mine", "mine", "", "CC-BY-4.0", "me")
    }
    assert all(re.fullmatch("[0-9a-f]{20}", row.found_id) for row in found)
    assert [row.found_id for row in found] == sorted({row.found_id for row in found})


def test_ids_come_from_the_address_alone(base: Path) -> None:
    source = spec("mine", "folder", path="videos")
    before = {row.path: row.found_id for row in rows(base, source)}
    (base / "videos" / "a.mp4").write_bytes(b"other")
    assert {row.path: row.found_id for row in rows(base, source)} == before
    other = {row.path: row.found_id for row in rows(base, spec("other", "folder", path="videos"))}
    assert other["a.mp4"] != before["a.mp4"]


def test_one_url_in_two_forms_is_one_video(base: Path) -> None:
    found = {row.url: row for row in rows(base, spec("list", "urls", path="list.csv", license="unknown"))}
    assert set(found) == {"http://example.org/a.mp4", "http://example.org/b.mp4"}
    assert found["http://example.org/a.mp4"].license == "CC0-1.0"  # the row's own, the first of the two
    assert found["http://example.org/b.mp4"].license == "unknown"  # the source's
    assert {row.root for row in found.values()} == {""}


def test_a_url_listed_by_two_sources_is_one_video(base: Path) -> None:
    (base / "more.csv").write_text("url\nhttp://example.org/b.mp4\nhttp://example.org/c.mp4\n")
    lists = {"a": "list.csv", "b": "more.csv", "c": "list.csv"}
    first, second, third = find(base, *(spec(name, "urls", path=path) for name, path in reversed(lists.items())))
    assert not isinstance(first, Failure) and len(first) == 2
    assert not isinstance(second, Failure) and [row.url for row in second] == ["http://example.org/c.mp4"]
    assert isinstance(third, Failure) and (third.item_id, third.kind, third.filtered) == ("c", "duplicate", True)


def test_a_bad_row_is_not_lost(base: Path) -> None:
    (base / "list.csv").write_text("url,id\nhttp://example.org/a.mp4,1\n,2\nfile:///etc/passwd,3\n,4\n")
    found = {row.site_id: row for row in rows(base, spec("list", "urls", path="list.csv"))}
    assert {key: (row.url, row.path) for key, row in found.items()} == {
        "1": ("http://example.org/a.mp4", ""),
        "2": ("", "list.csv row 3"),
        "3": ("file:///etc/passwd", ""),
        "4": ("", "list.csv row 5"),
    }


def test_a_source_without_videos_fails_by_name_and_the_others_go_on(base: Path) -> None:
    (base / "empty").mkdir()
    (base / "nothing.jsonl").write_text("\n")
    folders = {"a": "empty", "b": "nowhere", "d": "videos"}
    specs = [spec(name, "folder", path=path) for name, path in folders.items()]
    *failures, found = find(base, *specs, spec("c", "urls", path="nothing.jsonl"))
    assert not isinstance(found, Failure) and len(found) == 2
    kinds = {f.item_id: f.kind for f in failures if isinstance(f, Failure)}
    assert kinds == {"a": "empty_source", "b": "no_such_folder", "c": "empty_source"}
    assert isinstance(failures[0], Failure)
    assert "'empty'" in failures[0].message and ".mp4" in failures[0].message


def test_an_unknown_kind(base: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'folder'"):
        find(base, spec("a", "foldr", path="videos"))


def test_parts_follow_the_number_of_videos() -> None:
    found = [Found(f"{n:020x}", "s") for n in range(300)]
    assert Find().parts(found) == {"found": video_parts(300)}


@pytest.mark.parametrize("kind", ["folder", "urls"])
def test_every_source_is_a_plug_in(kind: str, tmp_path: Path) -> None:
    source = discover("sources", Source)[kind](**{"path": "nowhere.csv"})
    assert source.__doc__ and not source.__doc__.startswith(f"{type(source).__name__}(")
    assert isinstance(source.state(tmp_path), str)  # without the files, too
    assert source.state(tmp_path) == source.state(tmp_path)
    assert "nowhere.csv" in source.sought()
