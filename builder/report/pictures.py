"""Small strips for a page: frames of a clip side by side in one JPEG, out of what `scan` kept. No video is read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from builder.errors import RunError
from builder.frames import intact
from builder.storage import Storage

if TYPE_CHECKING:
    from builder.media.strip import Strip

FRAMES = 6  # a clip, evenly spread
WIDTH, HEIGHT = 224, 126  # pixels that each fits in
QUALITY = 58
THREADS = 4  # decoding and encoding of JPEGs leave the interpreter's lock


@dataclass(frozen=True)
class Span:
    """A clip, as far as its pictures go: pts from start_pts to before end_pts in the strip of that name."""

    clip_id: str
    strip: str
    start_pts: int
    end_pts: int


@dataclass(frozen=True)
class Picture:
    """FRAMES frames side by side; no JPEG where the strip is gone or damaged."""

    clip_id: str
    jpeg: bytes = b""


def pictures(storage: Storage, spans: Iterable[Span]) -> Iterator[Picture]:
    """In the order given. Each strip is opened once if its clips stand together."""
    groups = [list(group) for _, group in groupby(spans, lambda span: span.strip)]
    with ThreadPoolExecutor(THREADS) as pool:
        for found in pool.map(lambda group: of_strip(storage, group), groups):
            yield from found


def of_strip(storage: Storage, spans: Sequence[Span]) -> list[Picture]:
    """All clips of one video."""
    import pyarrow as pa

    from builder.media.strip import Strip

    try:
        strip = Strip(intact(storage, spans[0].strip))
    except (RunError, OSError, KeyError, pa.ArrowException):
        return [Picture(span.clip_id) for span in spans]
    return [picture(strip, span) for span in spans]


def picture(strip: "Strip", span: Span) -> Picture:
    import cv2
    import numpy as np
    import pyarrow as pa

    try:
        chosen = picks(strip, span)
        once = {i: small(strip.jpeg(i)) for i in dict.fromkeys(chosen)}
        shown = [once[i] for i in chosen]
        height, width = shown[0].shape[:2]
        alike = [image if image.shape[:2] == (height, width) else cv2.resize(image, (width, height)) for image in shown]
        _, jpeg = cv2.imencode(".jpg", np.hstack(alike), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    except (cv2.error, OSError, IndexError, ValueError, pa.ArrowException):
        return Picture(span.clip_id)
    return Picture(span.clip_id, jpeg.tobytes())


def picks(strip: "Strip", span: Span) -> list[int]:
    """FRAMES of the clip's pictures, evenly spread, of few some twice; the nearest to its middle if none is inside."""
    inside = strip.between(span.start_pts, span.end_pts)
    inside = inside or [int(abs(strip.pts - (span.start_pts + span.end_pts) / 2).argmin())]
    return [inside[(2 * i + 1) * len(inside) // (2 * FRAMES)] for i in range(FRAMES)]


def small(jpeg: bytes) -> Any:
    """Decoded at half of its size if that is still large enough, which costs half; then to fit.

    Raises:
        ValueError: it is no JPEG.
    """
    import cv2
    import numpy as np

    data = np.frombuffer(jpeg, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_2)
    if image is None:
        raise ValueError("no JPEG")
    if image.shape[1] < WIDTH and image.shape[0] < HEIGHT:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    scale = min(WIDTH / image.shape[1], HEIGHT / image.shape[0], 1.0)
    size = tuple(max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
    return image if scale == 1.0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def span_of(row: Mapping[str, Any], strip: str) -> Span:
    return Span(row["clip_id"], strip, row["start_pts"], row["end_pts"])
