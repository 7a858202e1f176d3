"""The one decode pass over a source video: evidence of every frame, a strip of a few, and the facts."""

from array import array
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import PictureType, VideoFrame

from builder.errors import ItemError
from builder.media.completeness import loss
from builder.media.content import Content
from builder.media.evidence import THUMB_BYTES, EvidenceWriter, Row
from builder.media.frames import FrameReader, quarter_turns, upright_size
from builder.media.guard import short_of_memory
from builder.media.key_frames import KeyFramesFirst, Undecidable
from builder.media.pictures import Pictures, Thumbnail, pixel_shape, transfer
from builder.media.signals import Bytes, Sharpness
from builder.media.sniff import open_video, video_stream
from builder.media.sound import sound
from builder.media.strip import StripWriter

VFR_STEP, VFR_SHARE = 0.1, 0.01
LONGEST_LAST_FRAME_S = 10.0  # a last frame that claims more is a damaged header
FRAME_BYTES = 8  # a pixel, at most, with what a decoder keeps beside it
LEAST_FRAMES = 2  # fewer are no moving picture


@dataclass(frozen=True)
class ScanSettings:
    """`strip_change`: difference (0..255) to the last strip frame that adds one.

    `min_intact` is the least share of the packets read that must give frames without damage. With `key_frames_first`
    only what may hold the end of a shot is decoded. `threads` and `content` (also take PySceneDetect's statistic)
    change nothing else of what is written.
    """

    strip_fps: float = 2.0
    strip_max_fps: float = 4.0
    strip_change: float = 24.0
    strip_short_side: int = 480
    jpeg_quality: int = 90
    max_pixels: int = 8192 * 4320  # the largest size in use (DCI 8K): about 50 MB a frame, 1 GB with its references
    max_frames: int = 1 << 24  # 77 hours at 60 fps
    min_intact: float = 0.05
    key_frames_first: bool = False
    threads: int = 1
    content: bool = False


@dataclass(frozen=True)
class ScanFacts:
    """What the pass counted; the fields are those of `builder.records.Scanned`, which says what they mean."""

    frames: int
    unseen_frames: int
    width: int
    height: int
    fps: float
    start_pts: int
    end_pts: int
    duration_s: float
    time_base: str
    vfr: bool
    decode_errors: int
    strip_frames: int
    sar: str
    interlaced: bool
    hdr: str
    bit_depth: int
    damaged_frames: int
    complete: bool
    lost_s: float
    lost: str
    audio_codec: str
    audio_channels: int
    audio_rate: int
    audio_start_s: float
    audio_duration_s: float


def scan(path: Path, evidence: Path, strip: Path, settings: ScanSettings) -> ScanFacts:
    """Write `evidence` and `strip` in place (give temporary names); both are removed again when it fails.

    Raises the ItemErrors of `open_video` and `too_large`, `too_long`, `size_changed`, `no_frames`, `truncated`,
    `damaged`.
    """
    try:
        with open_video(path, settings.max_pixels) as container:
            return _Pass(path, container, settings).run(evidence, strip)
    except Undecidable:
        return scan(path, evidence, strip, replace(settings, key_frames_first=False))
    except BaseException:
        evidence.unlink(missing_ok=True)
        strip.unlink(missing_ok=True)
        raise


