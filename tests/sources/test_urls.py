"""Lists in three formats, from a file and from a server, with rows that are wrong."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder.errors import ItemError
from builder.records import Found
from builder.sources.urls import Urls
from loopback import Answer, Site

FULL = {
    "url": "https://example.org/a.mp4",
    "id": "7",
    "page_url": "https://example.org/a",
    "author": 'Zoë, "Z"; O\'Neil\nJr',
    "author_url": "https://example.org/zoe",
    "title": "=cmd()",
    "tags": "sea; blue sky;;",
    "license": "CC-BY-4.0",
    "license_url": "https://creativecommons.org/licenses/by/4.0/",
}
BARE = {"url": "https://example.org/b.mp4"}


def quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path, columns = folder / name, list(rows[0])
    if name.lower().endswith(".csv"):
        lines = [columns, *[[quoted(str(row.get(c, ""))) for c in columns] for row in rows]]
        path.write_text("\n".join(",".join(line) for line in lines), encoding="utf-8-sig")
    elif name.endswith(".jsonl"):
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        pq.write_table(pa.table({c: [row.get(c) for row in rows] for c in columns}), path)
    return path


def listed(path: Path) -> list[Found]:
    return list(Urls(path=path.name).find(path.parent))


def failure(path: Path) -> ItemError:
    with pytest.raises(ItemError) as caught:
        listed(path)
    assert str(path.parent) not in caught.value.message
    return caught.value


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl", "list.parquet", "LIST.CSV"])
def test_every_column_arrives_from_every_format(tmp_path: Path, name: str) -> None:
    full, bare = listed(write(tmp_path, name, [FULL | {"width": "64"}, BARE]))
    assert (full.url, full.site_id, full.page_url) == (FULL["url"], "7", FULL["page_url"])
    assert (full.author, full.author_url, full.title) == (FULL["author"], FULL["author_url"], FULL["title"])
    assert (full.license, full.license_url) == (FULL["license"], FULL["license_url"])
    assert full.tags == ("sea", "blue sky")
    assert (bare.url, bare.author, bare.tags) == (BARE["url"], "", ())


def test_tags_may_be_a_list_and_ids_numbers(tmp_path: Path) -> None:
    for name in ("list.jsonl", "list.parquet"):
        [found] = listed(write(tmp_path, name, [{"url": "https://example.org/a.mp4", "id": 7, "tags": ["a", "b;c"]}]))
        assert (found.site_id, found.tags) == ("7", ("a", "b;c"))


def test_a_row_without_url_keeps_its_place(tmp_path: Path) -> None:
    lines = ['{"url": "https://example.org/a.mp4"}', "", "not json", '{"id": 3}', "[1]", '{"url": null}']
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    found = listed(tmp_path / "list.jsonl")
    places = ["", "list.jsonl row 3", "list.jsonl row 4", "list.jsonl row 5", "list.jsonl row 6"]
    assert [f.path for f in found] == places
    (tmp_path / "list.csv").write_text("id,url\n1,https://example.org/a.mp4\n2,\n3")
    assert [f.path for f in listed(tmp_path / "list.csv")] == ["", "list.csv row 3", "list.csv row 4"]


def test_half_a_character_does_not_reach_a_table(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text('{"url": "https://example.org/\\ud800.mp4", "title": "\\ud800"}')
    [found] = listed(tmp_path / "list.jsonl")
    assert (found.url + found.title).encode()


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("list.csv", b"link,title\nhttps://example.org/a.mp4,x", "bad_list"),
        ("list.csv", b"", "bad_list"),
        ("list.csv", b"url\nhttps://example.org/\xff.mp4", "bad_list"),
        ("list.csv", b"url\n" + b"a" * 200_000, "bad_list"),
        ("list.parquet", b"PAR1 but no more", "bad_list"),
        ("list.xlsx", b"PK", "bad_list"),
    ],
)
def test_a_list_that_cannot_be_read(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(data)
    assert failure(tmp_path / name).kind == kind


def test_no_such_list(tmp_path: Path) -> None:
    error = failure(tmp_path / "list.csv")
    assert error.kind == "unreadable_list"
    assert "'list.csv'" in error.message


def test_the_state_is_that_of_the_bytes(tmp_path: Path) -> None:
    source, states = Urls(path="list.csv"), set()
    states.add(source.state(tmp_path))
    path = write(tmp_path, "list.csv", [FULL])
    states.add(source.state(tmp_path))
    path.touch()
    states.add(source.state(tmp_path))
    write(tmp_path, "list.csv", [BARE])
    states.add(source.state(tmp_path))
    assert len(states) == 3


def test_a_list_from_the_web(tmp_path: Path) -> None:
    body = write(tmp_path, "list.parquet", [FULL, BARE]).read_bytes()
    with Site() as site:
        source = Urls(path=site.at("/lists/videos.parquet?v=1.2", Answer(body)))
        assert [f.url for f in source.find(tmp_path)] == [FULL["url"], BARE["url"]]
        assert source.state(tmp_path) == ""
        gone = Urls(path=site.at("/gone.csv", Answer(b"", 404)))
        with pytest.raises(ItemError) as caught:
            list(gone.find(tmp_path))
    assert caught.value.kind == "http_404"
