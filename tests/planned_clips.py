"""Clips as `plan` sees them, without videos: each is one whole video of 100 frames."""

import hashlib
from typing import Any

from builder.records import Clip, Scanned, SourceVideo, Verdict
from builder.stage import Item

FRAMES = 100


def clip(
    number: int, source: str = "a", size_bytes: int = 1000, license: str = "CC0-1.0", **video: Any
) -> Item[Verdict]:
    """`video` are further fields of the SourceVideo; `size`, if given, is that of the picture, `seconds` the length."""
    key = hashlib.sha256(str(number).encode()).hexdigest()[:20]
    (wide, high), seconds = video.pop("size", (64, 64)), video.pop("seconds", 4.0)
    shown = Clip(f"{key}-0-{FRAMES}", key, 0, FRAMES, 0, FRAMES, 0.0, seconds, FRAMES / seconds, wide, high)
    listed = {"license": license, **video}
    of = SourceVideo(
        *(key, key, source, "", "", "", size_bytes, "mov", "h264", wide, high, 0, 25.0, seconds, False), **listed
    )
    scan = Scanned(key, FRAMES, wide, high, 25.0, seconds, 0, FRAMES, "1/25", False, 0, 8, "", "")
    return Item(Verdict(shown.clip_id, True), key, {"split": shown, "merge": of, "scan": scan})
