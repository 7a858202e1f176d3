"""Train the network of the detector `auto` on made edits, and write builder/pretrained/transitions.npz.

    python training/transitions.py FOLDER [--examples 1500] [--epochs 9] [--out transitions.npz]

FOLDER holds the footage that footage.tsv lists: openly licensed videos (or spans of them) of one shot each. They are
known by their sha256, so names do not matter; what is missing is named. Needs the extra `caption` (torch).
"""

import argparse
import csv
import hashlib
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from builder.pretrained.differences import differences
from builder.pretrained.transitions import CHANNELS, DILATIONS
from edits import example
from shots import HIGH, LEAST, WIDE, Footage

LIST = Path(__file__).with_name("footage.tsv")
TARGET = Path(__file__).parents[1] / "builder" / "pretrained" / "transitions.npz"
MEMBERS = 3  # networks that vote
WINDOW, BATCH = 384, 16  # frames of a training window; windows of a step
RATE, DECAY, NOISE, DROPPED = 3e-3, 1e-2, 0.1, 0.1  # noise and dropped features: so that none is relied upon
CUT_WEIGHT, RARE = 6.0, 4.0  # cuts are one frame in a hundred

Labelled = tuple[NDArray[np.float32], NDArray[np.float32]]  # (n, features), (n, [cut, gradual, unsure])


class Network(nn.Module):
    """Five residual layers that see 2, 4, 8, 16 and 32 frames further; two answers for each frame."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(features, CHANNELS, 1)
        self.taps = nn.ModuleList(nn.Conv1d(CHANNELS, CHANNELS, 3, dilation=d, padding=d) for d in DILATIONS)
        self.mixed = nn.ModuleList(nn.Conv1d(CHANNELS, CHANNELS, 1) for _ in DILATIONS)
        self.last = nn.Conv1d(CHANNELS, 2, 1)

    def forward(self, features: Tensor) -> Tensor:
        hidden = torch.relu(self.first(features))
        for taps, mixed in zip(self.taps, self.mixed, strict=True):
            hidden = hidden + mixed(torch.relu(taps(hidden)))
        return self.last(torch.relu(hidden))


def footage(folder: Path) -> Footage:
    by_hash = {hashlib.sha256(p.read_bytes()).hexdigest(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    with LIST.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    missing = [row["file"] for row in rows if row["sha256"] not in by_hash]
    if missing:
        sys.exit(f"{folder} lacks {len(missing)} of {len(rows)} files of {LIST.name}: {', '.join(missing[:5])} ...")
    videos = [pictures(by_hash[row["sha256"]], int(row["first"]), int(row["last"])) for row in rows]
    return Footage([video for video in videos if len(video) >= LEAST])


def pictures(path: Path, first: int, last: int) -> NDArray[np.uint8]:
    """Frames first <= f < last, upright, (n, 54, 96, 3)."""
    scaler, taken = VideoReformatter(), []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if number >= last:
                break
            turns = round(frame.rotation / 90) % 4
            size = (HIGH, WIDE) if turns % 2 else (WIDE, HIGH)
            if number >= first:
                small = scaler.reformat(frame, *size, "rgb24", interpolation=Interpolation.AREA, threads=1)
                taken.append(np.rot90(small.to_ndarray(), turns))
    return np.stack(taken) if taken else np.zeros((0, HIGH, WIDE, 3), np.uint8)


def hold(held: Footage) -> None:
    """In a worker, once: the footage is too large to be sent with every task."""
    cv2.setNumThreads(1)
    globals()["HELD"] = held


def labelled(seed: int) -> Labelled:
    made = example(seed, globals()["HELD"])
    return differences(made.pictures), np.stack([made.cut, made.gradual, made.unsure], axis=1)


def trained(examples: list[Labelled], epochs: int, scale: Labelled, seed: int) -> Network:
    torch.manual_seed(seed)
    rng, network = np.random.default_rng(1), Network(len(scale[0]))
    long = [(torch.from_numpy((x - scale[0]) / scale[1]), torch.from_numpy(y)) for x, y in examples if len(x) >= WINDOW]
    steps = epochs * sum(len(x) for x, _ in examples) // (WINDOW * BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        windows = [window(*long[rng.integers(len(long))], rng) for _ in range(BATCH)]
        loss = step_loss(network, *(torch.stack(part) for part in zip(*windows, strict=True)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 200 == 0:
            print(f"  step {step} of {steps}: loss {loss.item():.4f}", flush=True)
    return network


def window(features: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    first = int(rng.integers(0, len(features) - WINDOW + 1))
    return features[first : first + WINDOW], labels[first : first + WINDOW]


def step_loss(network: Network, features: Tensor, labels: Tensor) -> Tensor:
    features = features + NOISE * torch.randn_like(features)
    features = features * (torch.rand(len(features), 1, features.shape[2]) > DROPPED)
    found, wanted = network(features.transpose(1, 2)), labels.transpose(1, 2)
    cut, gradual = (
        binary_cross_entropy_with_logits(found[:, n], wanted[:, n], reduction="none", pos_weight=torch.tensor(rare))
        for n, rare in enumerate((RARE, 1.0))
    )
    sure = 1 - wanted[:, 2]
    return CUT_WEIGHT * (cut * sure).mean() + (gradual * sure).mean()


def arrays(networks: list[Network], scale: Labelled) -> dict[str, NDArray[Any]]:
    """As builder/pretrained/transitions.py reads them: matrices to multiply with, one of each for every member."""
    held = {
        "first": [n.first.weight[..., 0].T for n in networks],
        "first_bias": [n.first.bias for n in networks],
        "taps": [torch.stack([t.weight.permute(2, 1, 0) for t in n.taps]) for n in networks],
        "taps_bias": [torch.stack([t.bias for t in n.taps]) for n in networks],
        "mixed": [torch.stack([m.weight[..., 0].T for m in n.mixed]) for n in networks],
        "mixed_bias": [torch.stack([m.bias for m in n.mixed]) for n in networks],
        "last": [n.last.weight[..., 0].T for n in networks],
        "last_bias": [n.last.bias for n in networks],
    }
    stacked = {name: torch.stack(parts).detach().numpy().astype(np.float32) for name, parts in held.items()}
    return {"mean": scale[0], "deviation": scale[1], **stacked}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--examples", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--out", type=Path, default=TARGET)
    given = parser.parse_args()
    torch.set_num_threads(1)
    held = footage(given.folder)
    print(f"{len(held.videos)} videos, {sum(len(video) for video in held.videos)} frames")
    with ProcessPoolExecutor(mp_context=get_context("fork"), initializer=hold, initargs=(held,)) as pool:
        examples = list(pool.map(labelled, range(given.examples), chunksize=4))
    seen = np.concatenate([features for features, _ in examples])
    scale = seen.mean(axis=0), seen.std(axis=0) + 1e-6
    print(f"{len(examples)} examples, {len(seen)} frames")
    networks = [trained(examples, given.epochs, scale, seed) for seed in range(MEMBERS)]
    np.savez(given.out, **arrays(networks, scale))
    print(f"wrote {given.out}, {given.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
