"""How the loaders of Open-Sora-Plan read annotations, rebuilt from opensora/dataset/t2v_datasets.py of each tag.

Only what concerns the annotations and frames is here: no tokenizer, and a transform that keeps shapes. A sample that
the original would replace by a random other one raises here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np


@dataclass(frozen=True)
class Settings:
    """Arguments of the training script."""

    num_frames: int = 29
    train_fps: float = 24.0
    max_height: int = 480
    max_width: int = 640
    max_hxw: int = 480 * 640
    hw_stride: int = 16


@dataclass(frozen=True)
class Loaded:
    text: str
    frames: np.ndarray[Any, Any]  # (T, H, W, C)


def decode(path: str) -> tuple[np.ndarray[Any, Any], float]:
    """All frames, and decord's get_avg_fps."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 0)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]), rate


def v1_0(annotations: Path, how: Settings) -> list[Loaded]:
    loaded = []
    for sample in json.loads(annotations.read_text()):
        frames, _ = decode(sample["path"])
        picked = np.linspace(0, len(frames) - 1, how.num_frames, dtype=int)
        loaded.append(Loaded(sample["cap"][0], frames[picked]))
    return loaded


def listed(data: Path) -> list[dict[str, Any]]:
    samples = []
    for line in data.read_text().splitlines():
        folder, annotations = line.strip().split(",")
        found = json.loads(Path(annotations).read_text(encoding="ascii"))
        for item in found:
            item["path"] = str(Path(folder, item["path"]))
        samples += found
    return samples


def v1_1(data: Path, how: Settings) -> list[Loaded]:
    loaded = []
    for sample in listed(data):
        start, end = map(int, sample["frame_idx"].split(":"))
        frames, _ = decode(sample["path"])
        assert end == len(frames)
        picked = np.linspace(start, start + how.num_frames - 1, how.num_frames, dtype=int)
        assert isinstance(sample["cap"], str)  # text_preprocessing takes a list for several texts
        loaded.append(Loaded(sample["cap"], frames[picked]))
    return loaded


def closest(count: int) -> int:
    """find_closest_y of v1.2.0 with a stride of 4 and sp_size 1 is all numbers 4 k + 1; -1 below 29."""
    return -1 if count < 29 else (count - 1) // 4 * 4 + 1


def picked_frames(count: int, interval: float, how: Settings) -> list[int]:
    indices = np.arange(0, count, interval).astype(int)
    indices = indices[indices < count][: how.num_frames]
    end = closest(len(indices))
    if end == -1:
        raise IndexError("too short")
    return [int(index) for index in indices[:end]]


def v1_2(data: Path, how: Settings) -> list[Loaded]:
    loaded = []
    for sample in listed(data):
        fps, duration = sample["fps"], sample["duration"]
        height, width = sample["resolution"]["height"], sample["resolution"]["width"]
        aspect = how.max_height / how.max_width
        assert 1 / 1.5 * aspect <= height / width <= 1.5 * aspect
        counted = int(fps * duration)
        assert counted <= 2.0 * (how.num_frames * fps / how.train_fps)
        defined = picked_frames(counted, fps / how.train_fps, how)
        frames, rate = decode(sample["path"])
        interval = 1.0 if abs(rate - how.train_fps) < 0.1 else rate / how.train_fps
        read = picked_frames(len(frames), interval, how)
        if len(defined) != len(read):
            raise ValueError(f"predefine_num_frames ({len(defined)}) is not equal with frame_indices ({len(read)})")
        assert frames.shape[1:3] == (height, width)
        loaded.append(Loaded(sample["cap"][0], frames[read]))
    return loaded


def v1_3(data: Path, how: Settings) -> list[Loaded]:
    loaded = []
    for sample in listed(data):
        fps, height, width = sample.get("fps", 24), sample["resolution"]["height"], sample["resolution"]["width"]
        sample_size = strided(*shrunk(height, width, how), how)
        assert sample["num_frames"] <= 5.0 * (how.num_frames * fps / how.train_fps)
        interval = 1.0 if abs(fps - how.train_fps) < 0.1 else fps / how.train_fps
        assert sample.get("cut", [0])[0] == 0
        indices = picked_frames(sample["num_frames"], interval, how)
        frames, _ = decode(sample["path"])
        s_x, e_x, s_y, e_y = sample.get("crop", [None, None, None, None])
        picked = frames[indices]  # an index beyond the file's frames raises
        if s_y is not None:
            picked = picked[:, s_y:e_y, s_x:e_x]
        got = strided(*shrunk(*picked.shape[1:3], how), how)
        assert got == sample_size, f"sample_h ({sample_size[0]}), sample_w ({sample_size[1]}), video {got}"
        loaded.append(Loaded(sample["cap"][0], picked))
    return loaded


def shrunk(height: int, width: int, how: Settings) -> tuple[int, int]:
    """maxhwresize."""
    if height * width <= how.max_hxw:
        return height, width
    scale = np.sqrt(how.max_hxw / (height * width))
    return int(height * scale), int(width * scale)


def strided(height: int, width: int, how: Settings) -> tuple[int, int]:
    """SpatialStrideCropVideo."""
    return height // how.hw_stride * how.hw_stride, width // how.hw_stride * how.hw_stride
