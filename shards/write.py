"""Write a shard: a USTAR file whose bytes depend on its samples and on nothing else.

What readers would silently get wrong is refused with ValueError: a number that is sometimes written as an
integer (23.976 read back as 23), a null, a dot in a key (two samples become one row), a key given twice.
"""

import hashlib
import json
import math
import mmap
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from open_sora_dataset import METADATA, member_names, score_fields

NAME = re.compile(r"(?!__)[a-z0-9_-]+")  # `datasets` skips members that start with two underscores
MAX_MEMBER_NAME = 100  # bytes; longer needs USTAR's prefix field, which splits at a slash only
RECORD = 10_240  # tar programs write, and some expect, whole records of 20 blocks
INT64 = 2**63
Content = bytes | mmap.mmap


@dataclass(frozen=True)
class Sample:
    """One clip. `metadata` has exactly the fields of METADATA, plus `scores` (name -> number) if the dataset
    has any; `captions` maps captioner -> text, and its first one becomes the `txt` member."""

    key: str
    metadata: Mapping[str, object]
    video: Path | bytes
    captions: Mapping[str, str]


@dataclass(frozen=True)
class Member:
    """Where one member's content lies in its shard: `offset` is that of the first byte after the header."""

    key: str
    name: str
    offset: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardWritten:
    size_bytes: int
    sha256: str
    members: tuple[Member, ...]


def write_shard(path: Path, samples: Iterable[Sample]) -> ShardWritten:
    """Write and fsync `path`, which the caller named temporarily and renames. At least one sample; the first
    sets the scores and captioners of all. Raises ValueError naming sample and field."""
    members: list[Member] = []
    keys: set[str] = set()
    columns: tuple[list[str], list[str]] | None = None
    with path.open("wb") as file:
        tar = _Tar(file)
        for sample in samples:
            _check_key(sample.key, keys)
            metadata = checked_metadata(sample.key, sample.metadata)
            found = list(_mapping(sample.key, metadata.get("scores", {}))), list(sample.captions)
            columns = columns or found
            if found != columns:
                raise ValueError(f"sample {sample.key}: scores and captioners {found} differ from {columns} before")
            with _video(sample) as video:
                members += [tar.add(sample.key, name, data) for name, data in _contents(sample, metadata, video)]
        if not members:
            raise ValueError(f"{path}: a shard needs at least one sample")
        tar.close()
        os.fsync(file.fileno())
    return ShardWritten(tar.size_bytes, tar.sha256.hexdigest(), tuple(members))


def checked_metadata(key: str, metadata: Mapping[str, object], *, exact: bool = False) -> dict[str, object]:
    """The metadata in the format's order; integers in float fields become floats (`exact`: are refused)."""
    names = [name for name in metadata if name != "scores"]
    if wrong := sorted(set(METADATA).symmetric_difference(names)):
        raise ValueError(f"sample {key}: fields missing or unknown: {', '.join(wrong)}")
    record = {name: _checked(f"sample {key}: {name}", metadata[name], dtype, exact) for name, dtype in METADATA.items()}
    if record["cut"] not in ("copy", "encode"):
        raise ValueError(f"sample {key}: cut: must be 'copy' or 'encode', got {record['cut']!r}")
    if "scores" not in metadata:
        return record
    given = {name.replace(".", "_"): value for name, value in _mapping(key, metadata["scores"]).items()}
    fields = score_fields(_mapping(key, metadata["scores"]))
    if not fields:
        raise ValueError(f"sample {key}: scores: must be left out when empty (Arrow has no empty struct)")
    scores = {name: _checked(f"sample {key}: {name}", given[name], "float64", exact) for name in fields}
    return {**record, "scores": scores}


def _mapping(key: str, scores: object) -> Mapping[str, object]:
    if not isinstance(scores, Mapping):
        raise ValueError(f"sample {key}: scores: must map names to numbers, got {scores!r}")
    return scores


def _checked(where: str, value: object, dtype: str, exact: bool) -> object:
    """`value` if it has exactly this type and survives JSON, UTF-8 and Arrow unchanged."""
    if dtype == "string" and isinstance(value, str) and _is_utf8(value):
        return value
    whole = isinstance(value, int) and not isinstance(value, bool) and -INT64 <= value < INT64
    if dtype == "int64" and whole:
        return value
    if dtype == "float64" and (isinstance(value, float) or (whole and not exact)):
        number = float(cast(float, value))
        if math.isfinite(number):
            return number
    raise ValueError(f"{where}: must be a {dtype} (finite, not null, valid UTF-8), got {value!r}")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate: legal in Python and JSON, nowhere else
        return False
    return True


def _check_key(key: str, keys: set[str]) -> None:
    if not NAME.fullmatch(key):
        raise ValueError(f"sample {key!r}: key must match {NAME.pattern} (readers cut it at a dot)")
    if key in keys:
        raise ValueError(f"sample {key}: key given twice")
    keys.add(key)


@contextmanager
def _video(sample: Sample) -> Iterator[Content]:
    """Mapped, not read: a clip may be large."""
    if isinstance(sample.video, bytes):
        yield sample.video
        return
    with sample.video.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:  # cannot be mapped
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped


def _contents(sample: Sample, metadata: Mapping[str, object], video: Content) -> list[tuple[str, Content]]:
    """(member name, content) in the order of the format."""
    captioners = list(sample.captions)
    if captioners[:1] != [metadata["captioner"]] or not all(map(NAME.fullmatch, captioners)):
        raise ValueError(
            f"sample {sample.key}: captions: {captioners} must match {NAME.pattern} and start with the "
            f"captioner of the metadata, {metadata['captioner']!r}"
        )
    texts = [_checked(f"sample {sample.key}: {name}", text, "string", True) for name, text in sample.captions.items()]
    if not len(video):
        raise ValueError(f"sample {sample.key}: mp4: the video is empty")
    record = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    contents = [record.encode(), video, *(str(text).encode() for text in texts)]
    return list(zip(member_names(captioners), contents, strict=True))


class _Tar:
    """Append-only USTAR, every header field but name, size and checksum constant; hashes as it goes."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256, self.size_bytes = file, hashlib.sha256(), 0

    def add(self, key: str, name: str, data: Content) -> Member:
        info = tarfile.TarInfo(f"{key}.{name}")  # regular file, mode 0644, owner 0, mtime 0
        if len(info.name) > MAX_MEMBER_NAME:
            raise ValueError(f"sample {key}: {name}: member names have at most {MAX_MEMBER_NAME} bytes")
        info.size = len(data)
        self._write(info.tobuf(tarfile.USTAR_FORMAT))
        offset = self.size_bytes
        self._write(data)
        self._write(bytes(-len(data) % tarfile.BLOCKSIZE))
        return Member(key, name, offset, len(data), hashlib.sha256(data).hexdigest())

    def close(self) -> None:
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._write(bytes(-self.size_bytes % RECORD))
        self.file.flush()

    def _write(self, data: Content) -> None:
        self.file.write(data)
        self.sha256.update(data)
        self.size_bytes += len(data)
