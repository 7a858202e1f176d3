"""Read samples: for training (`stream`), or as they lie in the shards, not verified and not decoded."""

import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from open_sora_dataset import MEMBERS
from shards.catalog import read_catalog
from shards.index import read_rows
from shards.manifest import INDEX_NAME
from shards.places import place_of
from shards.samples import Reader
from shards.wanted import Asked, digest_of, wanted_of

if TYPE_CHECKING:
    from shards.training import Stream

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


def stream(path: str | os.PathLike[str], **options: Any) -> "Stream":
    """A torch IterableDataset of one rank's part of a dataset, in an order that can be taken up anywhere.

        data = stream("LanguageBind/Open-Sora-Plan", num_frames=33, fps=16, batch_size=4, keep=["motion.flow >= 1"])
        loader = data.loader(num_workers=4)
        for batch in loader:                # batch["video"]: uint8 [4, 33, H, W, 3], or a list where sizes differ
            train(batch)
            save(loader.state_dict())       # load_state_dict goes on there, on any number of ranks

    `path`: a folder, `<owner>/<name>` or `hf://datasets/<owner>/<name>` on the Hub (resolved to a commit once; give all
    ranks the same `revision` if it may be pushed to), or the http(s):// address that manifest.json lies under.

    `options`: the fields of `shards.wanted.Asked`, where each is explained.

    Raises OSError, NewerFormatError, and ValueError for what cannot be asked for.
    """
    from shards.training import Stream, whose_part

    asked = Asked(**options)
    asked.check_values()
    place = place_of(path, asked.revision, asked.token)
    catalog, index_sha256 = read_catalog(place, asked.split, asked.keep)
    catalog = catalog.only(asked.sampling.length(catalog) > 0)
    if not len(catalog):
        raise ValueError(f"{path}: no sample of {asked.split!r} is as `keep` and `num_frames` ask for")
    wanted = wanted_of(asked, catalog, whose_part(asked.rank, asked.world))
    reader = Reader(catalog, place, asked.check, asked.buffer_bytes)
    return Stream(catalog, reader, wanted, asked.seed, digest_of(wanted, catalog, index_sha256))
