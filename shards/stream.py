"""Read samples as they lie in the shards. Nothing is verified (see `shards.verify`), nothing decoded."""

from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from open_sora_dataset import MEMBERS
from shards.index import read_rows
from shards.manifest import INDEX_NAME

BLOCK = 512
NAME, SIZE = slice(0, 100), slice(124, 135)  # fields of a USTAR header
RawSample = dict[str, bytes | str]


def open_binary(path: Path) -> BufferedReader:
    """The one place that opens a file of a dataset for its bytes: where stores other than a disk come in."""
    return path.open("rb")


def read_shard(path: Path) -> Iterator[RawSample]:
    """Samples in order: `__key__`, and every member's content as bytes under its name. Only for what
    `write_shard` wrote: plain USTAR headers are taken at their word. ValueError where the file breaks off."""
    with open_binary(path) as file:
        sample: RawSample = {}
        header = file.read(BLOCK)
        while len(header) == BLOCK and header[0]:
            key, _, name = header[NAME].rstrip(b"\0").decode("ascii").partition(".")
            if sample and sample["__key__"] != key:
                yield sample
                sample = {}
            size = int(header[SIZE], 8)
            sample["__key__"], sample[name] = key, file.read(size)
            padding = -size % BLOCK
            header = file.read(padding + BLOCK)[padding:]  # one call instead of two
        if len(header) < BLOCK:
            raise ValueError(f"{path} breaks off after {file.tell()} bytes: fetch it again")
        yield sample


def read_sample(folder: Path, key: str) -> RawSample:
    """One sample by its offsets in the index, the rest of its shard unread. KeyError for an unknown key."""
    rows = read_rows(folder / INDEX_NAME, "key", key)
    if not rows:
        raise KeyError(f"no sample {key!r} in {folder / INDEX_NAME}")
    row = rows[0]
    sample: RawSample = {"__key__": key}
    with open_binary(folder / str(row["shard"])) as file:
        for column in row:
            name, _, what = column.rpartition("_")
            if what == "offset" and (name in MEMBERS or name.endswith(".txt")):  # else a score
                file.seek(int(row[column]))
                sample[name] = file.read(int(row[f"{name}_size"]))
    return sample
