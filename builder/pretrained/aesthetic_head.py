"""Heads of aesthetic predictors: the few layers that turn the vector of an image encoder into one number.

LAION's heads (sa_0_4_vit_l_14_linear.pth; sac+logos+ava1-l14-linearMSE.pth and its relatives) and the one of
aesthetic-predictor-v2-5 are chains of linear layers, on vectors of length 1, with dropout between them that only
training sees. Of those named linearMSE nothing else is between the layers; of those named reluMSE a rectifier.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.errors import RunError
from builder.pretrained.cache import prepared
from builder.pretrained.hub import local_folder, missing
from builder.stage import require

Layer = tuple[NDArray[np.float64], NDArray[np.float64]]  # weights (out, in) and bias (out)

KNOWN = {  # pickled heads that are read without `head_sha256`
    "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",  # sac+logos+ava1-l14-linearMSE.pth, 3.7 MB
}
FILE = "model.safetensors"
ADVICE = (
    "set `head` to the weights of an aesthetic predictor: no package carries one. Where there is internet: "
    "`hf download openai/clip-vit-large-patch14` and `hf download ttj/sac-logos-ava1-l14-linearMSE`, then "
    'head = "ttj/sac-logos-ava1-l14-linearMSE", or the path of a .safetensors or .pth file'
)


class AestheticHead:
    """The layers, from the vector to the number."""

    def __init__(self, path: Path, rectified: bool) -> None:
        self._layers, self._rectified = chain(path), rectified

    @property
    def size(self) -> int:
        """Of the vectors it takes."""
        return int(self._layers[0][0].shape[1])

    def __call__(self, vectors: Sequence[NDArray[np.float32]]) -> list[float]:
        return [self._one(np.asarray(vector, np.float64)) for vector in vectors]

    def _one(self, vector: NDArray[np.float64]) -> float:
        *hidden, (weights, bias) = self._layers
        for inner, inner_bias in hidden:
            vector = inner @ vector + inner_bias
            vector = np.maximum(vector, 0) if self._rectified else vector
        return float((weights @ vector + bias)[0])


@cache
def locate(head: str, revision: str, sha256: str) -> tuple[Path, str]:
    """The safetensors file of a head and what identifies it: a file's sha256, or the commit of a Hub repository.

    Raises:
        RunError: it is not at hand, it is not the file that `sha256` asks for, or it is a pickle nobody vouches for.
    """
    require("safetensors", "caption")
    if not head:
        raise RunError(f"[score.aesthetic]: {ADVICE}")
    path = local_folder(head)
    if path is None:
        return from_hub(head, revision)
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise RunError(f"[score.aesthetic]: there is no {file}; {ADVICE}")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if sha256 and found != sha256:
        raise RunError(f"{file} has sha256 {found}, expected {sha256}; download it again, or correct `head_sha256`")
    if file.suffix == ".safetensors":
        return file, found
    if not sha256 and found not in KNOWN:
        raise RunError(f"{file} is a pickle that is not known; if you trust it, set head_sha256 = {found!r}")
    return prepared(f"aesthetic-head-{found[:16]}", partial(convert, file)) / FILE, found


def from_hub(head: str, revision: str) -> tuple[Path, str]:
    from huggingface_hub import hf_hub_download

    try:
        path = Path(hf_hub_download(head, FILE, revision=revision))
    except (OSError, ValueError) as error:
        raise RunError(missing(head, revision, error)) from error
    return path, path.parent.name  # …/snapshots/<commit>/model.safetensors


def convert(source: Path, folder: Path) -> None:
    """A .pth file is a pickle: it is read once, for tensors only, and kept as safetensors."""
    require("torch", "caption")
    from pickle import UnpicklingError

    import torch
    from safetensors.torch import save_file

    try:
        weights = torch.load(source, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise RunError(f"{source} holds more than tensors, or is no such file: it is not read") from error
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / FILE)


def chain(path: Path) -> list[Layer]:
    """The linear layers of a file, in order of their numbers.

    Raises:
        RunError: there is something else in it, or the layers do not lead from one to the next and to one number.
    """
    from safetensors.numpy import load_file

    held: Mapping[str, NDArray[Any]] = load_file(path)
    names = sorted((n for n in held if re.search(r"(^|\.)weight$", n)), key=number)
    layers = [layer(held, name) for name in names if name.removesuffix("weight") + "bias" in held]
    sizes = [weights.shape for weights, _ in layers if weights.ndim == 2]  # noqa: PLR2004  (a matrix)
    leads = all(before[0] == after[1] for before, after in pairwise(sizes))
    if not sizes or 2 * len(sizes) != len(held) or not leads or sizes[-1][0] != 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(held.items())[:6])
        raise RunError(f"{path} is no chain of linear layers that ends in one number; it holds {shapes}…")
    return layers


def layer(held: Mapping[str, NDArray[Any]], name: str) -> Layer:
    weights, bias = held[name], held[name.removesuffix("weight") + "bias"]
    return np.asarray(weights, np.float64), np.asarray(bias, np.float64)


def number(name: str) -> int:
    """`layers.4.weight` is layer 4; a head of one layer may have none."""
    found = re.search(r"(\d+)\.weight$", name)
    return int(found[1]) if found else 0
