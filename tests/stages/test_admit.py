"""Admit: one row a video, licences and takedowns; everything that is left out says why."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from builder import takedown
from builder.errors import ConfigError
from builder.records import Failure, Found
from builder.sources.folder import Folder
from builder.sources.urls import Urls
from builder.stage import Item
from builder.stages.admit import Admit
from builder.stages.fetch import note_of
from builder.stages.find import complete
from builder.storage import Storage
from builder.table import Answer, Stamp, Table


def listed(*urls: str, **values: str) -> list[Found]:
    """Rows as Find numbers them."""
    times: Counter[str] = Counter()
    found = []
    for n, url in enumerate(urls):
        row = complete(replace(Found("", "", url=url), **values), Urls(path="l.csv"), "list", False, n)
        found.append(replace(row, found_id=f"{row.key}{times[row.key] or ''}"))
        times[row.key] += 1
    return found


def admit(rows: list[Found], **settings: object) -> tuple[list[Found], Counter[str]]:
    """The rows that are let through, and the kinds of the others."""
    answers = Admit(**settings).batch([Item(row, row.digest()) for row in rows])  # type: ignore[arg-type]
    left_out = [answer for answer in answers if isinstance(answer, Failure)]
    assert all(answer.filtered and answer.message for answer in left_out)
    kept = [row for answer in answers if not isinstance(answer, Failure) for row in answer]
    assert len(kept) + len(left_out) == len(rows)
    return kept, Counter(answer.kind for answer in left_out)


def test_one_row_a_video_by_url_alias_and_site_id() -> None:
    rows = listed(
        "https://example.org/a.mp4",
        "HTTPS://Example.org:443/a.mp4#t=3",
        "https://example.org/a.mp4?X-Amz-Signature=1",
        "https://example.org/b.mp4",
        "https://videos.pexels.com/video-files/307/13137913_1080_1920_25fps.mp4",
        "https://videos.pexels.com/video-files/307/13137910_360_640_25fps.mp4",
        "https://www.pexels.com/video/a-harbour-307/",
    )
    kept, left_out = admit(rows)
    assert [row.position for row in kept] == [0, 3, 4]
    assert left_out == {"duplicate": 4}
    assert (kept[2].site, kept[2].site_id) == ("", "307")  # a list says so, not the site
    assert [row.found_id for row in kept] == [row.key for row in kept]


def test_a_listing_with_a_licence_stands_for_one_without() -> None:
    bare, known = listed("https://example.org/a.mp4", "https://example.org/a.mp4")
    kept, left_out = admit([bare, replace(known, license="CC0-1.0", author="Zoë")])
    assert [(row.license, row.author, row.found_id) for row in kept] == [("CC0-1.0", "Zoë", bare.key)]
    assert left_out == {"duplicate": 1}


def test_what_others_say_of_a_video_makes_its_licence_no_better() -> None:
    url = "https://videos.pexels.com/video-files/307/1.mp4"
    theirs = replace(listed(url)[0], license="CC0-1.0", author="Mallory", page_url="p", title="t")
    own = replace(theirs, site="pexels", license="Pexels License", author="Ann", found_id="b", position=1)
    bare = replace(theirs, license="", author="", found_id="c", position=2)
    assert [row.author for row in admit([theirs, own, bare])[0]] == ["Ann"]
    kept = admit([bare, replace(own, site=""), theirs])[0]
    assert [(row.author, len(row.also)) for row in kept] == [("Ann", 2)]  # of two known licences the stricter one
    assert json.loads(kept[0].also[0])["license"] == "CC0-1.0"


def test_licences_are_let_in_by_name() -> None:
    urls = [f"https://example.org/{n}.mp4" for n in range(5)]
    licenses = ("CC-BY-4.0", "cc by-nc 4.0", "", "Pexels License", "CC0-1.0")
    rows = [replace(row, license=text) for row, text in zip(listed(*urls), licenses, strict=True)]
    assert len(admit(rows)[0]) == 5
    kept, left_out = admit(rows, allow=("CC-BY-*", "CC0-1.0"))
    assert [row.license for row in kept] == ["CC-BY-4.0", "CC0-1.0"]
    assert left_out == {"license": 3}
    assert [row.license for row in admit(rows, allow=("unknown",))[0]] == [""]
    with pytest.raises(ConfigError, match="CC-BY-4"):
        Admit(allow=("CC-BY-4.1",))


def test_the_takedown_list(tmp_path: Path) -> None:
    listing = tmp_path / "takedown.txt"
    listing.write_text(
        "# what people asked us to leave out\n\npexels:307  # by its id\nhttps://example.org/b.mp4\n"
        "author:  zoë   OTTO\nhttps://example.org/@max\n" + "AB" * 32 + "\nhttps://pixabay.com/videos/id-125/\n"
    )
    entries = takedown.read(listing)
    named = listed(
        "https://videos.pexels.com/video-files/307/1.mp4",
        "HTTPS://example.org:443/b.mp4#x",
        "https://cdn.pixabay.com/video/2015/08/08/125-135736646_large.mp4",
    )
    others = listed("https://example.org/c.mp4", "https://example.org/d.mp4", "https://example.org/e.mp4")
    theirs = [replace(others[0], author="Zoë Otto"), replace(others[1], author_url="https://example.org/@max")]
    hashed = replace(others[2], listed_sha256="ab" * 32)
    fine = replace(listed("https://example.org/f.mp4")[0], author="Zoë", site_id="307")
    kept, left_out = admit([*named, *theirs, hashed, fine], taken_down=entries)
    assert kept == [replace(fine, found_id=fine.key)]
    assert left_out == {"taken_down": 6}


def test_a_page_is_one_page_signed_or_not_with_a_slash_or_without(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("http://example.org/a.mp4\nhttps://example.org/@Ann/\nPexels: 12AB\n")
    entries = takedown.read(tmp_path / "t.txt")
    assert "pexels:12ab" in entries
    rows = listed("https://example.org/a.mp4?X-Amz-Signature=b", "https://example.org/b.mp4")
    assert admit([rows[0], replace(rows[1], author_url="http://example.org/@Ann")], taken_down=entries)[0] == []


def test_bytes_that_were_taken_down_are_known_under_other_names(tmp_path: Path) -> None:
    storage, [row, other] = Storage(tmp_path), listed("https://example.org/a.mp4", "https://example.org/b.mp4")
    Table(storage, "find", Found).write(0, Stamp("s", ""), {"list": Answer("d", [row, other])})
    storage.write(note_of(row.key), b'{"sha256": "abc"}')
    storage.write(note_of(other.key), b"[]")
    entries = tuple(takedown.entries_of("https://example.org/a.mp4"))
    assert takedown.with_hashes(entries, storage) == ("sha256:abc", *entries)
    assert takedown.with_hashes((), storage) == ()


def test_one_listing_that_is_taken_down_takes_down_the_others() -> None:
    first, second = listed("https://example.org/a.mp4", "https://example.org/a.mp4")
    assert admit([first, replace(second, author="Zoë")], taken_down=("author:zoë",))[1] == {"taken_down": 2}


@pytest.mark.parametrize("line", ["what?", "file:///etc/passwd", "author", "deadbeef"])
def test_a_line_that_is_no_entry_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.txt").write_text(f"pexels:1\n{line}\n")
    with pytest.raises(ConfigError, match=r"t\.txt line 2: .*SITE:ID"):
        takedown.read(tmp_path / "t.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        takedown.read(tmp_path / "none.txt")


def test_spans_are_joined() -> None:
    rows = listed("https://example.org/a.mp4", "https://example.org/a.mp4", "https://example.org/a.mp4")
    spans = [replace(row, starts_s=(s,), ends_s=(s + 2,)) for row, s in zip(rows, (9.0, 1.0, 9.0), strict=True)]
    assert (admit(spans)[0][0].starts_s, admit(spans)[0][0].ends_s) == ((1.0, 9.0), (3.0, 11.0))
    assert admit([*spans[:2], rows[2]])[0][0].starts_s == ()  # one listing asks for all of it


def test_equal_paths_of_two_folders_are_two_videos() -> None:
    one, two = (complete(Found("", "", path="a.mp4"), Folder(path="v"), name, True, 0) for name in ("x", "y"))
    kept, left_out = admit([replace(row, found_id=row.key) for row in (one, two)])
    assert (len(kept), not left_out) == (2, True)
