"""Read samples: for training (`stream`), or as they lie in the shards, not verified and not decoded."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from open_sora_dataset import MEMBERS
from shards.captions import weights_of
from shards.catalog import read_catalog
from shards.clips import Sampling, bucket_of
from shards.index import read_rows
from shards.manifest import INDEX_NAME
from shards.order import Shuffle, Tail
from shards.places import place_of
from shards.samples import Check, Reader
from shards.wanted import Wanted

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


def stream(  # noqa: PLR0913
    path: str | os.PathLike[str],
    *,
    split: str = "train",
    revision: str | None = None,
    token: str | bool | None = None,
    keep: Sequence[str] = (),
    captions: str | Mapping[str, float] | None = None,
    decode: bool = True,
    num_frames: int | Sequence[int] | None = None,
    fps: float | None = None,
    start: Literal["random", "center"] = "random",
    aspects: Sequence[float] = (),
    batch_size: int | None = None,
    tail: Tail = "pad",
    shuffle: Shuffle | bool = True,
    seed: int = 0,
    rank: int | None = None,
    world: int | None = None,
    output: Literal["torch", "numpy"] = "torch",
    transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    check: Check = "first",
    buffer_bytes: int = 1 << 28,
) -> "Stream":
    """A torch IterableDataset of one rank's part of a dataset, in an order that can be taken up anywhere.

        data = stream("LanguageBind/Open-Sora-Plan", num_frames=33, fps=16, batch_size=4, keep=["motion.flow >= 1"])
        loader = data.loader(num_workers=4)
        for batch in loader:                # batch["video"]: uint8 [4, 33, H, W, 3], or a list where sizes differ
            train(batch)
            save(loader.state_dict())       # {seed, epoch, consumed}: go on with load_state_dict, on any number of
            ranks

    `path`: a folder, `<owner>/<name>` or `hf://datasets/<owner>/<name>` on the Hub (resolved to a commit once; give all
    ranks the same `revision` if it may be pushed to), or the http(s):// address that manifest.json lies under.

    What: `keep`, conditions as in `load`, looked up in the index: nothing is read of other samples. `captions`: a
    captioner, or weights for a mixture of several (default: the one of `txt`). `num_frames` at `fps` (frames a second
    of the clip's time; default: its own), from a random place, new in each epoch, or from its middle; shorter clips are
    left out. Of several `num_frames`, a clip gives the most it can. `decode=False`: `json`,
    `mp4` and `txt` are the bytes that stand in the shard.

    Batches: of `batch_size`, or single samples. With several `num_frames`, or `aspects` (width / height, each clip
    belongs to the nearest), a batch is of one length and aspect. `transform` changes a sample, in the worker; arrays of
    one shape are then stacked. `tail`: what becomes of samples that are no whole step for all ranks: repeat others,
    marked in `pad`; drop them; or let some ranks have fewer.

    Order: of `seed` and epoch alone, see `shards.order`; `shuffle=False` is that of the shards. `rank` of `world`:
    those of torch.distributed if it is initialised, else RANK and WORLD_SIZE, else the only one.

    Faults: a sample whose bytes are not those of the index, or that cannot be decoded, raises BadSampleError with shard
    and key; with `on_error="skip"` the last good one takes its place, marked in `pad` and counted in `skipped`. A store
    that does not answer is always an OSError. `check`: contents the first time a process reads them, always, or never.
    `buffer_bytes` bounds what a process fetches ahead from the Hub or a web server.

    Raises OSError, NewerFormatError, and ValueError for what cannot be asked for.
    """
    from shards.training import Stream, whose_part

    place = place_of(path, revision, token)
    catalog, index_sha256 = read_catalog(place, split, keep)
    lengths = (num_frames,) if isinstance(num_frames, int) else tuple(num_frames or ())
    if any(length < 1 for length in lengths) or (fps is not None and fps <= 0) or (batch_size or 1) < 1:
        raise ValueError("num_frames, fps and batch_size must be positive")
    sampling = Sampling(lengths, fps or 0.0, start)
    catalog = catalog.only(sampling.length(catalog) > 0)
    if not len(catalog):
        raise ValueError(f"{path}: no sample of {split!r} is as `keep` and `num_frames` ask for")
    length = sampling.length(catalog)
    bucket, aspect = bucket_of(catalog, length if len(lengths) > 1 else length * 0, aspects)
    bucketed = bool(batch_size) and (len(lengths) > 1 or bool(aspects))
    mixing = (Shuffle() if shuffle else None) if isinstance(shuffle, bool) else shuffle
    rank, world = whose_part(rank, world)
    wanted = Wanted(
        captions=weights_of(captions, catalog.captioners),
        sampling=sampling if decode else None,
        length=length,
        bucket=bucket if bucketed else None,
        aspect=aspect,
        aspects=tuple(aspects),
        batch_size=batch_size,
        tail=tail,
        shuffle=mixing,
        rank=rank,
        world=world,
        tensors=output == "torch",
        transform=transform,
        on_error=on_error,
    )
    asked = [index_sha256, repr(mixing), hashlib.sha256(catalog.row.tobytes()).hexdigest()]
    asked += [hashlib.sha256(bucket.tobytes()).hexdigest(), str(batch_size)] if bucketed else []
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    return Stream(catalog, Reader(catalog, place, check, buffer_bytes), wanted, seed, digest)
