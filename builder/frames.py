"""What the decode pass kept of a video, for whoever looks at it later: nothing here decodes video."""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from builder.errors import ItemError, RunError
from builder.records import Clip, Scanned
from builder.storage import Storage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from builder.media.evidence import Evidence
    from builder.media.strip import Strip

OPENING = Lock()


class Footage:
    """What the decode pass kept of one video. Nothing is decoded here; each part is read when it is first asked for.

    Threads may share it, and may read different clips of one video at once.
    """

    def __init__(self, scan: Scanned, storage: Storage) -> None:
        self.scan, self.storage = scan, storage

    @cached_property
    def strip(self) -> "Strip":
        with OPENING:  # of two threads that want one strip, the second finds it open
            return open_strip(self.storage, self.scan.strip)

    @property
    def evidence(self) -> "Evidence":
        return open_evidence(self.storage, self.scan.evidence)


class Timeline:
    """When each frame of a video is shown: `pts` and `times_s` (from the first frame on) hold frames + 1 entries, the
    last of which is the end. `intact` are the spans first <= f < last without damaged frames.

    Few of the evidence's bytes are read, so its hash is not checked; what is read must fit the row.

    Raises:
        RunError: the evidence is gone or does not fit.
    """

    def __init__(self, scan: Scanned, storage: Storage) -> None:
        import numpy as np
        import pyarrow as pa

        from builder.media.evidence import Evidence

        try:
            evidence = Evidence(storage.path(scan.evidence))
            pts, damaged = evidence.pts, evidence.damaged if scan.damaged_frames else np.zeros(scan.frames, bool)
        except (OSError, pa.ArrowException):
            raise gone(storage, scan.evidence) from None
        fits = len(pts) == scan.frames and pts[0] == scan.start_pts and int(damaged.sum()) == scan.damaged_frames
        self.pts = np.append(pts, scan.end_pts)
        if not fits or (np.diff(self.pts) <= 0).any():
            raise gone(storage, scan.evidence)
        numerator, denominator = (int(n) for n in scan.time_base.split("/"))
        self.times_s = (self.pts - scan.start_pts) * numerator / denominator
        self.intact = list(runs(~damaged))


def runs(flags: "NDArray[Any]") -> Iterator[tuple[int, int]]:
    """Where `flags` are set: first <= i < end."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.r_[0, flags.astype(np.int8), 0]))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


class Frames(Footage):
    """What the decode pass kept of one clip."""

    def __init__(self, clip: Clip, scan: Scanned, storage: Storage) -> None:
        super().__init__(scan, storage)
        self.clip = clip

    @cached_property
    def picks(self) -> list[int]:
        """Indices into the strip of the frames inside the clip; the nearest one when none is."""
        inside = [int(i) for i in self.strip.between(self.clip.start_pts, self.clip.end_pts)]
        middle = (self.clip.start_frame + self.clip.end_frame) // 2
        return inside or [int(abs(self.strip.frames - middle).argmin())]

    def spread(self, count: int) -> list[int]:
        """At most `count` of `picks`, evenly spread over the clip (the middle one for 1)."""
        n = len(self.picks)
        return self.picks if n <= count else [self.picks[(2 * i + 1) * n // (2 * count)] for i in range(count)]

    def images(self, count: int | None = None) -> list["NDArray[Any]"]:
        """Upright RGB strip frames, uint8 (h, w, 3), short side at most 480."""
        return [self.strip.image(i) for i in (self.picks if count is None else self.spread(count))]

    def times_s(self, count: int | None = None) -> list[float]:
        """Source times of what `images` gives."""
        return [float(self.strip.times_s[i]) for i in (self.picks if count is None else self.spread(count))]

    def thumbs(self) -> "NDArray[Any]":
        """A 48x27 RGB thumbnail of every frame of the clip, uint8 (n, 27, 48, 3).

        Raises:
            ItemError: `not_decoded`, where `scan` skipped some of them.
        """
        clip = self.clip
        if self.scan.unseen_frames and not self.evidence.seen[clip.start_frame : clip.end_frame].all():
            what = (
                "has frames that were skipped; set scan.key_frames_first = false, or leave out what needs every frame"
            )
            raise ItemError("not_decoded", f"{clip.clip_id} {what}")
        return self.evidence.thumbs(clip.start_frame, clip.end_frame)

    def luma(self) -> "NDArray[Any]":
        """Luma (BT.601, full range) of the thumbnails, uint8 (n, 27, 48)."""
        import cv2

        thumbs = self.thumbs()
        rows = thumbs.reshape(-1, *thumbs.shape[2:])  # all as one tall picture
        return cv2.cvtColor(rows, cv2.COLOR_RGB2GRAY).reshape(thumbs.shape[:3])


@lru_cache(maxsize=2)
def open_strip(storage: Storage, name: str) -> "Strip":
    """Kept open while the clips of one video pass by; files are named by their content, so they never change."""
    from builder.media.strip import Strip

    return Strip(intact(storage, name))


@lru_cache(maxsize=2)
def open_evidence(storage: Storage, name: str) -> "Evidence":
    from builder.media.evidence import Evidence

    return Evidence(intact(storage, name))


def intact(storage: Storage, name: str) -> Path:
    """Raises RunError when a file that a row names was removed or has been damaged."""
    if not storage.intact(name):
        raise gone(storage, name)
    return storage.path(name)


def gone(storage: Storage, name: str) -> RunError:
    return RunError(f"{storage.path(name)} is gone or damaged; `osd-build retry RUN scan`, then run again")
