"""Which of a user's files are the source videos of links: told by their sha256, looked for first by their names."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import ConfigError
from builder.stages.fetch import sha256_of

WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class Video:
    """A source video, as links name it."""

    sha256: str
    source: str
    site_id: str
    media_url: str


@dataclass
class Library:
    """The regular files below a folder, which is never written to; links that lead out of it are not followed."""

    root: Path
    hashed: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise ConfigError(f"--videos {self.root} is no folder; name the one that holds the source videos")

    def find(self, wanted: Iterable[Video]) -> tuple[dict[str, Path], dict[str, Path]]:
        """Files by the sha256 that they have; and, by the one that they should have, files that are called like a
        wanted video and are another.

        Files whose name and folders tell source and site id are hashed first, the others only while some are missing.
        """
        missing = {video.sha256: video for video in wanted}
        files = list(self.files())
        named = by_name(self.root, files, missing.values())
        found: dict[str, Path] = {}
        likely = dict.fromkeys(path for paths in named.values() for path in paths)
        for path in (*likely, *(path for path in files if path not in likely)):
            if not missing.keys() - found.keys():
                break
            digest = self.sha256(path)
            if digest in missing:
                found.setdefault(digest, path)
        others = {digest: paths[0] for digest, paths in named.items() if paths and digest not in found}
        return found, others

    def files(self) -> Iterator[Path]:
        for folder, folders, names in os.walk(self.root):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and (not path.is_symlink() or self.root.resolve() in path.resolve().parents):
                    yield path

    def sha256(self, path: Path) -> str:
        """Empty for a file that cannot be read."""
        if path not in self.hashed:
            try:
                now = path.stat()
                self.hashed[path] = sha256_of(path, now.st_size, now.st_mtime_ns)
            except OSError:
                self.hashed[path] = ""
        return self.hashed[path]


def by_name(root: Path, files: Iterable[Path], videos: Iterable[Video]) -> Mapping[str, list[Path]]:
    """Files whose path tells the source of a video, and whose name its site id: `pexels/12-34.mp4`, `pexels_12.mp4`."""
    paths: dict[str, list[tuple[str, str, Path]]] = {}
    for file in files:
        path, name = (words_of(str(part)) for part in (file.relative_to(root), file.name))
        for word in set(name.split()):
            paths.setdefault(word, []).append((f" {path} ", f" {name} ", file))
    found: dict[str, list[Path]] = {}
    for video in videos:
        site_id, source = words_of(video.site_id), words_of(video.source)
        near = paths.get(site_id.split()[0], ()) if site_id else ()
        found[video.sha256] = [f for path, name, f in near if f" {site_id} " in name and f" {source} " in path]
    return found


def words_of(text: str) -> str:
    return " ".join(WORD.findall(text.casefold()))
