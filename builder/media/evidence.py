"""The two files a decode pass leaves: evidence (every frame, tiny) and the strip (a few frames, readable).

Both are parquet. Evidence: one row a frame in row groups of GROUP: `frame`, `pts`, `key`, `luma`, `diff`, `thumb`.
Thumbnails are stored as the difference to the frame before, modulo 256, each row group starting afresh: measured on
six real files that is 20-35 % smaller than plain bytes on footage, at the same cost (text_screencast: 20 % larger, but
of 100 bytes a frame), and a spatial or planar step on top gains nothing on average. zstd 3 is no smaller than 1 here.
"""

from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

THUMB_WIDTH, THUMB_HEIGHT = 48, 27
THUMB_BYTES = THUMB_WIDTH * THUMB_HEIGHT * 3
GROUP = 256  # frames a row group: 1 MB of thumbnails in memory
STRIP_GROUP = 16

Bytes = npt.NDArray[np.uint8]
EVIDENCE = pa.schema(
    [
        ("frame", pa.int32()),
        ("pts", pa.int64()),
        ("key", pa.bool_()),
        ("luma", pa.float32()),
        ("diff", pa.float32()),
        ("thumb", pa.binary(THUMB_BYTES)),
    ]
)
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


class EvidenceWriter:
    """Takes one thumbnail a frame; holds one row group in memory."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetWriter(
            path, EVIDENCE, compression="zstd", compression_level=1, use_dictionary=False, write_statistics=False
        )
        self._thumbs = np.zeros((GROUP, THUMB_HEIGHT, THUMB_WIDTH, 3), np.uint8)
        self._signals: list[tuple[int, bool, float, float]] = []  # pts, key, luma, diff
        self.frames = 0

    def add(self, pts: int, key: bool, thumb: Bytes) -> Bytes:
        """The thumbnail as kept here: good until GROUP more frames were added."""
        at = self.frames % GROUP
        before = self._thumbs[at - 1] if self.frames else thumb
        diff = cv2.norm(thumb, before, cv2.NORM_L1) / THUMB_BYTES  # OpenCV sums in integers: the same everywhere
        red, green, blue, _ = cv2.mean(thumb)
        self._signals.append((pts, key, 0.299 * red + 0.587 * green + 0.114 * blue, diff))
        self._thumbs[at] = thumb
        self.frames += 1
        if at == GROUP - 1:
            self._flush()
        return cast(Bytes, self._thumbs[at])

    def close(self) -> None:
        if self._signals:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        n = len(self._signals)
        pts, key, luma, diff = zip(*self._signals, strict=True)
        stored = self._thumbs[:n].copy()
        stored[1:] -= self._thumbs[: n - 1]
        columns = [
            pa.array(range(self.frames - n, self.frames), pa.int32()),
            pa.array(pts, pa.int64()),
            pa.array(key, pa.bool_()),
            pa.array(luma, pa.float32()),
            pa.array(diff, pa.float32()),
            pa.FixedSizeBinaryArray.from_buffers(pa.binary(THUMB_BYTES), n, [None, pa.py_buffer(stored)]),
        ]
        self._file.write_batch(pa.record_batch(columns, schema=EVIDENCE))
        self._signals = []


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
    def luma(self) -> npt.NDArray[np.float32]:
        return self._column("luma")

    @property
    def diff(self) -> npt.NDArray[np.float32]:
        return self._column("diff")

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
        return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[:, :, ::-1])

    def jpeg(self, i: int) -> bytes:
        """Image i as stored. One row group is kept: reading in order reads the file once."""
        group, at = divmod(i, STRIP_GROUP)
        if self._jpegs[0] != group:
            self._jpegs = group, self._file.read_row_group(group, columns=["jpeg"]).column(0).to_pylist()
        return self._jpegs[1][at]
