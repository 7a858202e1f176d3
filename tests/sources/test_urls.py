"""Lists in every format, from a file and from a server, as others publish them, with rows that are wrong."""

import gzip
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from builder.errors import ItemError
from builder.records import Found
from builder.sources import urls
from builder.sources.urls import Urls
from builder.stage import Context
from builder.storage import Storage
from builder.web.limits import Limits
from loopback import Answer, Site

A, B = "https://example.org/a.mp4", "https://example.org/b.mp4"
FULL = {
    "url": A,
    "id": "7",
    "page_url": "https://example.org/a",
    "author": 'Zoë, "Z"; O\'Neil\nJr',
    "author_url": "https://example.org/zoe",
    "title": "=cmd()",
    "tags": "sea; blue sky;;",
    "license": "CC-BY-4.0",
    "license_url": "https://creativecommons.org/licenses/by/4.0/",
    "sha256": "AB" * 32,
    "start": "1.5",
    "end": "0:01:02.250",
}
BARE = {"url": B}
LIMITS = Limits(allow_private_hosts=True, requests_per_s=1000, attempts=2, wait_s=0.01)


def quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path, columns = folder / name, list(rows[0])
    kind = name.lower().removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        pq.write_table(pa.table({c: [row.get(c) for row in rows] for c in columns}), path)
        return path
    if kind in ("csv", "tsv"):
        lines = [columns, *[[quoted(str(row.get(c, ""))) for c in columns] for row in rows]]
        text = "\n".join(("," if kind == "csv" else "\t").join(line) for line in lines)
    else:
        text = "\n".join(json.dumps(row) for row in rows)
    data = text.encode("utf-8-sig" if kind == "csv" else "utf-8")
    path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return path


def context(folder: Path) -> Context:
    return Context(Storage(folder / "run"), folder, web=LIMITS)


def listed(path: Path) -> list[Found]:
    return list(Urls(path=path.name).find(context(path.parent)))


def of(folder: Path, **row: Any) -> Found:
    """What becomes of one row."""
    [found] = listed(write(folder, "list.jsonl", [row]))
    return found


def failure(path: Path) -> ItemError:
    with pytest.raises(ItemError) as caught:
        listed(path)
    assert str(path.parent) not in caught.value.message
    return caught.value