class _Pass:
    """One pass over one open video."""

    def __init__(self, path: Path, container: InputContainer, settings: ScanSettings) -> None:
        self.path, self.container, self.settings = path, container, settings
        self.stream = video_stream(container)
        self.size = self.stream.width, self.stream.height
        if self.size[0] * self.size[1] > settings.max_pixels:
            what = f"{path}: {self.size[0]}x{self.size[1]} is over max_pixels; raise it to accept the video"
            raise ItemError("too_large", what)
        self.thumbnail = Thumbnail()
        first = KeyFramesFirst.of(path, container, self._thumb) if settings.key_frames_first else None
        self.reader = first or FrameReader(container, self.stream, settings.threads)
        self.sar = pixel_shape(self.stream.sample_aspect_ratio)
        self.pts = array("q")
        self.seen = self.turns = self.last_duration = self.interlaced = self.bit_depth = 0
        self.hdr = ""

    def run(self, evidence: Path, strip: Path) -> ScanFacts:
        rows, images = EvidenceWriter(evidence, self.settings.content), StripWriter(strip)
        try:
            self._decode(rows, images)
        finally:
            rows.close()
            images.close()
        if self.reader.errors and short_of_memory(FRAME_BYTES * self.size[0] * self.size[1]):
            raise MemoryError
        if not self.pts:
            raise ItemError("no_frames", f"{self.path}: no frame could be decoded; fetch it again or leave it out")
        facts = self._facts(images.frames, rows.damaged)
        _check_usable(self, facts)
        return facts

    def _decode(self, rows: EvidenceWriter, images: StripWriter) -> None:
        settings, sharpness = self.settings, Sharpness()
        content = Content() if settings.content else None
        picker = _StripPicker(settings, self.reader.time_base, self.sar, images)
        for frame, pts in self.reader:
            if frame is None:
                rows.skip(pts)
                self.pts.append(pts)
                continue
            if self.pts:
                self._check(frame)
            else:
                self._begin(frame)
            thumb = self.thumbnail.of(frame, self.turns)
            row = Row(pts, frame.key_frame, self.reader.damaged, frame.pict_type == PictureType.B, sharpness.of(frame))
            if content:
                row.deltas = content.of(frame, self.turns)
            rows.add(row, thumb)
            picker.offer(frame, len(self.pts), pts, thumb)
            self.pts.append(pts)
            self.last_duration = frame.duration
            self.seen += 1
            self.interlaced += frame.interlaced_frame

    def _thumb(self, frame: VideoFrame) -> Bytes:
        return self.thumbnail.of(frame, quarter_turns(frame.rotation))

    def _begin(self, frame: VideoFrame) -> None:
        self.size, self.turns = (frame.width, frame.height), quarter_turns(frame.rotation)
        self.hdr, self.bit_depth = transfer(frame), max(part.bits for part in frame.format.components)

    def _check(self, frame: VideoFrame) -> None:
        if (frame.width, frame.height) != self.size:
            raise ItemError(
                "size_changed",
                f"{self.path}: frame {len(self.pts)} is {frame.width}x{frame.height} after "
                f"{self.size[0]}x{self.size[1]}; split or re-encode it first",
            )
        if len(self.pts) >= self.settings.max_frames:
            what = f"{self.path} has more than {self.settings.max_frames:,} frames; split it first"
            raise ItemError("too_long", what)

    def _facts(self, strip_frames: int, damaged_frames: int) -> ScanFacts:
        base, pts = self.reader.time_base, np.frombuffer(self.pts, np.int64)
        steps = np.diff(pts)
        median = int(np.median(steps)) if len(steps) else max(1, round(1 / (base * (self.stream.average_rate or 25))))
        last = self.last_duration if 0 < self.last_duration * base <= LONGEST_LAST_FRAME_S else median
        end = int(pts[-1]) + last
        duration_s = float((end - int(pts[0])) * base)
        width, height = upright_size(*self.size, self.turns * 90)
        sar = 1 / self.sar if self.turns % 2 else self.sar
        missing = loss(self.path, self.container, self.reader.packets, duration_s)
        return ScanFacts(
            frames=len(pts),
            unseen_frames=len(pts) - self.seen,
            width=width,
            height=height,
            fps=len(pts) / duration_s,
            start_pts=int(pts[0]),
            end_pts=end,
            duration_s=duration_s,
            time_base=f"{base.numerator}/{base.denominator}",
            vfr=_varies(steps, median),
            decode_errors=self.reader.errors,
            strip_frames=strip_frames,
            sar=f"{sar.numerator}/{sar.denominator}",
            interlaced=2 * self.interlaced > self.seen,
            hdr=self.hdr,
            bit_depth=self.bit_depth,
            damaged_frames=damaged_frames,
            complete=not missing.reason,
            lost_s=missing.lost_s,
            lost=missing.reason,
            **vars(sound(self.container, float(int(pts[0]) * base))),
        )


def _varies(steps: npt.NDArray[np.int64], median: int) -> bool:
    """More than 1 % of steps off by more than 10 %, and by more than the one tick that rounding explains."""
    return bool(len(steps)) and bool(np.mean(np.abs(steps - median) > max(VFR_STEP * median, 1)) > VFR_SHARE)


def _check_usable(scanned: _Pass, facts: ScanFacts) -> None:
    """A good head of a broken file is worth keeping; refuse one of which next to nothing is left."""
    path, packets, intact = scanned.path, scanned.reader.packets, facts.frames - facts.damaged_frames
    if scanned.reader.errors and intact < max(LEAST_FRAMES, scanned.settings.min_intact * packets):
        raise ItemError("damaged", f"{path}: only {intact} of {packets} frames decode without damage; fetch it again")
    if not facts.complete and facts.frames < LEAST_FRAMES:
        raise ItemError("truncated", f"{path}: {facts.lost}; fetch it again")


class _StripPicker:
    """Chooses and encodes the frames of the strip, at most `strip_max_fps` a second."""

    def __init__(self, settings: ScanSettings, time_base: Fraction, sar: Fraction, images: StripWriter) -> None:
        self.settings, self.images = settings, images
        self._tick_s = float(time_base)
        self._pictures = Pictures(settings.strip_short_side, sar)
        self._start = self._tick = 0
        self._last_s = 0.0
        self._last: Bytes | None = None

    def offer(self, frame: VideoFrame, index: int, pts: int, thumb: Bytes) -> None:
        if self._last is None:
            self._start = pts
        time_s = (pts - self._start) * self._tick_s
        tick = int(time_s * self.settings.strip_fps + 1e-6)
        if self._last is not None and tick <= self._tick:
            too_soon = time_s - self._last_s < 1 / self.settings.strip_max_fps - 1e-6
            if too_soon or cv2.norm(thumb, self._last, cv2.NORM_L1) < self.settings.strip_change * THUMB_BYTES:
                return
        self._last, self._last_s, self._tick = thumb.copy(), time_s, tick
        jpeg, width, height = self._encode(frame)
        row = {"frame": index, "pts": pts, "time_s": time_s, "jpeg": jpeg, "width": width, "height": height}
        self.images.add(row)

    def _encode(self, frame: VideoFrame) -> tuple[bytes, int, int]:
        picture = self._pictures.of(frame, quarter_turns(frame.rotation))
        height, width = picture.shape[:2]
        done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self.settings.jpeg_quality])
        if not done:
            raise ValueError(f"a frame of {width}x{height} could not be written as JPEG")
        return jpeg.tobytes(), width, height
