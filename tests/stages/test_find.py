"""What Find makes of the sources: ids, defaults, duplicates, sources that list nothing."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from builder import registry
from builder.errors import ConfigError, ItemError
from builder.layout import found_parts
from builder.records import Failure, Found
from builder.registry import discover
from builder.sources.urls import Urls
from builder.stage import Context, Item
from builder.stages.find import LISTINGS, Find, Source, SourceSpec
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


def test_rows_of_one_video_have_one_key_and_ids_of_their_own(base: Path) -> None:
    (base / "more.csv").write_text("url\nhttp://example.org/b.mp4\nhttp://example.org/c.mp4\n")
    lists = {"a": "list.csv", "b": "more.csv", "c": "list.csv"}
    specs = [spec(name, "urls", path=path, license="unknown") for name, path in lists.items()]
    found = [row for answer in find(base, *specs) if not isinstance(answer, Failure) for row in answer]
    assert len(found) == len({row.found_id for row in found}) == 8
    by_key = Counter(row.key for row in found)
    assert sorted(by_key.values()) == [1, 3, 4]
    assert {row.key for row in found} <= {row.found_id for row in found}  # the first listing of each has its key as id
    first = next(row for row in found if row.source == "a" and row.position == 0)
    assert (first.url, first.license, first.found_id) == ("http://example.org/a.mp4", "CC0-1.0", first.key)
    assert {row.license for row in found if row.url.endswith("b.mp4")} == {"unknown"}  # the source's


def test_at_most_limit_videos_in_the_order_of_the_listing(base: Path) -> None:
    source = spec("list", "urls", path="list.csv")
    assert [row.position for row in by_position(base, replace(source, limit=2))] == [0, 1]
    assert len(by_position(base, spec("list", "urls", path="list.csv", limit=1))) == 1
    assert len(by_position(base, replace(spec("list", "urls", path="list.csv", limit=1), limit=2))) == 1


def by_position(base: Path, source: SourceSpec) -> list[Found]:
    return sorted(rows(base, source), key=lambda row: row.position)


def test_what_is_secret_in_a_url_is_in_no_row_and_found_again(base: Path) -> None:
    urls = ["https://example.org/a.mp4?id=1&token=sesame", "https://example.org/a.mp4?id=2&X-Amz-Signature=sesame"]
    urls += ["http://me:sesame@example.org/b.mp4", "https://example.org/a.mp4?id=3&token=other"]
    (base / "list.csv").write_text("\n".join(["url", *urls]))
    found = by_position(base, spec("list", "urls", path="list.csv"))
    assert "sesame" not in repr(found)
    assert (found[2].url, found[2].path[:12]) == ("", "list, row 3:")
    assert found[0].url == "https://example.org/a.mp4?id=1&token=***"
    assert len({row.key for row in found}) == 4
    source, context = Urls(path="list.csv"), Context(Storage(base / "run"), base)
    assert [source.media_url(row, context) for row in found[:2]] == urls[:2]
    (base / "list.csv").write_text("url\nhttps://example.org/other.mp4\n")
    with pytest.raises(ItemError, match="no longer listed"):
        Urls(path="list.csv").media_url(found[0], context)


def test_a_signature_that_is_new_each_time_is_no_new_video(base: Path) -> None:
    keys = set()
    for signature in ("a", "b"):
        (base / "list.csv").write_text(f"url\nhttps://example.org/a.mp4?X-Amz-Date=1&X-Amz-Signature={signature}\n")
        keys.add(rows(base, spec("list", "urls", path="list.csv"))[0].key)
    assert len(keys) == 1


class Lists(Source):
    """A site that is asked once."""

    plugin: ClassVar[str] = "lists"
    asked: ClassVar[int] = 0

    def find(self, context: Context) -> Iterator[Found]:
        type(self).asked += 1
        yield from (
            Found("", "", url=f"https://example.org/{n}.mp4", tags=("a",), starts_s=(1.5,), ends_s=(2.0,))
            for n in range(3)
        )


def test_a_listing_that_is_asked_for_once_is_kept(base: Path) -> None:
    context = Context(Storage(base / "run"), base, {"site": Lists()})
    before = Lists.asked
    answers = []
    for state in ("", "", "refreshed"):
        stage, row = Find(), SourceSpec("site", "lists", "", state)
        with stage.opened(context):
            answers += stage.batch([Item(row, row.digest())])
    assert Lists.asked - before == 2
    assert answers[0] == answers[1] == answers[2]
    assert len(context.storage.walk(LISTINGS)) == 2


def test_a_listing_that_fails_leaves_the_last_one_and_a_damaged_one_is_asked_for_again(base: Path) -> None:
    def listed(state: str, source: Source) -> list[Found] | Failure:
        context = Context(Storage(base / "run"), base, {"site": source})
        stage, row = Find(), SourceSpec("site", "lists", "", state)
        with stage.opened(context):
            [answer] = stage.batch([Item(row, row.digest())])
        return answer if isinstance(answer, Failure) else list(answer)

    class Down(Lists):
        def find(self, context: Context) -> Iterator[Found]:
            yield Found("", "", url="https://example.org/new.mp4")
            raise ItemError("http_503", "down", retryable=True)

    assert isinstance(listed("", Down()), Failure)
    before = listed("", Lists())
    assert listed("refreshed", Down()) == before
    for name in Storage(base / "run").walk(LISTINGS):
        (base / "run" / name).write_bytes(b"damaged")
    assert isinstance(listed("refreshed", Down()), Failure)
    assert listed("", Lists()) == before


def test_a_bad_row_is_not_lost(base: Path) -> None:
    (base / "list.csv").write_text("url,id\nhttp://example.org/a.mp4,1\n,2\nfile:///etc/passwd,3\n,4\n")
    found = {row.site_id: row for row in rows(base, spec("list", "urls", path="list.csv"))}
    assert {key: (row.url, row.path) for key, row in found.items()} == {
        "1": ("http://example.org/a.mp4", ""),
        "2": ("", "list.csv row 3"),
        "3": ("", "list, row 3: 'file:///etc/passwd' is no http:// or https:// URL; correct it in the list"),
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
    assert Find().parts(found) == {"found": found_parts(300)}


@pytest.mark.parametrize("kind", ["folder", "urls"])
def test_every_source_is_a_plug_in(kind: str, tmp_path: Path) -> None:
    source = discover("sources", Source)[kind](**{"path": "nowhere.csv"})
    assert source.__doc__ and not source.__doc__.startswith(f"{type(source).__name__}(")
    assert isinstance(source.state(tmp_path), str)  # without the files, too
    assert source.state(tmp_path) == source.state(tmp_path)
    assert "nowhere.csv" in source.sought()