NAMES = [
    "list.csv",
    "list.tsv",
    "list.jsonl",
    "list.ndjson",
    "list.parquet",
    "LIST.CSV",
    "list.csv.gz",
    "list.jsonl.gz",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_column_arrives_from_every_format(tmp_path: Path, name: str) -> None:
    full, bare = listed(write(tmp_path, name, [FULL | {"width": "64"}, BARE]))
    assert (full.url, full.site_id, full.page_url) == (A, "7", FULL["page_url"])
    assert (full.author, full.author_url, full.title) == (FULL["author"], FULL["author_url"], FULL["title"])
    assert (full.license, full.license_url) == (FULL["license"], FULL["license_url"])
    assert full.tags == ("sea", "blue sky")
    assert (full.listed_sha256, full.starts_s, full.ends_s) == ("ab" * 32, (1.5,), (62.25,))
    assert bare == Found("", "", url=B)


@pytest.mark.parametrize(
    ("column", "name"),
    [
        *(
            (c, "url")
            for c in ("URL", "contentUrl", "content_url", "Video URL", "video_url", "media-url", "link", "videoLoc")
        ),
        *((c, "site_id") for c in ("videoid", "videoID", "video_id", "Video Id", "site_id", "ID")),
        *((c, "author") for c in ("uploader", "Creator")),
        *((c, "title") for c in ("name", "Title")),
        ("Page-URL", "page_url"),
        ("licence", "license"),
        ("licence_url", "license_url"),
    ],
)
def test_columns_go_by_the_names_that_others_use(tmp_path: Path, column: str, name: str) -> None:
    row = {column: "https://x.org/"} if name == "url" else {"url": A, column: "https://x.org/"}
    for file in ("list.csv", "list.parquet", "list.jsonl"):
        [found] = listed(write(tmp_path, file, [row]))
        assert getattr(found, name) == "https://x.org/"


def test_the_exact_name_wins(tmp_path: Path) -> None:
    for order in itertools.permutations(["link", "URL", "url", "contentUrl"]):
        row = {column: f"https://x.org/{column}" for column in order}
        assert of(tmp_path, **row).url == "https://x.org/url"
        del row["url"]
        assert of(tmp_path, **row).url == "https://x.org/URL"
        del row["URL"]
        assert of(tmp_path, **row).url == "https://x.org/contentUrl"


def test_tags_may_be_a_list_and_ids_numbers(tmp_path: Path) -> None:
    for name in ("list.jsonl", "list.parquet"):
        [found] = listed(write(tmp_path, name, [{"url": A, "id": 7, "tags": ["a", "b;c"]}]))
        assert (found.site_id, found.tags) == ("7", ("a", "b;c"))
    assert of(tmp_path, url=A, keywords="sea, blue sky,").tags == ("sea", "blue sky")
    assert of(tmp_path, url=A, keywords="Paris, France; sea").tags == ("Paris, France", "sea")


def test_a_row_without_url_keeps_its_place(tmp_path: Path) -> None:
    lines = [f'{{"url": "{A}"}}', "", "not json", '{"id": 3}', "[1]", '{"url": null}']
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    found = listed(tmp_path / "list.jsonl")
    places = ["", "list.jsonl row 3", "list.jsonl row 4", "list.jsonl row 5", "list.jsonl row 6"]
    assert [f.path for f in found] == places
    (tmp_path / "list.csv").write_text(f"id,url\n1,{A}\n2,\n\n3")
    assert [f.path for f in listed(tmp_path / "list.csv")] == ["", "list.csv row 3", "list.csv row 5"]


def test_half_a_character_does_not_reach_a_table(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text('{"url": "https://example.org/\\ud800.mp4", "title": "\\ud800"}')
    [found] = listed(tmp_path / "list.jsonl")
    assert (found.url + found.title).encode()


def test_what_pandas_writes_for_nothing_is_nothing(tmp_path: Path) -> None:
    nan = float("nan")
    assert listed(write(tmp_path, "list.parquet", [{"url": A, "title": nan, "start": nan, "end": nan}]))[0].title == ""
    assert of(tmp_path, url=A, start=nan, end=None) == Found("", "", url=A)


# -- lists that are wrong
@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("list.csv", b"address,title\nhttps://example.org/a.mp4,x", "bad_list"),
        ("list.csv", b"", "bad_list"),
        ("list.csv", b"url\nhttps://example.org/\xff.mp4", "bad_list"),
        ("list.csv.gz", b"url\nhttps://example.org/a.mp4", "bad_list"),
        ("list.csv.gz", gzip.compress(b"url\n" + bytes(range(32, 127)) * 99, mtime=0)[:40], "bad_list"),
        ("list.parquet", b"PAR1 but no more", "bad_list"),
        ("list.xlsx", b"PK", "bad_list"),
    ],
)
def test_a_list_that_cannot_be_read(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(data)
    error = failure(tmp_path / name)
    assert error.kind == kind
    assert repr(name) in error.message


def test_without_a_column_of_urls_both_sides_are_named(tmp_path: Path) -> None:
    for name in ("list.csv", "list.parquet"):
        message = failure(write(tmp_path, name, [{"address": A, "title": "x"}])).message
        assert all(word in message for word in ("'address'", "'title'", "url", "contenturl", "link"))


def test_no_row_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: dict[str, Callable[[int], str]] = {
        "list.csv": lambda size: f'url,title\n{A},"' + "\n".join(["x" * 99] * (size // 100)) + '"\n' + f"{B},b\n",
        "list.jsonl": lambda size: json.dumps({"url": A, "title": "x" * size}) + "\n" + json.dumps(BARE),
    }
    for name, make in lines.items():
        (tmp_path / name).write_text(make(200_000))
        first, second = listed(tmp_path / name)
        assert (len(first.title) > 190_000, second.url) == (True, B)
        with monkeypatch.context() as patched:
            patched.setattr(urls, "MAX_ROW", 150_000)
            assert "quotation mark" in failure(tmp_path / name).message
            (tmp_path / name).write_text(make(140_000))
            assert len(listed(tmp_path / name)) == 2


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


# -- on the web
def test_a_list_from_the_web(tmp_path: Path) -> None:
    place = context(tmp_path)
    with Site() as site:
        for name in ("videos.parquet", "videos.csv.gz"):
            body = write(tmp_path, name, [FULL, BARE]).read_bytes()
            source = Urls(path=site.at(f"/lists/{name}?token=s3cret", Answer(body)))
            assert [f.url for f in source.find(place)] == [A, B]
            assert source.state(tmp_path) == ""
        once = source.find(place)
        next(once)
        once.close()
    assert not list((tmp_path / "run/.scratch").iterdir())


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(b"", 404), "http_404"),
        (Answer(b"busy", 503), "http_503"),
        (Answer(b"<!DOCTYPE html><title>Log in"), "web_page"),
        (Answer(b"url\nhttps://example.org/a.mp4\n", announced=99), "cut_short"),
        (Answer(b"address\nhttps://example.org/a.mp4"), "bad_list"),
    ],
)
def test_a_list_from_the_web_that_is_none(tmp_path: Path, answer: Answer, kind: str) -> None:
    with Site() as site:
        source = Urls(path=site.at("/list.csv?token=s3cret", answer))
        with pytest.raises(ItemError) as caught:
            list(source.find(context(tmp_path)))
    assert caught.value.kind == kind
    assert "/list.csv?..." in caught.value.message
    assert "s3cret" not in caught.value.message + source.sought()
    assert not list((tmp_path / "run/.scratch").iterdir())


def test_a_row_of_a_list_from_the_web_is_named_without_its_secrets(tmp_path: Path) -> None:
    with Site() as site:
        source = Urls(path=site.at("/list.csv?token=s3cret", Answer(b"url,title\n,x")))
        [found] = source.find(context(tmp_path))
    assert found.path.endswith("/list.csv?... row 2")


# -- pages
def test_pages_are_resolved_when_they_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("builder.web.extract.media_url", lambda *given: asked.append(given) or "https://cdn.org/v.mp4")
    place = context(tmp_path)
    [found] = listed(write(tmp_path, "list.csv", [{"url": A}]))
    assert Urls(path="list.csv").media_url(found, place) == A
    assert asked == []
    assert Urls(path="list.csv", pages=True, max_height=720).media_url(found, place) == "https://cdn.org/v.mp4"
    assert asked == [(A, place.client, 720)]


def test_max_height_without_pages_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match="needs pages = true"):
        Urls(path="list.csv", max_height=720)
