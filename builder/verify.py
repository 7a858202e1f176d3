"""Prove a dataset: what `shards.verify` finds, and that its clips decode, in the guarded child."""

import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.errors import ConfigError, ItemError
from builder.media.guard import Guard
from builder.published import dataset_folder, is_published
from builder.storage import memory_file
from shards.index import Row, read_rows
from shards.manifest import INDEX_NAME, read_manifest
from shards.manifest import NAME as MANIFEST_NAME
from shards.verify import Problem
from shards.verify import verify as verify_bytes

SAMPLED = 3  # of each shard: the first, one in the middle, the last


@dataclass(frozen=True)
class Verified:
    """What was looked at, and all that is wrong."""

    path: str
    shards: int
    samples: int
    decoded: int
    problems: Sequence[Problem]

    def to_json(self) -> str:
        return json.dumps({"intact": not self.problems, **dataclasses.asdict(self)}, indent=1, ensure_ascii=False)

    def show(self) -> None:
        """The problems on stderr, what they come to on stdout."""
        for problem in self.problems:
            print(problem, file=sys.stderr)  # noqa: T201
        dataset = Path(self.path, "dataset")
        if any(problem.path == MANIFEST_NAME for problem in self.problems) and dataset.is_dir():
            print(f"{self.path} is a run; its dataset is {dataset}", file=sys.stderr)  # noqa: T201
        decoded = f", {self.decoded} clips decoded" if self.decoded else ""
        print(f"{self.path}: {f'problems: {len(self.problems)}' if self.problems else f'verified{decoded}'}")  # noqa: T201


def verify(address: str, decode: str = "none") -> Verified:
    """A folder, or `hf://OWNER/NAME` without keeping it: every byte is read once, and of the clips to `decode` (none, a
    sample, or all; of a folder only) those of the video twice.

    Raises:
        ConfigError: `decode` is something else.
        RunError: the Hub cannot be read.
    """
    if decode not in ("none", "sample", "all"):
        raise ConfigError(f"--decode {decode}: choose none, sample or all")
    if decode != "none" and is_published(address):
        raise ConfigError("--decode is for a folder: download the dataset (hf download), then verify that")
    with dataset_folder(address) as folder:
        return verify_folder(address, folder, decode)


def verify_folder(address: str, folder: Path, decode: str) -> Verified:
    problems = verify_bytes(folder)
    try:
        manifest = read_manifest(folder)
    except (OSError, ValueError):
        return Verified(address, 0, 0, 0, problems)
    decoded = 0
    if decode != "none" and not any(problem.path == INDEX_NAME for problem in problems):
        with Guard() as guard:
            for entry in manifest.shards:
                rows = read_rows(folder / INDEX_NAME, "shard", entry.path)
                for row in rows if decode == "all" else sampled(rows):
                    decoded += 1
                    problems += decoding_problem(guard, folder, row)
    return Verified(address, len(manifest.shards), manifest.totals.samples, decoded, problems)


def sampled(rows: Sequence[Row]) -> list[Row]:
    return [rows[n] for n in sorted({n * (len(rows) - 1) // (SAMPLED - 1) for n in range(SAMPLED)})] if rows else []


def decoding_problem(guard: Guard, folder: Path, row: Row) -> Iterator[Problem]:
    """Whether a clip gives, whole, the frames that its row promises, in that size."""
    from builder.media.readable import shown

    shard, key = str(row["shard"]), str(row["key"])
    try:
        with in_memory(folder / shard, int(row["mp4_offset"]), int(row["mp4_size"])) as clip:
            found = guard.call(shown, clip, int(row["frames"]), True)
    except (ItemError, OSError) as error:
        yield Problem(shard, f"sample {key}: the video cannot be decoded: {error}", key)
        return
    if isinstance(found, str):
        yield Problem(shard, f"sample {key}: {found}", key)
    elif found.size != (row["width"], row["height"]):
        size = f"{found.size[0]}x{found.size[1]}"
        yield Problem(shard, f"sample {key}: shows {size}, its row says {row['width']}x{row['height']}", key)


@contextmanager
def in_memory(path: Path, offset: int, size_bytes: int) -> Iterator[Path]:
    """A part of a file under a name of its own."""
    with memory_file() as (copy, memory):
        with path.open("rb") as file:
            left = size_bytes
            while left and (sent := os.sendfile(memory, file.fileno(), offset + size_bytes - left, left)):
                left -= sent
        yield copy
