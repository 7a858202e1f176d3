"""Which files are looked at first, and which never."""

from pathlib import Path

from builder.rehydration.library import Library, Video


def test_named_files_are_hashed_first_and_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    (folder / "Pexels").mkdir(parents=True)
    (tmp_path / "outside.mp4").write_bytes(b"outside")
    (folder / "pexels_77.mp4").symlink_to(tmp_path / "outside.mp4")
    (folder / "Pexels/clip 12-34 hd.mp4").write_bytes(b"wanted")
    (folder / "a.mp4").write_bytes(b"large")
    sha256 = "2a6f1e3b8e2e1f3c"
    library = Library(folder)
    wanted = library.sha256(folder / "Pexels/clip 12-34 hd.mp4")
    library.hashed.clear()
    found, others = library.find([Video(wanted, "pexels", "12-34", "")])
    assert (found, others) == ({wanted: folder / "Pexels/clip 12-34 hd.mp4"}, {})
    assert list(library.hashed) == [folder / "Pexels/clip 12-34 hd.mp4"]
    found, others = library.find([Video(sha256, "pexels", "77", ""), Video("1" * 64, "pexels", "12-34", "")])
    assert (found, others) == ({}, {"1" * 64: folder / "Pexels/clip 12-34 hd.mp4"})
