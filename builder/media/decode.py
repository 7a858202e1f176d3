"""The one decode pass over a source video: evidence of every frame, a strip of a few, and the facts."""

from array import array
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from builder.errors import ItemError
from builder.media.evidence import THUMB_BYTES, THUMB_HEIGHT, THUMB_WIDTH, Bytes, EvidenceWriter, StripWriter
from builder.media.frames import FrameReader, plane_pixels, quarter_turns, turned, upright_size
from builder.media.sniff import demuxer, open_video, video_stream
from builder.media.structure import MOV, structure

VFR_STEP, VFR_SHARE = 0.1, 0.01
LONGEST_LAST_FRAME_S = 10.0  # a last frame that claims more is a damaged header
CLAIMS_LENGTH = ("flv", "asf")  # formats whose header states a duration and that say nothing about their size


@dataclass(frozen=True)
class ScanSettings:
    """`strip_change`: difference (0..255) to the last strip frame that adds one; `threads` is execution only."""

    strip_fps: float = 2.0
    strip_max_fps: float = 4.0
    strip_change: float = 24.0
    strip_short_side: int = 480
    jpeg_quality: int = 90
    max_pixels: int = 8192 * 4320  # the largest size in use (DCI 8K): about 50 MB a frame, 1 GB with its references
    min_decoded: float = 0.95
    threads: int = 1


@dataclass(frozen=True)
class ScanFacts:
    """What the pass counted. Size as displayed; `end_pts` is exclusive; fps = frames / duration."""

    frames: int
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


def scan(path: Path, evidence: Path, strip: Path, settings: ScanSettings) -> ScanFacts:
    """Write `evidence` and `strip` in place (give temporary names); both are removed again when it fails.

    Raises the ItemErrors of `open_video` and `too_large`, `size_changed`, `no_frames`, `truncated`, `damaged`.
    """
    try:
        with open_video(path, settings.max_pixels) as container:
            return _Pass(path, container, settings).run(evidence, strip)
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
        self.reader = FrameReader(container, self.stream, settings.threads)
        self.pts = array("q")
        self.last_duration = 0

    def run(self, evidence: Path, strip: Path) -> ScanFacts:
        rows, images = EvidenceWriter(evidence), StripWriter(strip)
        try:
            self._decode(rows, images)
        finally:
            rows.close()
            images.close()
        if not self.pts:
            raise ItemError("no_frames", f"{self.path}: no frame could be decoded; fetch it again or leave it out")
        facts = self._facts(images.frames)
        _check_complete(self, facts)
        return facts

    def _decode(self, rows: EvidenceWriter, images: StripWriter) -> None:
        thumbnail, picker = _Thumbnail(), _StripPicker(self.settings, self.reader.time_base, images)
        for frame, pts in self.reader:
            if not self.pts:
                self.size, self.turns = (frame.width, frame.height), quarter_turns(frame.rotation)
            elif (frame.width, frame.height) != self.size:
                raise ItemError(
                    "size_changed",
                    f"{self.path}: frame {len(self.pts)} is {frame.width}x{frame.height} after "
                    f"{self.size[0]}x{self.size[1]}; split or re-encode it first",
                )
            thumb = rows.add(pts, frame.key_frame, thumbnail.of(frame, self.turns))
            picker.offer(frame, len(self.pts), pts, thumb)
            self.pts.append(pts)
            self.last_duration = frame.duration

    def _facts(self, strip_frames: int) -> ScanFacts:
        base, pts = self.reader.time_base, np.array(self.pts, np.int64)
        steps = np.diff(pts)
        median = int(np.median(steps)) if len(steps) else max(1, round(1 / (base * (self.stream.average_rate or 25))))
        last = self.last_duration if 0 < self.last_duration * base <= LONGEST_LAST_FRAME_S else median
        end = int(pts[-1]) + last
        duration_s = float((end - int(pts[0])) * base)
        width, height = upright_size(*self.size, self.turns * 90)
        return ScanFacts(
            frames=len(pts),
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
        )


def _varies(steps: npt.NDArray[np.int64], median: int) -> bool:
    """More than 1 % of steps off by more than 10 %, and by more than the one tick that rounding explains."""
    return bool(len(steps)) and bool(np.mean(np.abs(steps - median) > max(VFR_STEP * median, 1)) > VFR_SHARE)


