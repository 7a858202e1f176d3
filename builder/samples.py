"""What a sample is made of: its metadata from the rows of a clip, and the digest that says when it is another one."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from builder.digests import short_hash
from builder.records import Caption, Clip, Scanned, Score, SourceVideo
from builder.stage import Item

if TYPE_CHECKING:
    from builder.media.cut import CutFacts
    from shards.write import Sample

BY_HAND = ", put right by hand"
ORIGIN = ("video_id", "source", "site_id", "page_url", "author", "author_url", "title", "license", "license_url")
SPAN = ("clip_id", "start_frame", "end_frame", "start_pts", "end_pts", "start_s", "end_s", "width", "height")


Corrected = Mapping[str, Mapping[str, str]]  # clip -> captioner -> what a person wrote instead
AS_CAPTIONED: Corrected = MappingProxyType({})


def captions_of(item: Item[Any], corrected: Corrected) -> dict[str, Caption]:
    """By captioner, the first one configured first; what a person put right says so in the name of its model."""
    found = {table.partition(".")[2]: caption for table, caption in item.all(Caption).items()}
    texts = corrected.get(item.id, {})
    right = {n: replace(c, text=texts[n], model=f"{c.model}{BY_HAND}") for n, c in found.items() if n in texts}
    return found | right


def covers(item: Item[Any], corrected: Corrected = AS_CAPTIONED) -> str:
    """The digest of all that the sample is made of, and of nothing else.

    Where a file lies, when it was fetched and what a captioner looked at change no sample; a published one stays.
    """
    clip = item.get(Clip)
    made_of = {
        "origin": origin(item.get(SourceVideo)),
        "span": [getattr(clip, name) for name in SPAN],
        "sound": is_sound(item.get(Scanned)),
        "scores": score_values(item),
        "captions": [[n, c.text, c.model, c.revision, c.prompt] for n, c in captions_of(item, corrected).items()],
    }
    return short_hash(made_of)


def sample_of(item: Item[Any], facts: "CutFacts", path: Path, corrected: Corrected) -> "Sample":
    """The sample: metadata as `open_sora_dataset.METADATA` lists them, and the captions, first the configured one."""
    from shards.write import Sample

    captions = captions_of(item, corrected)
    first = next(iter(captions.values()))
    metadata = origin(item.get(SourceVideo)) | span(item.get(Clip), facts) | making(facts, first)
    if scores := score_values(item):
        metadata["scores"] = scores
    texts = {name: caption.text for name, caption in captions.items()}
    metadata["captioner"] = next(iter(texts))
    return Sample(item.id, metadata, path, texts)


def is_sound(scan: Scanned) -> bool:
    """Whether `scan` decoded all of the video without an error."""
    return scan.decode_errors == scan.unseen_frames == 0


def origin(video: SourceVideo) -> dict[str, Any]:
    return {name: getattr(video, name) for name in ORIGIN} | {"media_url": video.url, "source_sha256": video.sha256}


def span(clip: Clip, facts: "CutFacts") -> dict[str, Any]:
    """What of the source is in the clip as written; its id still names the span as planned."""
    return {
        "clip_id": clip.clip_id,
        "start_s": clip.start_s + facts.head_s,
        "end_s": clip.end_s - facts.tail_s,
        "start_frame": clip.start_frame + facts.head_frames,
        "end_frame": clip.end_frame - facts.tail_frames,
        "lost_s": facts.head_s + facts.tail_s,
    }


def making(facts: "CutFacts", caption: Caption) -> dict[str, Any]:
    cut = {name: getattr(facts, name) for name in ("duration_s", "fps", "frames", "width", "height")}
    return cut | {
        "cut": facts.method,
        "cut_settings": facts.settings,
        "caption_model": caption.model,
        "caption_revision": caption.revision,
        "caption_prompt": caption.prompt,
    }


def score_values(item: Item[Any]) -> dict[str, float]:
    """`<scorer>.<field>` of every score; a clip without one of them was not kept, or the run judges without it."""
    return {
        f"{table.partition('.')[2]}.{name}": value
        for table, row in item.all(Score).items()
        for name, value in row.values().items()
    }
