"""Where the source videos of links come from: the user's folder, or, where that was asked for, the web."""

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from builder.errors import Filtered, ItemError
from builder.rehydration.library import Library, Video
from builder.storage import sha256_of
from builder.web.address import shown
from builder.web.client import Client
from builder.web.download import Wanted, download, exclusive
from builder.web.limits import Limits

SECRET = "***"  # what tables hold in place of a secret part of a URL
Lacking = tuple[str, str]
"""Why there is no file: kind and message."""


@dataclass
class Sources:
    """`kept` is a folder of ours for what is fetched; `uses` counts, by sha256, the tars that still need a video."""

    library: Library | None
    limits: Limits | None
    kept: Path
    uses: Counter[str] = field(default_factory=Counter)
    found: dict[str, Path] = field(default_factory=dict)
    lacking: dict[str, Lacking] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @cached_property
    def client(self) -> Client:
        return self._stack.enter_context(Client(self.limits))

    def look(self, videos: Mapping[str, Video]) -> None:
        """For all of them, in the user's folder."""
        found, others = self.library.find(videos.values()) if self.library else ({}, {})
        self.found |= found
        for sha256, video in videos.items():
            if sha256 in others:
                text = f"{others[sha256]} has sha256 {self.library.sha256(others[sha256])}, not {sha256}"  # type: ignore[union-attr]
                self.lacking[sha256] = ("differs", text)
            elif sha256 not in found:
                self.lacking[sha256] = ("missing", f"no file has sha256 {sha256} ({video.source} {video.site_id})")

    def fetch(self, videos: Iterable[Video]) -> None:
        """Those that are lacking, if fetching was asked for; some at a time."""
        wanted = [video for video in videos if video.sha256 in self.lacking] if self.limits else []
        if not wanted:
            return
        self.kept.mkdir(parents=True, exist_ok=True)
        client = self.client
        with ThreadPoolExecutor(min(len(wanted), client.limits.connections)) as pool:
            list(pool.map(self._fetch, wanted))

    def _fetch(self, video: Video) -> None:
        path, part = self.kept / video.sha256, self.kept / f"{video.sha256}.part"
        try:
            if SECRET in video.media_url:
                raise ItemError(
                    "secret", f"{shown(video.media_url)} needs a key that the links do not hold; get it first"
                )
            if not path.is_file() or sha256_of(path) != video.sha256:
                with exclusive(part) as file:
                    download(self.client, video.media_url, file, part, Wanted(video.sha256))
                    part.replace(path)
        except (ItemError, Filtered) as error:
            self.lacking[video.sha256] = (error.kind, error.message)
            return
        del self.lacking[video.sha256]
        self.found[video.sha256] = path

    def drop(self, sha256s: Iterable[str]) -> None:
        """A tar is done with these: what was fetched, and no other tar needs, goes."""
        for sha256 in sha256s:
            self.uses[sha256] -= 1
            if not self.uses[sha256] and self.found.get(sha256, Path()).parent == self.kept:
                self.found.pop(sha256).unlink(missing_ok=True)
