"""The two files a decode pass leaves: evidence (every frame, tiny) and the strip (a few frames, readable).

Both are parquet. Evidence: one row a frame in row groups of GROUP: `frame`, `pts`, `key`, `damaged`, `sharpness`, the
SIGNALS of `builder.media.signals`, `thumb` and, when asked for, the three columns of CONTENT.
Thumbnails are stored as the difference to the frame before, modulo 256, each row group starting afresh: measured on
six real files that is 20-35 % smaller than plain bytes on footage, at the same cost (text_screencast: 20 % larger, but
of 100 bytes a frame), and a spatial or planar step on top gains nothing on average. zstd 3 is no smaller than 1 here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from builder.media.signals import SIGNALS, Bytes, Floats, signals

THUMB_WIDTH, THUMB_HEIGHT = 48, 27
THUMB_BYTES = THUMB_WIDTH * THUMB_HEIGHT * 3
GROUP = 512  # frames a row group: 2 MB of thumbnails in memory; with fewer, the index of hours of video takes more
REORDER = 16  # frames that may be shown before one they are predicted from: the limit of H.264 and HEVC
STRIP_GROUP = 32

CONTENT = ("delta_hue", "delta_sat", "delta_lum")
EVIDENCE = pa.schema(
    [
        ("frame", pa.int32()),
        ("pts", pa.int64()),
        ("key", pa.bool_()),
        ("damaged", pa.bool_()),
        ("sharpness", pa.float32()),
        *((name, pa.float32()) for name in SIGNALS),
        ("thumb", pa.binary(THUMB_BYTES)),
    ]
)
EVIDENCE_WITH_CONTENT = pa.schema([*EVIDENCE, *((name, pa.float64()) for name in CONTENT)])
STRIP = pa.schema(
    [
        ("frame", pa.int32()),
        ("pts", pa.int64()),
        ("time_s", pa.float64()),
        ("jpeg", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)


@dataclass(slots=True)
class Row:
    """What the pass found of one frame, but its thumbnail. `between`: predicted from a frame that is shown later."""

    pts: int
    key: bool
    damaged: bool = False
    between: bool = False
    sharpness: float = 0.0
    deltas: tuple[float, float, float] = (0.0, 0.0, 0.0)


class EvidenceWriter:
    """Takes one row and thumbnail a frame; holds a little more than one row group in memory.

    Once closed, `damaged` is how many frames are.
    """

    def __init__(self, path: Path, content: bool = False) -> None:
        self._schema = EVIDENCE_WITH_CONTENT if content else EVIDENCE
        self._file = pq.ParquetWriter(
            path, self._schema, compression="zstd", compression_level=1, use_dictionary=False, write_statistics=False
        )
        self._thumbs = np.zeros((GROUP + REORDER, THUMB_HEIGHT, THUMB_WIDTH, 3), np.uint8)
        self._before: Bytes | None = None
        self._rows: list[Row] = []
        self.written = self.damaged = 0

    def add(self, row: Row, thumb: Bytes) -> None:
        if row.damaged:
            self._taint()
        self._thumbs[len(self._rows)] = thumb
        self._rows.append(row)
        if len(self._rows) == GROUP + REORDER:
            self._flush(GROUP)

    def close(self) -> None:
        while self._rows:
            self._flush(min(GROUP, len(self._rows)))
        self._file.close()

    def _taint(self) -> None:
        """Frames shown just before a damaged one that are predicted from it are damaged, too."""
        for earlier in reversed(self._rows):
            if not earlier.between or earlier.damaged:
                break
            earlier.damaged = True

    def _flush(self, n: int) -> None:
        rows, thumbs = self._rows[:n], self._thumbs[:n]
        stored = thumbs.copy()
        stored[1:] -= thumbs[:-1]
        columns: dict[str, Any] = {
            "frame": np.arange(self.written, self.written + n, dtype=np.int32),
            "pts": [row.pts for row in rows],
            "key": [row.key for row in rows],
            "damaged": [row.damaged for row in rows],
            "sharpness": np.array([row.sharpness for row in rows], np.float32),
            **signals(thumbs, self._before),
            "thumb": pa.FixedSizeBinaryArray.from_buffers(pa.binary(THUMB_BYTES), n, [None, pa.py_buffer(stored)]),
            **dict(zip(CONTENT, zip(*(row.deltas for row in rows), strict=True), strict=True)),
        }
        arrays = [pa.array(columns[field.name], field.type) for field in self._schema]
        self._file.write_batch(pa.record_batch(arrays, schema=self._schema))
        self.damaged += sum(columns["damaged"])
        self._before = thumbs[-1].copy()
        rest = len(self._rows) - n
        self._thumbs[:rest] = self._thumbs[n : n + rest].copy()
        self._rows = self._rows[n:]
        self.written += n


class StripWriter:
    """Takes finished JPEGs; `frames` counts them."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetWriter(path, STRIP, compression="none", use_dictionary=False, write_statistics=False)
        self._rows: list[dict[str, Any]] = []
        self.frames = 0

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self.frames += 1
        if len(self._rows) == STRIP_GROUP:
            self._flush()

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        self._file.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=STRIP))
        self._rows = []


