"""The network of TransNetV2 (arXiv 2008.04838), written after the paper and the shapes of its weights.

Every convolution of the paper is one over space (3x3) followed by one over time (3, dilated). Here both are 2-D
convolutions on one layout, (batch, time, height, width, channels): to the first a frame is an image, to the second
(time x pixels) is one; nothing is copied between them. The four branches of a cell read the same input, so their
convolutions over space are one, and batch normalisation is folded into the weights.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

FILTERS, INPUTS = (16, 32, 64), (3, 64, 128)
DILATIONS = (1, 2, 4, 8)
BAND = 101  # a frame is compared with the 50 before and the 50 after it
BINS = 512  # 3 bits each of red, green and blue
EPSILON = 1e-3  # of the batch normalisation the network was trained with


class TransNetV2(nn.Module):
    """From thumbnails, uint8 RGB (n, frames, 27, 48, 3), to probabilities, float32 (n, frames, 2).

    The first is that the frame is the middle of a transition (of a hard cut: the last frame of the old shot), the
    second that it is any frame of one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(inputs, filters) for inputs, filters in zip(INPUTS, FILTERS, strict=True))
        self.project = nn.Linear(4 * sum(FILTERS), 128)
        self.similar, self.colours = nn.Linear(BAND, 128), nn.Linear(BAND, 128)
        self.hidden = nn.Linear(4 * FILTERS[-1] * 3 * 6 + 256, 1024)
        self.heads = nn.Linear(1024, 2)

    def forward(self, frames: Tensor) -> Tensor:
        x = frames.float() / 255
        means = []
        for block in self.blocks:
            x = block(x)
            means.append(x.mean((2, 3)))
        looks = functional.normalize(self.project(torch.cat(means, 2)), dim=2)
        similar = functional.relu(self.similar(neighbours(looks)))
        colours = functional.relu(self.colours(neighbours(histograms(frames))))
        hidden = functional.relu(self.hidden(torch.cat([colours, similar, x.flatten(2)], 2)))
        return torch.sigmoid(self.heads(hidden))


class Block(nn.Module):
    """Two cells, the first added to the second, halved in height and width."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.first, self.second = Cell(inputs, filters), Cell(4 * filters, filters)

    def forward(self, x: Tensor) -> Tensor:
        first = functional.relu(self.first(x))
        both = functional.relu(self.second(first)) + first
        n, t, h, w, c = both.shape
        pooled = functional.avg_pool2d(both.view(n * t, h, w, c).permute(0, 3, 1, 2), 2)
        return pooled.permute(0, 2, 3, 1).reshape(n, t, h // 2, w // 2, c)


class Cell(nn.Module):
    """Four branches that look 1, 2, 4 and 8 frames far."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.space = nn.Conv2d(inputs, 8 * filters, 3, padding=1, bias=False)
        self.time = nn.ModuleList(
            nn.Conv2d(2 * filters, filters, (3, 1), padding=(d, 0), dilation=(d, 1)) for d in DILATIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        n, t, h, w, c = x.shape
        seen = self.space(x.reshape(n * t, h, w, c).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        branches = seen.reshape(n, t, h * w, -1).permute(0, 3, 1, 2).chunk(4, 1)
        joined = torch.cat([look(branch) for look, branch in zip(self.time, branches, strict=True)], 1)
        return joined.permute(0, 2, 3, 1).reshape(n, t, h, w, -1)


def neighbours(features: Tensor) -> Tensor:
    """Dot products of each frame's features with those of its neighbours, 0 beyond the ends: (n, frames, BAND)."""
    count, frames = features.shape[:2]
    products = functional.pad(features @ features.transpose(1, 2), (BAND // 2, BAND // 2))
    at = torch.arange(frames, device=features.device)[:, None] + torch.arange(BAND, device=features.device)
    return products.gather(2, at.expand(count, frames, BAND))


def histograms(frames: Tensor) -> Tensor:
    """How often each of 512 colours is seen, as a vector of length 1: (n, frames, 512)."""
    coarse = frames.long() >> 5
    bins = (coarse[..., 0] * 64 + coarse[..., 1] * 8 + coarse[..., 2]).flatten(2)
    counts = torch.zeros(*bins.shape[:2], BINS, device=frames.device)
    return functional.normalize(counts.scatter_add_(2, bins, torch.ones_like(bins, dtype=torch.float32)), dim=2)


def folded(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published weights, named and shaped as here."""
    ours: dict[str, Tensor] = {}
    for block in range(len(FILTERS)):
        for n, cell in enumerate(("first", "second")):
            theirs = f"SDDCNN.{block}.DDCNN.{n}."
            named = {k.removeprefix(theirs): v for k, v in published.items() if k.startswith(theirs)}
            ours |= {f"blocks.{block}.{cell}.{k}": v for k, v in folded_cell(named).items()}
    names = {"project": "frame_sim_layer.projection", "similar": "frame_sim_layer.fc", "colours": "color_hist_layer.fc"}
    for name, theirs in (names | {"hidden": "fc1"}).items():
        ours |= {f"{name}.{kind}": published[f"{theirs}.{kind}"] for kind in ("weight", "bias")}
    heads = ("cls_layer1", "cls_layer2")
    return ours | {f"heads.{kind}": torch.cat([published[f"{h}.{kind}"] for h in heads]) for kind in ("weight", "bias")}


def folded_cell(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    scale = published["bn.weight"] / torch.sqrt(published["bn.running_var"] + EPSILON)
    shift = published["bn.bias"] - published["bn.running_mean"] * scale
    space = [published[f"Conv3D_{d}.layers.0.weight"][:, :, 0] for d in DILATIONS]
    time = [published[f"Conv3D_{d}.layers.1.weight"][..., 0] for d in DILATIONS]
    ours = {"space.weight": torch.cat(space)}
    for n, (weight, factor, bias) in enumerate(zip(time, scale.chunk(4), shift.chunk(4), strict=True)):
        ours |= {f"time.{n}.weight": weight * factor[:, None, None, None], f"time.{n}.bias": bias.clone()}
    return ours
