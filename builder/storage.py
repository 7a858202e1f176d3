"""The only place that opens, lists and writes files of a run.

A name is a relative path with forward slashes (`scan/part-00003.parquet`). Whatever appears under its name is complete:
it was written elsewhere, synced and renamed. A reader never sees half a file and a power cut never leaves one.
"""

import contextlib
import errno
import hashlib
import os
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pyarrow as pa

from builder.errors import ConfigError, RunError

CONTENT = re.compile(r"-([0-9a-f]{8})\.parquet$")
SCRATCH = ".scratch"
_serial = count()


class Storage:
    """A run folder on a local or shared file system."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """A local path for code that must have one (decoders, `load_dataset`)."""
        return self.root / name

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def list(self, folder: str) -> dict[str, str]:
        """File names directly in `folder`, each with a version that changes whenever the file is replaced."""
        try:
            with os.scandir(self.path(folder)) as entries:
                return {e.name: version(e.stat()) for e in sorted(entries, key=lambda e: e.name) if e.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def walk(self, folder: str) -> Sequence[str]:
        """Names of all files below `folder`, sorted."""
        found = (p for p in self.path(folder).rglob("*") if p.is_file())
        return sorted(p.relative_to(self.root).as_posix() for p in found)

    def read(self, name: str) -> bytes:
        """The whole file.

        Raises:
            FileNotFoundError: there is none.
        """
        return self.path(name).read_bytes()

    def open(self, name: str) -> pa.NativeFile:
        """The file, for pyarrow to read only parts of it.

        No Python file: a thread of pyarrow that lets go of one while the interpreter ends aborts the process.

        Raises:
            FileNotFoundError: there is none.
        """
        return pa.OSFile(str(self.path(name)))

    def write(self, name: str, data: bytes) -> None:
        """Put `data` under `name`, all or nothing."""
        with self.scratch() as temporary:
            temporary.write_bytes(data)
            self.adopt(temporary, name)

    @contextlib.contextmanager
    def scratch(self, suffix: str = "") -> Iterator[Path]:
        """A private temporary path on the same file system; what is left there at the end is removed.

        Raises:
            RunError: the disk became full meanwhile.
        """
        folder = self.root / SCRATCH
        stamp = f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident():x}-{next(_serial)}"
        temporary = folder / f"{stamp}{suffix}"
        try:
            with telling_of_full_disk(temporary):
                folder.mkdir(parents=True, exist_ok=True)
                yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def adopt(self, temporary: Path, name: str) -> None:
        """Move a finished temporary file to its name: sync, rename, sync the folder."""
        target = self.path(name)
        with telling_of_full_disk(target):
            sync(temporary)
            if not target.parent.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                sync(target.parent.parent)
            temporary.replace(target)
            sync(target.parent)

    def adopt_by_content(self, temporary: Path, stem: str) -> str:
        """As `adopt`, under `stem`-<8 digits of the content's sha256>.parquet, which is returned: a name that a row
        holds can then never come to mean another content."""
        name = f"{stem}-{sha256_of(temporary)[:8]}.parquet"
        if not self.intact(name):
            self.adopt(temporary, name)
        return name

    def intact(self, name: str, size_bytes: int = 0) -> bool:
        """Whether the file is there, has the size expected and, if its name tells of its content, holds that."""
        told, path = CONTENT.search(name), self.path(name)
        if not path.is_file() or (size_bytes and path.stat().st_size != size_bytes):
            return False
        return told is None or sha256_of(path)[:8] == told[1]

    def remove(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove temporary files of processes on this host that no longer live."""
        for name in self.list(SCRATCH):
            host, _, rest = name.rpartition("-")[0].rpartition("-")[0].rpartition("-")
            if host == socket.gethostname() and rest.isdigit() and not Path(f"/proc/{rest}").exists():
                self.remove(f"{SCRATCH}/{name}")


def make_output(out: Path) -> Storage:
    """The folder that `--out` names, made if it is not there.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be made ({error.strerror}); name another folder") from error
    return Storage(out)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version(stat: os.stat_result) -> str:
    return f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"


def sync(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def memory_file() -> Iterator[tuple[Path, int]]:
    """A file in memory: a name under which other processes of this user can open it, and its descriptor."""
    memory = os.memfd_create("clip")
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{memory}"), memory
    finally:
        os.close(memory)


@contextlib.contextmanager
def telling_of_full_disk(path: Path) -> Iterator[None]:
    """Turn "no space left" into an error that says what to do.

    Raises:
        RunError: the disk or the quota is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunError(
            f"no space left while writing {path}; nothing finished is lost: free some space, then run the same again"
        ) from error
