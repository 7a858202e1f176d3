"""How tables are cut into parts: by ranges of ids, the number of ranges fixed per run and grain until it is outgrown.

Ids begin with hex digits of a hash, so a part is a range of ids of about equal size. Numbers of parts are powers of
two: a part of a coarser table covers whole parts of a finer one, and a stage may start as soon as those are done.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from builder.errors import RunError
from builder.storage import Storage

FINEST = 1 << 13  # no folder holds more than 10,000 parts
VIDEOS_PER_PART = 2
FOUND_PER_PART = 64  # fetched at the same time, as far as the hosts allow
CLIPS_PER_PART = 1024
NUMBER = re.compile("[1-9][0-9]{0,5}")
HASH = re.compile("[0-9a-f]{8}")
OUTGROWN = 4  # a run that has grown by this is cut anew; Table.recut carries its answers over
MIN_CLIP_PARTS = 16  # small runs too keep several workers busy


@dataclass
class Layout:
    """The numbers of parts of a run, one small file a grain: `layout/video` holds "64".

    `seen`, where it is set, saves reading the files again; whoever sets it empties it after a stage that decides.
    """

    storage: Storage
    seen: dict[str, int] | None = None

    def parts(self, grain: str) -> int | None:
        """None while the stage that decides it has not run."""
        if grain == "one":
            return 1
        if self.seen is not None and grain in self.seen:
            return self.seen[grain]
        try:
            text = self.storage.read(f"layout/{grain}").decode("ascii", "replace")
        except FileNotFoundError:
            return None
        if not NUMBER.fullmatch(text) or (grain != "shard" and int(text).bit_count() != 1):
            raise RunError(f"{self.storage.path('layout')} is damaged; remove that folder and run again")
        parts = int(text)
        if self.seen is not None:
            self.seen[grain] = parts
        return parts

    def decide(self, grain: str, parts: int, again: bool = False) -> int:
        """Fix the number of parts, unless it was fixed before and is not by far too small."""
        known = self.parts(grain)
        if known is None or parts >= OUTGROWN * known or (again and known != parts):
            self.storage.write(f"layout/{grain}", str(parts).encode())
            if self.seen is not None:
                self.seen[grain] = parts
            return parts
        return known


def bucket(item_id: str, parts: int) -> int:
    """The part of an id. Ids that are no hash (sources) are few and go to part 0."""
    return int(item_id[:8], 16) * parts >> 32 if HASH.match(item_id) else 0


def covering(n: int, of: int, parts: int) -> range:
    """The parts of a table of `parts` that hold what part `n` of a table of `of` may need."""
    if parts >= of:
        each = parts // of
        return range(n * each, (n + 1) * each)
    return range(n * parts // of, n * parts // of + 1)


def found_parts(rows: int) -> int:
    return min(FINEST, power_of_two(rows / FOUND_PER_PART))


def video_parts(videos: int) -> int:
    return min(FINEST, power_of_two(videos / VIDEOS_PER_PART))


def clip_parts(durations_s: Sequence[float]) -> int:
    """From the length of the videos, at one clip per five seconds; never finer than the videos themselves."""
    expected = power_of_two(sum(durations_s) / 5 / CLIPS_PER_PART)
    return min(video_parts(len(durations_s)), max(expected, MIN_CLIP_PARTS))


def power_of_two(least: float) -> int:
    """The smallest power of two not below `least`, at least 1."""
    return 1 << max(0, math.ceil(math.log2(least))) if least > 1 else 1
