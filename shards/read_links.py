"""Read the links of a dataset, distrustfully: a tar of them may come from anywhere, and says what will be cut."""

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from open_sora_dataset import member_names, score_fields
from shards.examine import CHUNK, TEXT_LIMIT, Hashing
from shards.links import NAME as LINKS_NAME
from shards.links import Links
from shards.manifest import Manifest, ShardEntry
from shards.write import NAME, checked_metadata

HASH = "mp4_sha256"


@dataclass(frozen=True)
class Linked:
    """A clip without its video. `captions` by captioner; `mp4_sha256` is that of the video as it was packed."""

    key: str
    metadata: Mapping[str, Any]
    captions: Mapping[str, str]
    mp4_sha256: str


def links_of(folder: Path) -> Links:
    """What links/manifest.json lists; nothing if there is none. Raises ValueError for one that cannot be read."""
    path = folder / LINKS_NAME
    return Links.from_json(path.read_text(encoding="utf-8")) if path.is_file() else Links()


def read_links(folder: Path, entry: ShardEntry, manifest: Manifest) -> Iterator[Linked]:
    """The clips of one tar, in order; at its end its size and hash are compared, too.

    Raises ValueError for anything that `write_links` would not have written.
    """
    names = [name for name in member_names(manifest.captioners) if name != "mp4"]
    count = 0
    with (folder / entry.path).open("rb") as file:
        stream = Hashing(file)
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as tar:
            members = iter(tar)
            while info := next(members, None):
                key = info.name.partition(".")[0]
                texts = [_text(tar, info, key, names[0])]
                texts += [_text(tar, next(members, None), key, name) for name in names[1:]]
                yield _linked(key, texts, manifest)
                count += 1
        while stream.read(CHUNK):
            pass
    if (stream.size_bytes, stream.sha256.hexdigest(), count) != (entry.size_bytes, entry.sha256, entry.samples):
        raise ValueError(f"{entry.path} is not the tar that {LINKS_NAME} lists")


def check_links(folder: Path, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """What is wrong with the links in a dataset folder: path, and what it is."""
    try:
        links = links_of(folder)
    except (OSError, ValueError) as error:
        yield LINKS_NAME, str(error)
        return
    listed = {entry.path for entry in links.shards}
    present = {path.relative_to(folder).as_posix() for path in (folder / "links").rglob("*.tar")}
    yield from ((path, f"is not listed in {LINKS_NAME}: remove it") for path in sorted(present - listed))
    for entry in links.shards:
        try:
            for _ in read_links(folder, entry, manifest):
                pass
        except FileNotFoundError:
            yield entry.path, f"is listed in {LINKS_NAME} but missing"
        except (OSError, ValueError, tarfile.TarError, EOFError) as error:
            yield entry.path, str(error)


def _text(tar: tarfile.TarFile, info: tarfile.TarInfo | None, key: str, name: str) -> str:
    if info is None or info.name != f"{key}.{name}" or not NAME.fullmatch(key):
        raise ValueError(f"member {info.name if info else 'end'!r} stands where {key[:80]!r}.{name} must")
    if not info.isreg() or info.sparse is not None or info.size > TEXT_LIMIT:
        raise ValueError(f"member {info.name!r} is no plain file, or has more than {TEXT_LIMIT} bytes")
    content = tar.extractfile(info)  # a reader of these bytes; nothing is written
    assert content is not None  # regular files have one
    return content.read().decode()


def _linked(key: str, texts: Sequence[str], manifest: Manifest) -> Linked:
    try:
        fields = json.loads(texts[0])
        digest = fields.pop(HASH)
        metadata = checked_metadata(key, fields, exact=True)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"sample {key}: its json is no link: {type(error).__name__}: {error}") from error
    if list(cast(dict[str, float], metadata.get("scores", {}))) != score_fields(manifest.scores):
        raise ValueError(f"sample {key}: its scores are not the declared ones, {list(manifest.scores)}")
    if metadata["captioner"] != manifest.captioners[0] or not isinstance(digest, str):
        raise ValueError(f"sample {key}: its captioner or its hash is not as declared")
    return Linked(key, metadata, dict(zip(manifest.captioners, texts[1:], strict=True)), digest)
