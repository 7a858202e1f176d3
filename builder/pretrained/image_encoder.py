"""Image encoders to compare pictures by: one whose weights a package carries, or any model with image features."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from builder.errors import RunError
from builder.pretrained import imagenet
from builder.pretrained.hub import local_folder, missing, resolve
from builder.pretrained.threads import torch_threads
from builder.stage import require

OURS = "efficientnet-lite0"
AT_ONCE = 64  # inputs that a GPU is given
Encoder = Callable[[Sequence[NDArray[Any]]], NDArray[np.float32]]  # RGB images to unit vectors, (n, size)


def identity(model: str, revision: str) -> str:
    """What decides the vectors, beside the name."""
    return imagenet.SHA256[:16] if model == OURS else resolve(model, revision)


def load(model: str, revision: str, device: str) -> Encoder:
    """`efficientnet-lite0` (on the CPU), or a Hub id or folder of a model that transformers' AutoModel loads.

    Raises:
        RunError: it is not at hand, or gives no image features.
    """
    if model == OURS:
        for module in imagenet.NEEDED:
            require(module, "caption")
        network = imagenet.ImageNet()
        return lambda images: unit(network.features(images))
    return FeaturesOf(model, revision, device)


class FeaturesOf:
    """`get_image_features` of a model such as CLIP or SigLIP, in float32, with the preparation its authors chose."""

    def __init__(self, model: str, revision: str, device: str) -> None:
        for module in ("torch", "transformers"):
            require(module, "caption")
        import torch
        from transformers import AutoImageProcessor, AutoModel
        from transformers.utils.logging import disable_progress_bar

        cast(Any, disable_progress_bar)()  # the run shows its own

        folder = local_folder(model)
        where = {"trust_remote_code": False} | ({} if folder else {"revision": resolve(model, revision)})
        processors, networks = cast(Any, AutoImageProcessor), cast(Any, AutoModel)
        try:
            self._processor = processors.from_pretrained(str(folder or model), **where)
            network = networks.from_pretrained(str(folder or model), **where, use_safetensors=True, dtype=torch.float32)
        except (OSError, ValueError, ImportError) as error:
            raise RunError(missing(model, revision, error)) from error
        if not hasattr(network, "get_image_features"):
            raise RunError(f"{model} ({type(network).__name__}) has no image features; name a model such as CLIP")
        self._network, self._device = network.to(device).eval(), device
        # One at a time an input has the same vector to the last bit, whatever stands beside it. That costs a CPU a
        # quarter more. On a GPU, where batches are the point, vectors may differ in their last bits.
        self._together = 1 if torch.device(device).type == "cpu" else AT_ONCE

    def __call__(self, images: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        from PIL import Image

        pictures = [Image.fromarray(image) for image in images]
        return self._vectors(pictures, lambda some: self._processor(images=some, return_tensors="pt"), "image")

    def _vectors(self, inputs: Sequence[Any], prepare: Callable[[Sequence[Any]], Any], kind: str) -> NDArray[Any]:
        """Unit vectors of what `prepare` makes tensors of, from the network's features of this kind."""
        import torch

        features = getattr(self._network, f"get_{kind}_features")
        found = []
        with torch.inference_mode(), torch_threads(1):
            for start in range(0, len(inputs), self._together):
                some = features(**prepare(inputs[start : start + self._together]).to(self._device))
                found.append(some if isinstance(some, torch.Tensor) else some.pooler_output)  # as transformers 5 has it
        return unit(torch.cat(found).cpu().numpy())


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
