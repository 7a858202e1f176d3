"""The strip: a few frames of a video as pictures that people and models can look at, in one parquet file."""

from pathlib import Path
from threading import Lock
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from builder.media.signals import Bytes

GROUP = 32  # pictures a row group
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


class StripWriter:
    """Takes finished JPEGs; `frames` counts them."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetWriter(path, STRIP, compression="none", use_dictionary=False, write_statistics=False)
        self._rows: list[dict[str, Any]] = []
        self.frames = 0

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self.frames += 1
        if len(self._rows) == GROUP:
            self._flush()

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        self._file.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=STRIP))
        self._rows = []


class Strip:
    """Reads a strip. `frames` int32 are the indexes of its images in the video, `times_s` seconds from its start.

    Threads may share it.
    """

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        table = self._file.read(columns=["frame", "pts", "time_s"])
        self.frames: npt.NDArray[np.int32] = table.column("frame").to_numpy()
        self.pts: npt.NDArray[np.int64] = table.column("pts").to_numpy()
        self.times_s: npt.NDArray[np.float64] = table.column("time_s").to_numpy()
        self._group: tuple[int, pa.ChunkedArray] | None = None
        self._reading = Lock()

    def __len__(self) -> int:
        return len(self.frames)

    def between(self, start_pts: int, end_pts: int) -> list[int]:
        """The images i that show a frame with start_pts <= pts < end_pts, in order; may be empty for a short clip."""
        first, last = np.searchsorted(self.pts, [start_pts, end_pts])
        return list(range(int(first), int(last)))

    def image(self, i: int) -> Bytes:
        """Image i as uint8 RGB (height, width, 3)."""
        return cast(Bytes, cv2.cvtColor(self._decoded(i, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))

    def grey(self, i: int) -> Bytes:
        """The luma of image i, uint8 (height, width): a quarter of the work."""
        return self._decoded(i, cv2.IMREAD_GRAYSCALE)

    def jpeg(self, i: int) -> bytes:
        """Image i as stored."""
        return cast(bytes, self._stored(i).as_py())

    def _decoded(self, i: int, how: int) -> Bytes:
        return cast(Bytes, cv2.imdecode(np.frombuffer(self._stored(i).as_buffer(), np.uint8), how))

    def _stored(self, i: int) -> Any:
        """One row group is kept: reading in order reads the file once."""
        group, at = divmod(i, GROUP)
        with self._reading:
            if self._group is None or self._group[0] != group:
                self._group = group, self._file.read_row_group(group, columns=["jpeg"], use_threads=False).column(0)
            return self._group[1][at]
