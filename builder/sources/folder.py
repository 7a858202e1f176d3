"""Video files in a folder of yours, used where they are: never changed, moved, copied or deleted."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import ClassVar

from builder.digests import short_hash
from builder.errors import ItemError
from builder.records import Found
from builder.stage import Context, settings
from builder.stages.find import Source

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".3gp", ".3g2", ".flv", ".f4v", ".wmv", ".asf", ".ogv", ".vob", ".mxf"),
)
RUN_MARK, RUN_MEDIA = "find.receipts", "media"  # a run may lie inside the folder: its downloads are no source
NOT_TEXT = re.compile("[%\udc80-\udcff]")


@settings
class Folder(Source):
    """Every file below `path` whose name ends in one of `suffixes` (any case), hidden ones excepted.

    Links are followed, but none to a folder that holds this one; each folder is visited once. What cannot be read is
    listed too, and fails when it is fetched.
    """

    plugin: ClassVar[str] = "folder"
    path: str = field(kw_only=True)
    suffixes: tuple[str, ...] = SUFFIXES

    def root(self, base: Path) -> Path:
        return (base / Path(self.path).expanduser()).absolute()

    def state(self, base: Path) -> str:
        return short_hash(self._files(self.root(base)))

    def find(self, context: Context) -> Iterator[Found]:
        root = self.root(context.base)
        if not root.is_dir():
            raise ItemError("no_such_folder", f"there is no folder {self.path!r} (relative paths start at build.toml)")
        for path, size_bytes, mtime_ns in self._files(root):
            yield Found("", "", path=path, size_bytes=size_bytes, mtime_ns=mtime_ns)

    def sought(self) -> str:
        return f"files ending in {' '.join(self.suffixes)} in {self.path!r} or below"

    def _files(self, root: Path) -> list[tuple[str, int, int]]:
        """Path as `as_text` gives it, size in bytes and mtime in ns, sorted; zeros where there is no such thing."""
        endings = tuple(suffix.lower() for suffix in self.suffixes)
        return sorted(
            (as_text(path), *size_and_mtime(root / path))
            for path, is_folder in walk(root)
            if is_folder or path.lower().endswith(endings)
        )


def walk(root: Path) -> Iterator[tuple[str, bool]]:
    """Relative paths of all files below `root`, and of folders that cannot be read (True).

    Links to folders come after all else, so that a file is known by a path without a link if it has one.
    """
    seen = {inode(above) for above in root.resolve().parents}  # a link to / would list the machine
    folders, links = [""], list[str]()
    while folders or links:
        links.sort()
        folder = folders.pop() if folders else links.pop(0)
        try:
            here = inode(root / folder)
            if here in seen:
                continue
            seen.add(here)
            entries = [e for e in os.scandir(root / folder) if not e.name.startswith(".")]
        except OSError:
            if folder:
                yield folder, True
            continue
        is_run = any(entry.name == RUN_MARK for entry in entries)
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not is_a_folder(entry):
                yield path, False
            elif not (is_run and entry.name == RUN_MEDIA):
                (links if entry.is_symlink() else folders).append(path)


def inode(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_dev, stat.st_ino


def is_a_folder(entry: "os.DirEntry[str]") -> bool:
    with contextlib.suppress(OSError):  # a link to itself
        return entry.is_dir()
    return False


def size_and_mtime(path: Path) -> tuple[int, int]:
    with contextlib.suppress(OSError):
        stat = path.stat()
        return stat.st_size, stat.st_mtime_ns
    return 0, 0


def as_text(path: str) -> str:
    """A path as tables keep it: `%` and bytes that are not UTF-8 become %XX; `local_path` in fetch takes it back."""
    return NOT_TEXT.sub(lambda m: f"%{ord(m[0]) & 0xFF:02X}", path)
