"""Training or validation: the side a clip is on, so that what shows the same is never on both.

A side is a function of contents and names, never of how many clips there are: videos that come later move none.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from builder.digests import short_hash
from builder.records import SourceVideo
from builder.takedown import folded

SplitBy = Literal["duplicates", "author", "video"]
TRAIN, VALIDATION = "train", "validation"


def position(name: str) -> float:
    """0 <= position < 1, evenly spread over names; other digits than those that parts and shards are cut by."""
    return int(short_hash(["side", name]), 16) / 2**64


def side(smallest: float, share: float) -> str:
    return VALIDATION if smallest < share else TRAIN


def author_of(video: SourceVideo) -> str:
    """Who made it, on whatever site; a video without an author stands for itself."""
    return f"author:{folded(video.author)}" if video.author.strip() else video.video_id


def by_duplicates(
    groups: Iterable[tuple[str, str]], videos: Mapping[str, str], published: Mapping[str, str], share: float
) -> dict[str, str]:
    """Clip -> side, for (clip, group) of all clips that were compared, also of those that were left out.

    A group, named by the clip that stands for it, is on the side of its smallest content hash, or, once one of its
    clips has been published, on that of the smallest of those. `videos` names the contents by clip; of others the id
    begins with it.
    """
    members: dict[str, set[str]] = {}
    for clip, group in groups:
        members.setdefault(group, {group}).add(clip)
    for clip in videos.keys() - {clip for clips in members.values() for clip in clips}:
        members[clip] = {clip}
    sides: dict[str, str] = {}
    for clips in members.values():
        ranked = sorted((position(videos.get(clip) or clip.partition("-")[0]), clip) for clip in clips)
        known = next((published[clip] for _, clip in ranked if clip in published), None)
        sides |= dict.fromkeys(clips, known or side(ranked[0][0], share))
    return sides