class Evidence:
    """Reads evidence: item i of every column is frame i of the video. Columns are read when first asked for.

    `pts` int64 in time base units; `key` bool; `luma` float32, mean 0..255; `diff` float32, mean absolute difference
    to the thumbnail before, 0..255, 0 for the first frame.
    """

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        self._columns: dict[str, npt.NDArray[Any]] = {}

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    @property
    def pts(self) -> npt.NDArray[np.int64]:
        return self._column("pts")

    @property
    def key(self) -> npt.NDArray[np.bool_]:
        return self._column("key")

    @property
    def damaged(self) -> npt.NDArray[np.bool_]:
        """Frames that the decoder made up in part, or predicted from such: not fit for a clip."""
        return self._column("damaged")

    @property
    def sharpness(self) -> Floats:
        """See `builder.media.signals.Sharpness`; the other signals are described at `signals` there."""
        return self._column("sharpness")

    @property
    def luma(self) -> Floats:
        return self._column("luma")

    @property
    def diff(self) -> Floats:
        return self._column("diff")

    @property
    def black(self) -> Floats:
        return self._column("black")

    @property
    def shift_x(self) -> Floats:
        return self._column("shift_x")

    @property
    def shift_y(self) -> Floats:
        return self._column("shift_y")

    @property
    def response(self) -> Floats:
        return self._column("response")

    @property
    def residual(self) -> Floats:
        return self._column("residual")

    @property
    def content_deltas(self) -> npt.NDArray[np.float64] | None:
        """PySceneDetect's delta_hue, delta_sat, delta_lum (n, 3), 0..255; None when the pass was not asked for them."""
        if CONTENT[0] not in self._file.schema_arrow.names:
            return None
        return np.stack([self._column(name) for name in CONTENT], axis=1)

    def thumbs(self, start: int = 0, stop: int | None = None) -> Bytes:
        """Frames start <= i < stop as uint8 RGB (n, 27, 48, 3); only the row groups that hold them are read."""
        stop = len(self) if stop is None else min(stop, len(self))
        if start >= stop:
            return np.zeros((0, THUMB_HEIGHT, THUMB_WIDTH, 3), np.uint8)
        first = start // GROUP
        groups = [self._group(index) for index in range(first, (stop - 1) // GROUP + 1)]
        return np.concatenate(groups)[start - first * GROUP : stop - first * GROUP]

    def _group(self, index: int) -> Bytes:
        chunk = self._file.read_row_group(index, columns=["thumb"]).column(0).combine_chunks()
        stored = np.frombuffer(chunk.buffers()[1], np.uint8).reshape(-1, THUMB_HEIGHT, THUMB_WIDTH, 3)
        return np.cumsum(stored[chunk.offset : chunk.offset + len(chunk)], axis=0, dtype=np.uint8)

    def _column(self, name: str) -> npt.NDArray[Any]:
        if name not in self._columns:
            self._columns[name] = self._file.read(columns=[name]).column(0).to_numpy()
        return self._columns[name]


class Strip:
    """Reads a strip. `frames` int32 are the indexes of its images in the video, `times_s` seconds from its start."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        table = self._file.read(columns=["frame", "pts", "time_s"])
        self.frames: npt.NDArray[np.int32] = table.column("frame").to_numpy()
        self.pts: npt.NDArray[np.int64] = table.column("pts").to_numpy()
        self.times_s: npt.NDArray[np.float64] = table.column("time_s").to_numpy()
        self._jpegs: tuple[int, list[bytes]] = (-1, [])

    def __len__(self) -> int:
        return len(self.frames)

    def between(self, start_pts: int, end_pts: int) -> list[int]:
        """The images i that show a frame with start_pts <= pts < end_pts, in order; may be empty for a short clip."""
        first, last = np.searchsorted(self.pts, [start_pts, end_pts])
        return list(range(int(first), int(last)))

    def image(self, i: int) -> Bytes:
        """Image i as uint8 RGB (height, width, 3)."""
        encoded = np.frombuffer(self.jpeg(i), np.uint8)
        return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)

    def jpeg(self, i: int) -> bytes:
        """Image i as stored. One row group is kept: reading in order reads the file once."""
        group, at = divmod(i, STRIP_GROUP)
        if self._jpegs[0] != group:
            self._jpegs = group, self._file.read_row_group(group, columns=["jpeg"]).column(0).to_pylist()
        return self._jpegs[1][at]
