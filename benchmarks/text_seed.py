"""What the seed does about text, for benchmarks/text.py: run by the Python of an environment with EasyOCR.

    PYTHON benchmarks/text_seed.py VIDEO ...

Six frames at total * i // 6, as ocr_process.py of the Open-Sora-Dataset takes them; any text in any of them drops the
video. It builds a reader for every video and deletes the file; here there is one reader, and nothing is deleted. Of its
languages (ch_sim, en) only the English recogniser is in a package. Prints a JSON object a video.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

FRAMES = 6


def reader() -> Any:
    import torch

    torch.set_num_threads(1)
    # PyPI's torchvision is built for CUDA and does not load beside a torch without it, unless these are there.
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import easyocr
    import easyocr_en_models

    folder = easyocr_en_models.model_dir()
    return easyocr.Reader(["en"], gpu=False, model_storage_directory=folder, download_enabled=False, verbose=False)


def frames(video: str) -> list[Any]:
    import cv2

    capture = cv2.VideoCapture(video)
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    taken = []
    for wanted in (total * i // FRAMES for i in range(FRAMES)):
        capture.set(cv2.CAP_PROP_POS_FRAMES, wanted)
        ok, picture = capture.read()
        if ok:
            taken.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    return taken


def main() -> None:
    ocr = reader()
    for video in sys.argv[1:]:
        started = time.process_time()
        found = any(ocr.readtext(picture, detail=0) for picture in frames(video))
        row = {"video": str(Path(video)), "text": found, "cpu_s": time.process_time() - started}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
