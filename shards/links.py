"""Links: of clips that must not be passed on, all but the video, so that who may have it can fetch it from its source.

    links/manifest.json                               the tars below, as manifest.json lists shards
    links/pexels/r0001/pexels-train-000000.tar        stands for data/pexels/r0001/pexels-train-000000.tar

A sample is `<key>.json`, `<key>.txt`, then `<key>.<captioner>.txt` for every further captioner. The json has the fields
of METADATA (source, site_id, page_url, media_url, the span, source_sha256, ...), then `mp4_sha256` of the clip as it
was packed, then `scores`.
"""

import dataclasses
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from open_sora_dataset import FORMAT_VERSION, METADATA, check_format_version, features, member_names, score_fields
from shards.index import Row
from shards.manifest import ShardEntry

CONFIG = "links"
NAME = "links/manifest.json"
LINKS_PATH = re.compile(r"links/([a-z0-9_-]+/)+[a-z0-9_-]+\.tar")


@dataclass(frozen=True)
class Links:
    """What links/manifest.json lists."""

    shards: tuple[ShardEntry, ...] = ()
    format_version: int = FORMAT_VERSION

    @property
    def samples(self) -> int:
        return sum(entry.samples for entry in self.shards)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Links":
        """Raises NewerFormatError, or ValueError for anything else than `to_json` writes."""
        try:
            fields: dict[str, Any] = json.loads(text)
            check_format_version(fields["format_version"], NAME)
            known = {field.name for field in dataclasses.fields(ShardEntry)}
            entries = [ShardEntry(**{n: v for n, v in entry.items() if n in known}) for entry in fields["shards"]]
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{NAME} is damaged: {type(error).__name__}: {error}") from error
        for entry in entries:
            if not LINKS_PATH.fullmatch(entry.path):
                raise ValueError(f"{NAME}: path {entry.path!r} is not links/<folders>/<name>.tar")
        return cls(tuple(entries), fields["format_version"])


def links_path(shard: str) -> str:
    """Where the links of a shard lie."""
    return f"links/{shard.removeprefix('data/')}"


def links_features(scores: Sequence[str], captioners: Sequence[str]) -> datasets.Features:
    """Columns of the config `links`: as a dataset's, without the video and with its hash in `json`."""
    columns = {name: column for name, column in features(scores, captioners).items() if name != "mp4"}
    return datasets.Features({**columns, "json": {**columns["json"], "mp4_sha256": datasets.Value("string")}})


def write_links(path: Path, rows: Iterable[Row], scores: Sequence[str], captioners: Sequence[str]) -> tuple[int, str]:
    """Write a tar of the links of these rows of an index; its size in bytes and sha256. Same rows, same bytes."""
    names = [name for name in member_names(captioners) if name != "mp4"]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            contents = {**row, "json": json.dumps(record(row, scores), ensure_ascii=False, separators=(",", ":"))}
            for name in names:
                data = str(contents[name]).encode()
                info = tarfile.TarInfo(f"{row['key']}.{name}")  # regular file, mode 0644, owner 0, mtime 0
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def record(row: Row, scores: Sequence[str]) -> Mapping[str, Any]:
    values = {field: row[f"score_{field}"] for field in score_fields(scores)}
    known = {**{name: row[name] for name in METADATA}, "mp4_sha256": row["mp4_sha256"]}
    return {**known, "scores": values} if values else known
