"""A source that stays open: to open one takes longer than to copy a clip, and clips of one source come in a row."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from av.container import InputContainer

from builder.media.sniff import open_video


@dataclass
class Held:
    """`used`: something was read, so who wants its beginning has to seek, or to open it anew."""

    container: InputContainer
    used: bool = False


def held(path: Path) -> Held:
    """The source, opened unless it was the last one asked for. Raises the ItemErrors of `open_video`."""
    seen = path.stat()
    return _held(path, seen.st_size, seen.st_mtime_ns)


@lru_cache(maxsize=1)
def _held(path: Path, size_bytes: int, mtime_ns: int) -> Held:
    return Held(open_video(path))