def _check_complete(scanned: _Pass, facts: ScanFacts) -> None:
    """Refuse a video of which more than 5 % is missing, believing bytes before headers.

    - MP4: its index lists every sample (edit lists taken into account): samples that could not be read are missing.
      A wrong duration in the header is never looked at (a real file claims 143,165 s for its 1 s). A fragmented one
      lists no more than was fetched, so it must not end inside a box.
    - Matroska and AVI, whose index is optional: only when the file ends before its outermost box does, and then by
      its duration; a complete file with a wrong duration, or sound longer than the pictures, passes.
    - FLV and ASF: by the duration in the header, there is nothing else. MPEG, Ogg: may be cut anywhere, pass.
    - Packets that were all there but did not decode: `damaged`.
    """
    path, packets = scanned.path, scanned.reader.packets
    least = scanned.settings.min_decoded
    got, expected, unit = _progress(scanned, facts)
    if got < least * expected:
        of = f"{got:.10g} of {expected:.10g}" if expected < inf else f"{got:.10g} of an unknown number of"
        raise ItemError("truncated", f"{path} ends after {of} {unit}; fetch it again")
    if scanned.reader.errors and facts.frames < least * packets:
        raise ItemError("damaged", f"{path}: only {facts.frames} of {packets} packets decode; fetch it again")


def _progress(scanned: _Pass, facts: ScanFacts) -> tuple[float, float, str]:
    """What was read, what should have been (inf: more, nobody knows how much), and of what."""
    name = demuxer(scanned.path)
    cut = structure(scanned.path, name).declared_bytes > scanned.path.stat().st_size
    if name == MOV:
        indexed = sum(not entry.is_discard for entry in scanned.stream.index_entries)
        fragmented = not scanned.stream.frames
        return scanned.reader.packets, inf if fragmented and cut else indexed, "frames"
    claimed_s = (scanned.container.duration or 0) / 1e6
    if cut:
        return facts.duration_s, claimed_s or inf, "seconds"
    return facts.duration_s, claimed_s if name in CLAIMS_LENGTH else 0.0, "seconds"


class _Thumbnail:
    """48x27 RGB, upright. One scaler for all frames, and without threads: both are traps that double its cost."""

    def __init__(self) -> None:
        self._scaler = VideoReformatter()

    def of(self, frame: VideoFrame, turns: int) -> Bytes:
        width, height = upright_size(THUMB_WIDTH, THUMB_HEIGHT, turns * 90)
        small = self._scaler.reformat(frame, width, height, "rgb24", interpolation=Interpolation.AREA, threads=1)
        pixels = plane_pixels(small, 0)[:, : width * 3]
        return np.ascontiguousarray(turned(pixels.reshape(height, width, 3), turns))


class _StripPicker:
    """Chooses and encodes the frames of the strip, at most `strip_max_fps` a second."""

    def __init__(self, settings: ScanSettings, time_base: Fraction, images: StripWriter) -> None:
        self.settings, self.images = settings, images
        self._tick_s = float(time_base)
        self._scaler, self._colour = VideoReformatter(), VideoReformatter()
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
        """Scaled in its own colours first, then turned to RGB: half the work of doing both at once."""
        scale = min(1.0, self.settings.strip_short_side / min(frame.width, frame.height))
        width, height = (max(1, round(side * scale)) for side in (frame.width, frame.height))
        area = Interpolation.AREA
        small = self._scaler.reformat(frame, width, height, interpolation=area, threads=1)
        pixels = plane_pixels(self._colour.reformat(small, format="bgr24", interpolation=area, threads=1), 0)
        pixels = pixels[:, : width * 3].reshape(height, width, 3)
        upright = np.ascontiguousarray(turned(pixels, quarter_turns(frame.rotation)))
        done, jpeg = cv2.imencode(".jpg", upright, [cv2.IMWRITE_JPEG_QUALITY, self.settings.jpeg_quality])
        if not done:
            raise ValueError(f"a frame of {width}x{height} could not be written as JPEG")
        return jpeg.tobytes(), upright.shape[1], upright.shape[0]
