"""Items of the annotation files of Open-Sora-Plan, for each version as its own loader reads them.

What the loaders do was read in opensora/dataset/t2v_datasets.py at the tags v1.0.0 to v1.3.0; docs/T2V.md of v1.3.0
leaves out `num_frames`, without which its loader stops.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from builder.export.clips import Row

TRAIN_FPS, SAME_FPS = 24.0, 0.1  # the default of --train_fps, and how near v1.2.0 takes a rate for it
CROPS = ("text", "borders")  # scorers that give one
EDGES = ("s_x", "e_x", "s_y", "e_y")
RESHAPED = (
    "cropped to ",
    "scaled to ",
)  # in `cut_settings`: its pixels are not those that were scored
Item = dict[str, Any]


def v1_0(row: Row, path: str, texts: Sequence[str]) -> Item:
    """Read: `path`, opened as it is, and the first of `cap`."""
    return {"path": path, "cap": list(texts)}


def v1_1(row: Row, path: str, texts: Sequence[str]) -> Item:
    """Read: from frame `frame_idx` on so many frames as are trained on; `cap` is one text."""
    return {"path": path, "frame_idx": f"0:{row['frames']}", "cap": texts[0]}


def v1_2(row: Row, path: str, texts: Sequence[str]) -> Item:
    """Read: int(fps * duration) frames, of which the file must have as many, at a rate that fits the file's.

    A rate near 24 is written as 24.0: the loader takes it for that when it reads the file, but not when it counts.
    """
    fps = TRAIN_FPS if abs(row["fps"] - TRAIN_FPS) < SAME_FPS else row["fps"]
    divisor = math.gcd(row["width"], row["height"]) or 1
    return {
        **{"path": path, "cap": list(texts), "size": row["mp4_size"]},
        "resolution": {"height": row["height"], "width": row["width"]},
        **{"fps": fps, "duration": seconds(row["frames"], fps)},
        "display_aspect_ratio": f"{row['width'] // divisor}:{row['height'] // divisor}",
    }


def v1_3(row: Row, path: str, texts: Sequence[str]) -> Item:
    """Read: as v1.2, but `num_frames`, and the part of the picture in `crop`; `resolution` must be that of the part."""
    s_x, e_x, s_y, e_y = crop = crop_of(row)
    whole = crop == (0, row["width"], 0, row["height"])
    aesthetic = row.get("score_aesthetic_mean")
    return {
        **{"path": path, "cap": list(texts)},
        "resolution": {"height": e_y - s_y, "width": e_x - s_x},
        **{"fps": row["fps"], "duration": row["duration_s"], "num_frames": row["frames"], "cut": [0, row["frames"]]},
        **({} if whole else {"crop": list(crop)}),
        **({} if aesthetic is None else {"aesthetic": aesthetic}),
    }


ITEMS: Mapping[str, Callable[[Row, str, Sequence[str]], Item]] = {
    "open-sora-plan-v1.0": v1_0,
    "open-sora-plan-v1.1": v1_1,
    "open-sora-plan-v1.2": v1_2,
    "open-sora-plan-v1.3": v1_3,
}


def seconds(frames: int, fps: float) -> float:
    """A duration for which int(fps * duration) is `frames`: 47 / 23.976 in floats gives 46 frames as it is."""
    duration_s = frames / fps
    while int(fps * duration_s) < frames:
        duration_s = math.nextafter(duration_s, math.inf)
    return duration_s


def crop_of(row: Row) -> tuple[int, int, int, int]:
    """s_x, e_x, s_y, e_y of what is left of the picture without bars and overlay text, as far as that was scored.

    All of it where the scores are about other pixels than the clip's, or leave nothing together.
    """
    whole = (0, row["width"], 0, row["height"])
    if any(words in row["cut_settings"] for words in RESHAPED):
        return whole
    s_x, e_x, s_y, e_y = whole
    for scorer in CROPS:
        edges = [row.get(f"score_{scorer}_{edge}", 0.0) for edge in EDGES]
        if edges[1] > edges[0] and edges[3] > edges[2]:  # else this scorer found none
            s_x, s_y = max(s_x, math.ceil(edges[0])), max(s_y, math.ceil(edges[2]))
            e_x, e_y = min(e_x, math.floor(edges[1])), min(e_y, math.floor(edges[3]))
    return (s_x, e_x, s_y, e_y) if e_x > s_x and e_y > s_y else whole
