"""Read one shard distrustfully: what it holds, and everything about it that no shard may be.

The archive is parsed by the standard library, not by the reader of `shards.stream`; nothing is extracted, no
path or link of a member is followed, and a forged size does not fill the memory.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, cast

from open_sora_dataset import member_names, score_fields
from shards.index import Row, index_row
from shards.stream import open_binary
from shards.write import NAME, Member, checked_metadata

TEXT_LIMIT = 1 << 20  # bytes; a json or txt member is a few kB
EXTRA = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
RUNS_CODE = ("pkl", "pickle", "pth", "pt", "pyd", "py", "so", "dll", "joblib")  # when loaded, as pickles do
OBJECTS = re.compile(rb"\A\x93NUMPY.{2,6}\{.{0,200}?'descr':\s*[^,]*O", re.DOTALL)  # a .npy that holds a pickle
CHUNK = 1 << 20


@dataclass(frozen=True)
class Expected:
    """What the manifest declares of a shard at `path` (relative to the dataset folder)."""

    path: str
    scores: Sequence[str]
    captioners: Sequence[str]
    extras: Sequence[str] = ()


@dataclass(frozen=True)
class Fault:
    """`key` is the sample's, where it is one's."""

    what: str
    key: str = ""


@dataclass
class Found:
    """`rows` are those that the samples should have in the index."""

    size_bytes: int = 0
    sha256: str = ""
    rows: list[Row] = field(default_factory=list)
    problems: list[Fault] = field(default_factory=list)


def examine(folder: Path, expected: Expected) -> Found:
    """Reads the whole file once. A break in the structure ends the list of samples, a bad sample does not."""
    found = Found()
    with open_binary(folder / expected.path) as file:
        stream = Hashing(file)
        try:
            with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as tar:
                _read_samples(tar, expected, found)
        except (tarfile.TarError, ValueError, EOFError) as error:
            found.problems.append(Fault(f"is not a sound shard: {error}"))
        while stream.read(CHUNK):
            pass
    found.size_bytes, found.sha256 = stream.size_bytes, stream.sha256.hexdigest()
    return found


class Hashing:
    """A stream without seeking, so that one pass over the file serves its checksum and its members."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256, self.size_bytes = file, hashlib.sha256(), 0

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.sha256.update(data)
        self.size_bytes += len(data)
        return data


def _read_samples(tar: tarfile.TarFile, expected: Expected, found: Found) -> None:
    """The members of the format in their order, then any others of the same sample (latents, embeddings)."""
    names = member_names(expected.captioners)
    members: list[Member] = []
    texts: list[bytes] = []
    for info in tar:
        key, _, name = info.name.partition(".")
        whole = len(members) >= len(names)
        extra = whole and key == members[0].key and name not in {member.name for member in members}
        if whole and not extra:
            _add_sample(members, texts, expected, found)
            members, texts = [], []
        member, text = _read_member(tar, info, name if extra else names[len(members)])
        if members and member.key != members[0].key:
            raise ValueError(f"{info.name} stands between the members of sample {members[0].key}")
        members.append(member)
        texts.append(text)
    if len(members) >= len(names):
        _add_sample(members, texts, expected, found)
    elif members:
        raise ValueError(f"sample {members[0].key} ends before its member {names[len(members)]}")


def _read_member(tar: tarfile.TarFile, info: tarfile.TarInfo, name: str) -> tuple[Member, bytes]:
    """The member, and its content if it is json or txt."""
    key, _, found_name = info.name.partition(".")
    if not info.isreg() or info.sparse is not None or info.offset_data - info.offset != tarfile.BLOCKSIZE:
        raise ValueError(f"member {info.name!r} is not a plain file with a plain USTAR header")
    if found_name != name or not NAME.fullmatch(key) or not EXTRA.fullmatch(name):
        raise ValueError(f"member {info.name!r} stands where a <key>.{name} must")
    if name.rpartition(".")[2] in RUNS_CODE:
        raise ValueError(f"member {info.name!r} could run code when it is loaded; save tensors as .npy or .safetensors")
    is_text = name.rpartition(".")[2] in ("json", "txt")
    if info.size > TEXT_LIMIT and is_text:
        raise ValueError(f"member {info.name!r} has {info.size} bytes, more than any text of a sample")
    content = tar.extractfile(info)  # a reader of these bytes; nothing is written
    assert content is not None  # regular files have one
    digest, text = hashlib.sha256(), b""
    first = True
    while chunk := content.read(CHUNK):
        if first and OBJECTS.match(chunk):
            raise ValueError(f"member {info.name!r} holds Python objects, which run code when they are loaded")
        digest.update(chunk)
        text, first = text + chunk if is_text else b"", False
    return Member(key, name, info.offset_data, info.size, digest.hexdigest()), text


def _add_sample(members: list[Member], texts: list[bytes], expected: Expected, found: Found) -> None:
    key = members[0].key
    if members[1].size_bytes == 0:
        found.problems.append(Fault(f"sample {key}: the video is empty", key))
    try:
        metadata = checked_metadata(key, json.loads(texts[0]), exact=True)
        if list(cast(dict[str, float], metadata.get("scores", {}))) != score_fields(expected.scores):
            raise ValueError(f"sample {key}: its scores are not the declared ones, {list(expected.scores)}")
        captions = dict(zip(expected.captioners, (text.decode() for text in texts[2:]), strict=False))
        found.rows.append(index_row(expected.path, metadata, captions, members, expected.extras))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        what = str(error) if key in str(error) else f"sample {key}: {error}"
        found.problems.append(Fault(what, key))
