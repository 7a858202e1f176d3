"""PaddleOCR's detector and recogniser on its ONNX engine, with the PP-OCRv6 small weights out of rapidocr's wheel.

Nothing is downloaded: each network gets a folder with its weights and the recipe (`inference.yml`) that
PaddleOCR would have fetched with them.
"""

import json
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.errors import RunError
from builder.pretrained.cache import packaged, prepared
from builder.stage import require

DETECTOR = ("PP-OCRv6_small_det", "models/PP-OCRv6_det_small.onnx")
RECOGNISER = ("PP-OCRv6_small_rec", "models/PP-OCRv6_rec_small.onnx")
SHA256 = {
    "PP-OCRv6_small_det": "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    "PP-OCRv6_small_rec": "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
}
BOX_SCORE = 0.6  # as PaddleOCR publishes it
LEAST_SIDE = 32  # pixels: the network's grid
COLUMN = 1.5  # higher than this times its width, a box holds a column of text
OFFLINE = {"PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"}  # else an import asks four hosts which one answers


@dataclass(frozen=True)
class Box:
    """Where text may be: four corners (x, y) in pixels, clockwise from the top left one, and how sure (0 ... 1)."""

    corners: NDArray[np.float32]
    score: float


@dataclass(frozen=True)
class Line:
    """A line of text on a picture: its four corners (x, y) in pixels, what it says, how sure (0 ... 1)."""

    corners: NDArray[np.float32]
    text: str
    score: float


class PPOCR:
    """Both networks, loaded once onto a device, named as torch does. One thread: the runner decides how many work side
    by side.

    Raises:
        RunError: a package is missing, or the device is a GPU that this ONNX Runtime cannot use.
    """

    def __init__(self, device: str = "cpu") -> None:
        for module in ("paddleocr", "onnxruntime", "rapidocr"):
            require(module, "ocr")
        os.environ |= OFFLINE
        from paddleocr import TextDetection, TextRecognition

        threads = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
        given = {"device": paddle_device(device), "engine": "onnxruntime", "engine_config": threads}
        detector, recogniser = (folder_of(*model) for model in (DETECTOR, RECOGNISER))
        self._detector = TextDetection(model_name=DETECTOR[0], model_dir=str(detector), **given)
        self._recogniser = TextRecognition(model_name=RECOGNISER[0], model_dir=str(recogniser), **given)

    def boxes(self, image: NDArray[Any], scale: float = 1.0, least: float = BOX_SCORE) -> list[Box]:
        """What may hold text in an RGB picture, with at least a score of `least`, from the top down.

        The network sees the picture scaled by `scale`; a half costs a quarter.
        """
        height, width = image.shape[:2]
        size = max(LEAST_SIDE, round(width * scale)), max(LEAST_SIDE, round(height * scale))
        seen = image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        [found] = self._detector.predict(cv2.cvtColor(seen, cv2.COLOR_RGB2BGR), box_thresh=least)
        back = np.array([width / size[0], height / size[1]], np.float32)
        boxes = [
            Box(np.asarray(corners, np.float32) * back, float(score))
            for corners, score in zip(found["dt_polys"], found["dt_scores"], strict=True)
        ]
        return sorted(boxes, key=lambda box: (float(box.corners[0, 1]), float(box.corners[0, 0])))

    def read(self, image: NDArray[Any], corners: NDArray[np.float32]) -> Line:
        """What a box of an RGB picture says."""
        [found] = self._recogniser.predict(np.ascontiguousarray(cut_out(image, corners)[..., ::-1]))
        return Line(corners, str(found["rec_text"]).strip(), float(found["rec_score"]))


def paddle_device(device: str) -> str:
    """`cuda:1` as PaddleOCR calls it.

    Raises:
        RunError: the installed ONNX Runtime has no CUDA.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return "cpu"
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise RunError("this onnxruntime has no CUDA; run: pip install onnxruntime-gpu, or use the CPU")
    return f"gpu:{index or 0}"


def cut_out(image: NDArray[Any], box: NDArray[np.float32]) -> NDArray[Any]:
    """The box, upright and rectangular; a column of text is turned to a row, as the recogniser reads rows."""
    top, right, bottom, left = (float(np.linalg.norm(box[i] - box[(i + 1) % 4])) for i in range(4))
    width, height = max(1, round(max(top, bottom))), max(1, round(max(left, right)))
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    warp = cv2.getPerspectiveTransform(box, corners)
    size = (width, height)
    cut = cv2.warpPerspective(image, warp, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.rot90(cut) if height >= COLUMN * width else cut


def folder_of(name: str, weights: str) -> Path:
    """The model folder that PaddleOCR asks for, made at first use."""
    source = packaged("rapidocr", weights, SHA256[name], "ocr")
    return prepared(f"{name}-{SHA256[name][:8]}", partial(fill, name, source))


def fill(name: str, source: Path, folder: Path) -> None:
    shutil.copyfile(source, folder / "inference.onnx")
    recipe = detector_recipe() if name == DETECTOR[0] else recogniser_recipe(source)
    # JSON is YAML, and needs no library to be written.
    (folder / "inference.yml").write_text(json.dumps({"Global": {"model_name": name}, **recipe}))


def detector_recipe() -> dict[str, Any]:
    """As PaddleOCR publishes it: long side at most 960, ImageNet statistics, differentiable binarisation."""
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    steps = [
        {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
        {"DetLabelEncode": None},
        {"DetResizeForTest": {"resize_long": 960}},
        {"NormalizeImage": {"mean": mean, "std": std, "scale": "1./255.", "order": "hwc"}},
        {"ToCHWImage": None},
        {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}},
    ]
    binarise = {"thresh": 0.3, "box_thresh": BOX_SCORE, "max_candidates": 1000, "unclip_ratio": 1.5}
    return {"PreProcess": {"transform_ops": steps}, "PostProcess": {"name": "DBPostProcess", **binarise}}


def recogniser_recipe(source: Path) -> dict[str, Any]:
    """Lines of 48 pixels; the alphabet is in the weights' own metadata."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    alphabet = session.get_modelmeta().custom_metadata_map["character"].split("\n")
    steps = [
        {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
        {"MultiLabelEncode": {"gtc_encode": "NRTRLabelEncode"}},
        {"RecResizeImg": {"image_shape": [3, 48, 320]}},
        {"KeepKeys": {"keep_keys": ["image", "label_ctc", "label_gtc", "length", "valid_ratio"]}},
    ]
    alphabet = alphabet[:-1] if alphabet[-1] == "" else alphabet
    return {
        "PreProcess": {"transform_ops": steps},
        "PostProcess": {"name": "CTCLabelDecode", "character_dict": alphabet},
    }
