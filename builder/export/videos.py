"""The clips of a dataset as files of their own, read from the shards by the index."""

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from builder.errors import RunError
from builder.export.clips import Dataset, Row
from builder.storage import Storage, sha256_of

CHUNK = 1 << 20


def name_of(row: Row) -> str:
    """`pexels/5d/5d41402a-000.mp4`: a folder holds some hundreds."""
    return f"{row['shard'].split('/')[1]}/{row['key'][:2]}/{row['key']}.mp4"


@dataclass
class Extraction:
    """Writes clips below `storage.root`/`folder`; one shard is open at a time. `written` and `kept` count files."""

    dataset: Dataset
    storage: Storage
    folder: str
    written: int = 0
    kept: int = 0
    _shard: str = ""
    _file: BinaryIO | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def extract(self, row: Row) -> None:
        """Write the video of one row unless it is there.

        Raises:
            RunError: another file is there, the shard is damaged, or the disk is full.
        """
        name = f"{self.folder}/{name_of(row)}"
        if self.storage.exists(name):
            check_same(self.storage.path(name), row)
            self.kept += 1
            return
        with self.storage.scratch(".mp4") as temporary:
            with temporary.open("wb") as target:
                digest = self._copy(row, target)
            if digest != row["mp4_sha256"]:
                where = self.dataset.folder / row["shard"]
                raise RunError(
                    f"{where}: the video of {row['key']} is damaged; see osd-build verify {where.parents[3]}"
                )
            self.storage.adopt(temporary, name)
        self.written += 1

    def _copy(self, row: Row, target: BinaryIO) -> str:
        source, digest, left = self._open(row["shard"]), hashlib.sha256(), row["mp4_size"]
        source.seek(row["mp4_offset"])
        while left and (chunk := source.read(min(CHUNK, left))):
            digest.update(chunk)
            target.write(chunk)
            left -= len(chunk)
        return digest.hexdigest()

    def _open(self, shard: str) -> BinaryIO:
        if shard != self._shard or self._file is None:
            self._stack.close()
            try:
                self._file = self._stack.enter_context((self.dataset.folder / shard).open("rb"))
            except OSError as error:
                raise RunError(
                    f"{self.dataset.folder / shard} cannot be read ({error.strerror}); fetch it again"
                ) from error
            self._shard = shard
        return self._file


def check_same(path: Path, row: Row) -> None:
    """Raises RunError unless the file is the video of this row."""
    if not path.is_file() or path.stat().st_size != row["mp4_size"] or sha256_of(path) != row["mp4_sha256"]:
        raise RunError(f"{path} is not the video of {row['key']}; take it away, or choose another folder")


def check_there(folder: Path, row: Row) -> None:
    """Raises RunError unless an earlier export put a video of this size there."""
    path = folder / name_of(row)
    if not path.is_file() or path.stat().st_size != row["mp4_size"]:
        raise RunError(f"{path} is not the video of {row['key']}; leave --videos out to have it extracted")
