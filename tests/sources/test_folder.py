"""The folder source on real file trees with every kind of name."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import ItemError
from builder.records import Found
from builder.sources.folder import Folder
from builder.stage import Context
from builder.stages.fetch import local_path
from builder.storage import Storage

NAMES = ["a b.mp4", "it's.mp4", 'say "hi".mp4', "a;b.mp4", "two\nlines.mp4", "-vf.mp4", "..mp4.mp4", "v1.2.final.mp4"]
NAMES += ["猫.mp4", "café.MOV", "UPPER.MP4", "100%.mkv", "%41.mp4", "http:x.mp4", "%03d.mp4", "$(touch x).mp4"]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "videos"
    root.mkdir()
    yield root


def put(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def listed(tree: Path) -> list[Found]:
    return list(Folder(path="videos").find(Context(Storage(tree.parent / "run"), tree.parent)))


def names(tree: Path) -> list[str]:
    return [found.path for found in listed(tree)]


def test_names_of_every_kind_lead_back_to_their_file(tree: Path) -> None:
    files = {put(tree / "deep" / "er" / name) for name in NAMES if not name.startswith("..")}
    files |= {put(Path(os.fsdecode(os.fsencode(tree) + b"/caf\xe9 \xff.mp4")))}
    context = Context(Storage(tree.parent / "run"), roots={"mine": tree})
    found = names(tree)
    assert {local_path("mine", path, context) for path in found} == files
    assert all(path.encode().decode() == path for path in found)  # a table can hold it
    assert len(set(found)) == len(files)


def test_what_is_a_video(tree: Path) -> None:
    for name in ("a.mp4", "b.MP4", "c.txt", "mp4", "d.mp4.part", ".hidden.mp4", ".git/e.mp4"):
        put(tree / name)
    assert names(tree) == ["a.mp4", "b.MP4"]
    context = Context(Storage(tree.parent / "run"), tree.parent)
    assert [f.path for f in Folder(path="videos", suffixes=(".TXT",)).find(context)] == ["c.txt"]


def test_one_stem_in_two_folders(tree: Path) -> None:
    put(tree / "a" / "x.mp4")
    put(tree / "b" / "x.mp4")
    assert names(tree) == ["a/x.mp4", "b/x.mp4"]


def test_size_and_mtime_are_listed(tree: Path) -> None:
    file = put(tree / "a.mp4", b"12345")
    [found] = listed(tree)
    assert (found.size_bytes, found.mtime_ns) == (5, file.stat().st_mtime_ns)


def test_links_are_followed_once_and_loops_end(tree: Path) -> None:
    put(tree / "z" / "x.mp4")
    put(tree.parent / "elsewhere" / "y.mp4")
    (tree / "a").symlink_to(tree / "z")
    (tree / "z" / "up").symlink_to(tree)
    (tree / "self.mp4").symlink_to("self.mp4")
    (tree / "out").symlink_to(tree.parent / "elsewhere")
    (tree / "above").symlink_to(tree.parent)
    (tree / "machine").symlink_to("/")
    assert names(tree) == ["out/y.mp4", "self.mp4", "z/x.mp4"]


def test_what_cannot_be_read_is_listed_all_the_same(tree: Path) -> None:
    (tree / "gone.mp4").symlink_to("nowhere.mp4")
    os.mkfifo(tree / "pipe.mp4")
    assert names(tree) == ["gone.mp4", "pipe.mp4"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_listed_all_the_same(tree: Path) -> None:
    put(tree / "locked" / "a.mp4")
    (tree / "locked").chmod(0)
    assert names(tree) == ["locked"]
    (tree / "locked").chmod(0o755)


def test_a_run_inside_the_folder_is_no_source(tree: Path) -> None:
    put(tree / "a.mp4")
    put(tree / "run" / "find.receipts" / "part-00000.json")
    put(tree / "run" / "media" / "videos" / "ab" / "abc.mp4")
    put(tree / "media" / "b.mp4")
    assert names(tree) == ["a.mp4", "media/b.mp4"]


def test_no_such_folder(tmp_path: Path) -> None:
    source = Folder(path="videos")
    with pytest.raises(ItemError) as caught:
        list(source.find(Context(Storage(tmp_path / "run"), tmp_path)))
    assert caught.value.kind == "no_such_folder"
    assert "'videos'" in caught.value.message
    assert str(tmp_path) not in caught.value.message
    before = source.state(tmp_path)
    put(tmp_path / "videos" / "a.mp4")
    assert source.state(tmp_path) != before


def test_the_state_changes_with_what_is_listed_and_only_then(tree: Path) -> None:
    source, base = Folder(path="videos"), tree.parent
    file = put(tree / "a.mp4")
    states = [source.state(base)]
    put(tree / "notes.txt")
    put(tree / ".tmp.mp4")
    assert source.state(base) == states[0]
    os.utime(file, ns=(1, 1))
    states.append(source.state(base))
    put(file, b"longer")
    states.append(source.state(base))
    put(tree / "b" / "c.mp4")
    states.append(source.state(base))
    file.rename(tree / "b.mp4")
    states.append(source.state(base))
    assert len(set(states)) == len(states)


def test_paths_start_at_build_toml(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tree / "a.mp4")
    assert Folder(path="videos").root(tree.parent) == tree
    assert Folder(path=str(tree)).root(Path("/nowhere")) == tree
    monkeypatch.setenv("HOME", str(tree.parent))
    assert Folder(path="~/videos").root(Path("/nowhere")) == tree
