"""The torch dataset that `stream()` gives, and a loader that counts. `shards.order` says why counting is enough.

The only module of this package that imports torch: what a trainer asks for is a torch IterableDataset. It is imported
by `stream()`, never by `import shards` or the build tool.
"""

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from shards.captions import chosen
from shards.catalog import Catalog
from shards.clips import Sampling, decode
from shards.order import NOBODY, Ints, Steps, deal, deal_buckets, noise, sequence
from shards.samples import BadSampleError, Raw, Reader
from shards.wanted import Unit, Wanted

HOPELESS = 32  # samples that cannot be read, one after the other: no bad samples, but a bad dataset


class Stream(IterableDataset[Unit]):
    """This rank's part of an epoch, from where `state_dict` stands. Made by `shards.stream.stream`.

    Without workers the stream counts what it gives out. With workers it is the trainer's process that counts, as it
    alone knows what was trained on: `loader()` does that, or `mark(batch)` in a loop over a DataLoader of your own,
    which must be one with `batch_size=None`. An epoch that is complete is followed by the next, without `set_epoch`.
    """

    def __init__(self, catalog: Catalog, reader: Reader, wanted: Wanted, seed: int, digest: str) -> None:
        self.catalog, self.reader, self.wanted, self.digest = catalog, reader, wanted, digest
        # Seed, epoch, consumed. A worker begins from its copy, made when the loader made the worker: the trainer may
        # count before a slow worker has begun. One that is kept begins again from what all have in common.
        self.place, self.begun = (seed, 0, 0), False
        self.common = torch.tensor(self.place)
        self.common.share_memory_()  # type: ignore[no-untyped-call]
        self.order: tuple[tuple[int, int], Ints] | None = None
        # What one of several workers says of itself to a loader that asks each (torchdata's), and was told by it.
        self.own: dict[str, int] = {}
        self.told: dict[str, int] = {}
        if not len(self._steps(seed, 0, 0).rows):
            need = (wanted.batch_size or 1) * wanted.world
            raise ValueError(f"{len(catalog)} samples are left, not one step of {need} for all ranks: ask for fewer")

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "order": None}

    # -- where it stands
    def state_dict(self) -> dict[str, Any]:
        """`seed`, `epoch`, and the samples all ranks together have `consumed` of it; `of` names what was asked for."""
        return dict(zip(("seed", "epoch", "consumed"), self.place, strict=True)) | {"of": self.digest} | self.own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there, with any number of ranks and workers. ValueError for a state of another dataset or selection."""
        if state.get("of", self.digest) != self.digest:
            raise ValueError(
                "this state is of another dataset, revision, split, choice or (with buckets) batch size: "
                "its count would point at other samples. Ask for the same (on the Hub: revision=...), or begin the "
                "epoch anew: set_epoch(state['epoch'])"
            )
        seed, epoch, consumed = (int(state[name]) for name in ("seed", "epoch", "consumed"))
        if not 0 <= consumed <= len(self.catalog) or epoch < 0:
            raise ValueError(f"no such place: epoch {epoch}, {consumed} of {len(self.catalog)} samples")
        if "next" in state:
            self.told = {"seed": seed, "epoch": epoch, "consumed": int(state["next"])}
        else:
            self._stand(seed, epoch, consumed)
            self.share()

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of another epoch; stay where you are if it is the one under way."""
        if epoch != self.epoch:
            self._stand(self.place[0], epoch, 0)
            self.share()

    def mark(self, batch: Mapping[str, Any]) -> None:
        """This batch, and with it the same step of all ranks, has been trained on. Twice does no harm."""
        after = np.atleast_1d(np.asarray(batch["consumed"]))
        if len(after) > 1 and (np.diff(after) > self.wanted.world).any():
            raise ValueError(
                "this batch was made of every n-th sample: give batch_size to stream(), None to DataLoader"
            )
        epochs = np.atleast_1d(np.asarray(batch["epoch"]))
        self._stand(self.place[0], int(epochs[-1]), int(after[-1]))
        if self.place[2] == 0:
            self.share()

    def share(self) -> None:
        """Let workers that are kept begin here, when they are next asked to begin."""
        if not get_worker_info():
            self.common[:] = torch.tensor(self.place)

    def _stand(self, seed: int, epoch: int, consumed: int) -> None:
        self.place = (seed, epoch, consumed) if consumed < len(self.catalog) else (seed, epoch + 1, 0)

    # -- what there is
    @property
    def epoch(self) -> int:
        return self.place[1]

    def __len__(self) -> int:
        """Batches (samples without `batch_size`) of this rank in a whole epoch."""
        seed, epoch, _ = self.place
        return len(self._busy(self._steps(seed, epoch, 0)))

    def loader(self, num_workers: int = 0, **options: Any) -> "Loader":
        """Give this to the trainer: batches in order, counted. `options` go to torch's DataLoader."""
        return Loader(self, num_workers, options)

    def _steps(self, seed: int, epoch: int, consumed: int) -> Steps:
        c, w = self.catalog, self.wanted
        if self.order is None or self.order[0] != (seed, epoch):
            self.order = (seed, epoch), sequence(c.shard, c.end - c.start, w.shuffle, seed, epoch)
        order, batch = self.order[1], w.batch_size or 1
        if w.bucket is None:
            return deal(order, consumed, w.world, batch, w.tail)
        return deal_buckets(order, w.bucket, consumed, w.world, batch, w.tail)

    def _busy(self, steps: Steps) -> Ints:
        """The steps in which this rank has something to do: all, but for an uneven end."""
        busy: Ints = np.flatnonzero((steps.rows[:, self.wanted.rank] != NOBODY).any(1))
        return busy

    # -- going through it
    def __iter__(self) -> Iterator[Unit]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        seed, epoch, consumed = self.common.tolist() if self.begun else self.place
        self.begun = worker is not None
        if self.told:
            (seed, epoch, consumed), first, self.told = self.told.values(), 0, {}
        steps = self._steps(seed, epoch, consumed)
        busy = self._busy(steps)
        after = np.append(steps.consumed[busy[:-1]], len(self.catalog))  # nothing comes after this rank's last
        places = range(first, len(busy), stride)
        mine, repeats = (a[busy[first::stride], self.wanted.rank] for a in (steps.rows, steps.repeats))
        samples = self._samples(seed, epoch, map(int, mine[mine != NOBODY]), steps)
        for place, count, repeat in zip(places, (mine != NOBODY).sum(1), repeats, strict=True):
            unit = self._unit(list(itertools.islice(samples, count)), repeat)
            unit["epoch"], unit["consumed"] = epoch, after.item(place)
            if worker:
                following = after.item(min(place + stride, len(after)) - 1)
                self.own = {"seed": seed, "epoch": epoch, "consumed": unit["consumed"], "next": following}
            else:
                self._stand(seed, epoch, unit["consumed"])
            yield unit

    def _unit(self, samples: list[tuple[Unit, bool]], repeats: Any) -> Unit:
        if not self.wanted.batch_size:
            ((unit, good),) = samples
            return {**unit, "pad": bool(repeats[0]) or not good, "skipped": int(not good)}
        pads = zip(samples, repeats.tolist(), strict=False)
        units = [{**unit, "pad": repeat or not good} for (unit, good), repeat in pads]
        return {**stacked(units), "skipped": sum(not good for _, good in samples)}

    def _samples(self, seed: int, epoch: int, rows: Iterator[int], steps: Steps) -> Iterator[tuple[Unit, bool]]:
        """Each sample, and whether it is the one asked for: in the place of a bad one stands the last good one."""
        if self.wanted.on_error == "raise":
            yield from ((self._made(got, seed, epoch), True) for got in self.reader.read(rows))
            return
        last: Unit | None = None
        failed = 0
        for got in self.reader.read(rows):
            try:
                last, failed = self._made(got, seed, epoch), 0
                yield last, True
                continue
            except BadSampleError as error:
                failed += 1
                if failed > HOPELESS:
                    raise
                last = last or self._other(seed, epoch, steps, error)
            yield last, False

    def _other(self, seed: int, epoch: int, steps: Steps, error: BadSampleError) -> Unit:
        """Where no good sample came before the first bad one: any that can be read."""
        for got in self.reader.read(int(row) for row in steps.rows[:, self.wanted.rank].flat if row != NOBODY):
            try:
                return self._made(got, seed, epoch)
            except BadSampleError:
                continue
        raise error

    def _made(self, got: Raw | BadSampleError, seed: int, epoch: int) -> Unit:
        if isinstance(got, BadSampleError):
            raise got
        wanted, number = self.wanted, got.number
        chance = int(noise(self.catalog.row[number], seed, epoch, 2)) if wanted.chancy else 0
        try:
            name, member = chosen(wanted.captions, chance, self.catalog.captioners)
            text = got.texts[member]
            unit = {"__key__": got.key, "json": got.json, "mp4": got.video, "txt": text, "captioner": name}
            if wanted.sampling:
                unit |= {
                    "json": json.loads(got.json),
                    "txt": text.decode(),
                    **self._video(wanted.sampling, got, chance),
                }
                del unit["mp4"]
        except (ValueError, KeyError) as error:
            shard = self.catalog.shards[int(self.catalog.shard[number])]
            raise BadSampleError(f"{shard}: sample {got.key}: {error}") from error
        if wanted.bucket is not None:
            aspect = wanted.aspects[wanted.aspect[number]] if wanted.aspects else 0.0
            unit["bucket"] = (aspect, int(wanted.length[number]))
        return wanted.transform(unit) if wanted.transform else unit

    def _video(self, sampling: Sampling, got: Raw, chance: int) -> Unit:
        c, number = self.catalog, got.number
        count = int(c.frames[number])
        frames = sampling.frames(count, float(c.fps[number]), int(self.wanted.length[number]), chance >> 32)
        video = decode(got.video, count, frames)
        return {"video": torch.from_numpy(video) if self.wanted.tensors else video, "frames": frames.tolist()}


