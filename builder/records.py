"""What flows through the pipeline: one frozen dataclass a table, each row a fact that is never edited in place.

A record names its id in `KEY`; the id of a clip begins with the id of its video, so that both fall into the same
range of parts. Fields gain defaults when they are added later: tables written before still read. A field marked
`FACT` records how something was obtained; it is no part of the row's digest, so a new value recomputes nothing.
"""

import typing
from dataclasses import dataclass, field
from typing import ClassVar

from builder.digests import digested, per_type, short_hash

FACT = {"fact": True}


@dataclass(frozen=True, slots=True)
class Record:
    """Base of all rows."""

    KEY: ClassVar[str] = ""

    @property
    def id(self) -> str:
        return str(getattr(self, self.KEY))

    def digest(self) -> str:
        """16 hex digits over every field that is not a FACT."""
        return short_hash([getattr(self, name) for name in digested(type(self))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed(Record):
    """What a source says of a video. In `url`, values of the query that may be secret are `***`.

    `site` is a stock site and `site_id` the video's id there, or in the list. `starts_s` and `ends_s` are spans asked
    for, starts_s <= t < ends_s; without any, all of the video is. `also` holds a JSON object for every other listing of
    the same video: whose it was said to be, and where.
    """

    url: str = ""
    site: str = ""
    site_id: str = ""
    page_url: str = ""
    author: str = ""
    author_url: str = ""
    title: str = ""
    tags: tuple[str, ...] = ()
    license: str = ""
    license_url: str = ""
    starts_s: tuple[float, ...] = ()
    ends_s: tuple[float, ...] = ()
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found(Listed):
    """A video that a source lists, not fetched yet. `root` and `path` are set for local files, `url` for others.

    Rows with one `key` are one video: a site's own id, else the normalised URL, hashed. `position` is the row's place
    in the source's listing.
    """

    KEY: ClassVar[str] = "found_id"
    found_id: str
    source: str
    root: str = ""
    path: str = ""
    size_bytes: int = 0
    mtime_ns: int = 0
    key: str = ""
    listed_sha256: str = ""
    position: int = field(default=0, metadata=FACT)


@dataclass(frozen=True, slots=True)
class SourceVideo(Listed):
    """A video at hand, probed. `root` "" means the run's own media folder; else a folder source, never written to.

    `width` and `height` are as displayed; header figures (`duration_s`, `fps`) are claims until `scan` has counted.
    """

    KEY: ClassVar[str] = "video_id"
    video_id: str
    found_id: str
    source: str
    root: str
    path: str
    sha256: str
    size_bytes: int
    container: str
    codec: str
    width: int
    height: int
    rotation: int
    fps: float
    duration_s: float
    has_audio: bool
    mtime_ns: int = field(default=0, metadata=FACT)
    retrieved_at: str = field(default="", metadata=FACT)
    etag: str = field(default="", metadata=FACT)
    last_modified: str = field(default="", metadata=FACT)


@dataclass(frozen=True, slots=True)
class Fetched(SourceVideo):
    """A SourceVideo before duplicates are merged: several may hold the same bytes, so it goes by what was found."""

    KEY: ClassVar[str] = "found_id"


@dataclass(frozen=True, slots=True)
class Scanned(Record):
    """The decode pass over one video. `evidence` and `strip` name files by content.

    `width` and `height` are stored pixels, upright; `sar` ("num/den") is how wide one is for its height. `start_pts`
    and `end_pts` (exclusive) are in units of `time_base` seconds ("num/den"); fps = frames / duration. `interlaced`
    when most frames are; `hdr` is "pq", "hlg" or "". Of a file that breaks off the good head counts: `complete` is
    False, `lost` says why, `lost_s` how many seconds are missing (0: nobody knows). `decode_errors` counts packets lost
    and frames with holes; `damaged_frames` those and all predicted from them; `unseen_frames` were not decoded (`scan`
    with key frames first). Of the first sound what headers say; `audio_start_s` is after the first picture.
    """

    KEY: ClassVar[str] = "video_id"
    video_id: str
    frames: int
    width: int
    height: int
    fps: float
    duration_s: float
    start_pts: int
    end_pts: int
    time_base: str
    vfr: bool
    decode_errors: int
    strip_frames: int
    evidence: str
    strip: str
    sar: str = "1/1"
    interlaced: bool = False
    hdr: str = ""
    bit_depth: int = 8
    damaged_frames: int = 0
    unseen_frames: int = 0
    complete: bool = True
    lost_s: float = 0.0
    lost: str = ""
    audio_codec: str = ""
    audio_channels: int = 0
    audio_rate: int = 0
    audio_start_s: float = 0.0
    audio_duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Shots(Record):
    """Single-shot spans of one video: shot i shows frames starts[i] <= f < ends[i], in presentation order.

    Frames between two spans belong to a transition, or were left out by the detector. `kinds` (cut, dissolve, fade; ""
    where none was seen, as at the beginning) and `scores` (0..1) tell of the boundary before each shot. `seen_on` says
    what the detector looked at where it had a choice.
    """

    KEY: ClassVar[str] = "video_id"
    video_id: str
    detector: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    kinds: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    seen_on: str = ""


@dataclass(frozen=True, slots=True)
class Clip(Record):
    """A span of one video: frames start_frame <= f < end_frame, shown at start_s <= t < end_s.

    `shot` is the number of its shot in the row of `detect`; a shot that no clip names was too short for one.
    """

    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    video_id: str
    start_frame: int
    end_frame: int
    start_pts: int
    end_pts: int
    start_s: float
    end_s: float
    fps: float
    width: int
    height: int
    shot: int = 0

    @property
    def frames(self) -> int:
        return self.end_frame - self.start_frame

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Score(Record):
    """Base of what scorers write. A condition names a float field as `<scorer>.<field>`; others are for captioners."""

    KEY: ClassVar[str] = "clip_id"
    clip_id: str

    @classmethod
    @per_type
    def names(cls) -> list[str]:
        return [name for name, kind in typing.get_type_hints(cls).items() if kind is float]

    def values(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self.names()}


@dataclass(frozen=True, slots=True)
class Verdict(Record):
    """Kept or not, with every condition that failed. A row that is not kept is no input of later stages."""

    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    kept: bool
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caption(Record):
    """One caption and everything needed to make it again. `frames_s` are the source times of the frames shown.

    `status` is `ok`, or `truncated` at the limit. `prompt` is as asked, `prompt_hash` of it before slots were filled.
    `parameters` is JSON: dtype, seed, how tokens were chosen. `tokens` were said, `tokens_in` read, with pictures.
    `language` is BCP 47 or "und"; `repetition` the share of 4-grams said before; `raw` what was said, if other.
    """

    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    captioner: str
    text: str
    status: str
    model: str
    revision: str
    prompt: str
    frames_s: tuple[float, ...]
    parameters: str
    tokens: int = 0
    tokens_in: int = field(default=0, metadata=FACT)
    engine: str = ""
    prompt_hash: str = ""
    language: str = ""
    attempts: int = field(default=1, metadata=FACT)
    repetition: float = 0.0
    raw: str = field(default="", metadata=FACT)

    @property
    def words(self) -> int:
        return len(self.text.split())


@dataclass(frozen=True, slots=True)
class Planned(Record):
    """Where a clip goes. `covers` is the digest of everything the sample is made of; some must not be passed on."""

    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    shard: str
    shard_number: int
    covers: str
    split: str = "train"
    redistributable: bool = True
    bucket: str = ""


@dataclass(frozen=True, slots=True)
class Packed(Record):
    """A sample inside a finished shard. `members` and `metadata` are JSON, `captions` JSON by captioner."""

    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    shard: str
    shard_size_bytes: int
    shard_sha256: str
    members: str
    metadata: str
    captions: str


@dataclass(frozen=True, slots=True)
class Failure(Record):
    """Why an input has no row: `filtered` on purpose, else failed; `retryable` if trying again may help."""

    KEY: ClassVar[str] = "item_id"
    item_id: str
    kind: str
    message: str
    retryable: bool = False
    filtered: bool = False