def stacked(units: Sequence[Unit]) -> Unit:
    """A batch: tensors and arrays of one shape become one, everything else a list."""
    return {name: _stack([unit[name] for unit in units]) for name in units[0]}


def _stack(values: list[Any]) -> Any:
    known: Mapping[type, Callable[[Any], Any]] = {torch.Tensor: torch.stack, np.ndarray: np.stack, bool: np.array}
    stack = known.get(type(values[0]))
    alike = len({(type(value), getattr(value, "shape", ())) for value in values}) == 1
    return stack(values) if stack and alike else values


def as_it_is(batch: Unit) -> Unit:
    return batch


class Loader:
    """Batches in the order of the sequence, each counted when it is given out. `pads` and `skipped` count samples that
    repeat others, and bad ones. No DataLoader, so that `accelerator.prepare` leaves it alone: ranks are dealt with
    here."""

    def __init__(self, data: Stream, num_workers: int, options: Mapping[str, Any]) -> None:
        self.data, self.pads, self.skipped = data, 0, 0
        whole = {"batch_size": None, "num_workers": num_workers, "collate_fn": as_it_is, **options}
        if whole["batch_size"] is not None or not whole.get("in_order", True):
            raise ValueError("batch_size goes to stream(), and batches must come in order: the count says which came")
        self.torch_loader = DataLoader(data, **whole)

    def __iter__(self) -> Iterator[Unit]:
        self.data.share()
        for batch in self.torch_loader:
            self.data.mark(batch)
            self.pads += int(np.sum(np.asarray(batch["pad"])))
            self.skipped += int(batch["skipped"])
            yield batch

    def __len__(self) -> int:
        return len(self.data)

    def set_epoch(self, epoch: int) -> None:
        self.data.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        return self.data.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.data.load_state_dict(state)


def whose_part(rank: int | None, world: int | None) -> tuple[int, int]:
    """Given, or of the process group, or as torchrun and accelerate tell their processes."""
    if (rank is None) != (world is None):
        raise ValueError("give rank and world, or neither")
    if rank is None or world is None:
        if distributed.is_available() and distributed.is_initialized():
            rank, world = distributed.get_rank(), distributed.get_world_size()
        else:
            rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if not 0 <= rank < world:
        raise ValueError(f"rank {rank} of {world} ranks does not exist")
    return rank, world
