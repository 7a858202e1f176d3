"""What the scorers that look at frames cost a clip, and how many marks `watermark` finds.

    python benchmarks/networks.py [VIDEO ...] [--rounds 3] [--encoder base|large|none]

Every video counts as one clip of one shot; without one the demo's footage is taken. Processor time is of this process,
on one thread, the least of the rounds, interleaved; decoding is the pass that `scan` makes once, whatever reads it.
`aesthetic` and `match` run on a CLIP of the true size (ViT-B/32 or ViT-L/14) with random weights: those cost the same.
Marks of four shapes, three opacities and two sizes are laid over the strip's own pictures, stored as JPEG again, of
clips in which `watermark` finds nothing; only places count of which at least 0.8 is `known`.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from builder.media.decode import ScanSettings, scan
from builder.records import Caption, Clip, Scanned
from builder.scorers import watermark
from builder.scorers.aesthetic import Aesthetic
from builder.scorers.nsfw import Nsfw
from builder.scorers.quality import Quality
from builder.stage import Context, Item, Stage
from builder.stages.match import Match
from builder.storage import Storage

DEMO = [Path(".venv/demo-videos", name) for name in ("bunny.mp4", "carphone.mp4", "city.mpg")]
OPACITY = {"white, solid": (1.0, 255), "white, 0.4": (0.4, 255), "black, 0.5": (0.5, 0)}
SHAPES = ("ring", "star", "blocks", "swoosh")
PLACES = {0.10: (1, 0), 0.18: (0, 1)}  # share of the short side: top right, bottom left
KNOWN = 0.8


def items(videos: list[Path], folder: Path, spent: dict[str, float]) -> list[Item[Clip]]:
    found = []
    for video in videos:
        name = video.stem.lower()
        before = time.process_time()
        facts = scan(video, folder / f"{name}.evidence", folder / f"{name}.strip", ScanSettings())
        spent["scan (once, for all)"] = spent.get("scan (once, for all)", 0.0) + time.process_time() - before
        span = (0, facts.frames, facts.start_pts, facts.end_pts, 0.0, facts.duration_s)
        clip = Clip(name, name, *span, facts.fps, facts.width, facts.height)
        scanned = Scanned(name, **vars(facts), evidence=f"{name}.evidence", strip=f"{name}.strip")
        found.append(Item(clip, "", {"scan": scanned, "split": clip}))
    return found


def clip_model(kind: str, folder: Path) -> Path:
    """Random weights in the shape of OpenAI's CLIP, with a tokenizer of single characters."""
    import torch
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from models import character_tokenizer

    large = kind == "large"
    width, layers, heads, patch, size = (1024, 24, 16, 14, 768) if large else (768, 12, 12, 32, 512)
    words = character_tokenizer()
    words.model_max_length = 77
    sight = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    text = {"hidden_size": size, "intermediate_size": 4 * size, "num_hidden_layers": 12}
    text |= {"num_attention_heads": size // 64, "vocab_size": 49408, "eos_token_id": words.eos_token_id}
    sight |= {"num_attention_heads": heads, "patch_size": patch}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=sight, projection_dim=size)).save_pretrained(folder)
    words.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 224}, crop_size=224).save_pretrained(folder)
    return folder


def head(size: int, path: Path) -> Path:
    """Of the layout of sac+logos+ava1-l14-linearMSE."""
    from safetensors.numpy import save_file

    widths, held = (size, 1024, 128, 64, 16, 1), {}
    for number, (before, after) in zip((0, 2, 4, 6, 7), pairwise(widths), strict=True):
        held[f"layers.{number}.weight"] = np.full((after, before), 0.01, np.float32)
        held[f"layers.{number}.bias"] = np.zeros(after, np.float32)
    save_file(held, path)
    return path


def stages(kind: str, folder: Path) -> dict[str, Stage[Any, Any]]:
    found: dict[str, Stage[Any, Any]] = {"quality": Quality(), "watermark": watermark.Watermark(), "nsfw": Nsfw()}
    if kind != "none":
        model = clip_model(kind, folder / "clip")
        weights = head(768 if kind == "large" else 512, folder / "head.safetensors")
        found["aesthetic"] = Aesthetic(model=str(model), head=str(weights))
        found["match"] = Match(model=str(model), label="made")
    return found


def costs(clips: list[Item[Clip]], made: dict[str, Stage[Any, Any]], rounds: int) -> dict[str, float]:
    """Milliseconds a clip."""
    said = "A red car drives along a road by the sea."
    captions = [Item(Caption(i.id, "made", said, "ok", "", "", "", (), "{}"), "", i.joined) for i in clips]
    spent: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, stage in made.items():
            given: list[Any] = captions if name == "match" else clips
            before = time.process_time()
            answers = stage.batch(given)
            spent[name].append(1000 * (time.process_time() - before) / len(clips))
            assert len(answers) == len(clips)
    return {name: min(times) for name, times in spent.items()}


# -- marks
def drawn(shape: str, size: int) -> Any:
    mask = np.zeros((size, size), np.float32)
    middle, line = size // 2, max(2, size // 11)
    if shape == "ring":
        cv2.circle(mask, (middle, middle), int(size * 0.42), 1.0, line, cv2.LINE_AA)
        cv2.circle(mask, (middle, middle), size // 6, 1.0, -1, cv2.LINE_AA)
    elif shape == "star":
        turns = np.arange(10) * np.pi / 5 - np.pi / 2
        radius = np.where(np.arange(10) % 2, 0.2, 0.48) * size
        corners = np.stack([middle + radius * np.cos(turns), middle + radius * np.sin(turns)], axis=1)
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1.0, cv2.LINE_AA)
    elif shape == "blocks":
        low, high = slice(size // 10, size * 45 // 100), slice(size * 55 // 100, size * 9 // 10)
        mask[low, low], mask[high, high], mask[low, high] = 1.0, 1.0, 0.7
    else:
        half = (int(size * 0.45), int(size * 0.2))
        cv2.ellipse(mask, (middle, middle), half, 30, 20, 320, 1.0, line, cv2.LINE_AA)
        cv2.line(mask, (size // 5, size * 4 // 5), (size * 4 // 5, size // 5), 1.0, line, cv2.LINE_AA)
    return mask


def marked(grey: Any, mask: Any, level: int, x: int, y: int) -> Any:
    window = np.s_[y : y + mask.shape[0], x : x + mask.shape[1]]
    found = []
    for picture in grey.copy():
        picture[window] = picture[window] * (1 - mask) + level * mask
        stored = cv2.imencode(".jpg", picture.round().clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
        found.append(cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE))
    return np.stack(found).astype(np.float32)


def trials(stage: watermark.Watermark, clip: Item[Clip]) -> Iterator[tuple[str, bool]]:
    """What was laid over a clip, and whether it was found."""
    grey = watermark.pictures(stage.frames(clip), stage.frames_per_clip)
    known, (high, wide) = watermark.Still(grey).known(), grey.shape[1:]
    for shape, (opacity, (alpha, level)), share in product(SHAPES, OPACITY.items(), PLACES):
        size, edge = int(share * min(high, wide)), int(0.04 * min(high, wide))
        right, bottom = PLACES[share]
        x, y = (wide - edge - size if right else edge), (high - edge - size if bottom else edge)
        if known[y : y + size, x : x + size].mean() < KNOWN:
            continue
        boxes = (b for b, _ in watermark.Still(marked(grey, drawn(shape, size) * alpha, level, x, y)).marks())
        yield opacity, any(a < x + size and a + w > x and b < y + size and b + h > y for a, b, w, h in boxes)


def main(videos: list[Path], rounds: int, encoder: str) -> None:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        folder, spent = Path(name), dict[str, float]()
        clips = items(videos, folder, spent)
        made = stages(encoder, folder)
        for stage in made.values():
            opened.enter_context(stage.opened(Context(Storage(folder))))
        passes = {key: 1000 * value / len(clips) for key, value in spent.items()}
        print(f"{len(clips)} clips, {sum(i.row.duration_s for i in clips):.0f} s; CPU ms a clip")
        for key, ms in (passes | costs(clips, made, rounds)).items():
            print(f"  {key:22} {ms:8.1f}")
        marks = made["watermark"]
        assert isinstance(marks, watermark.Watermark)
        report(marks, clips)


def report(stage: watermark.Watermark, clips: list[Item[Clip]]) -> None:
    found: dict[str, list[bool]] = defaultdict(list)
    for clip in clips:
        [score] = stage.each(clip)
        if score.area:
            print(f"  {clip.id}: area {score.area:.4f}, strength {score.strength:.1f}, known {score.known:.2f}")
            continue
        for opacity, told in trials(stage, clip):
            found[opacity].append(told)
    every = [told for many in found.values() for told in many]
    print("marks found: " + json.dumps({k: f"{sum(v)}/{len(v)}" for k, v in found.items()}))
    print(f"in all {sum(every)} of {len(every)}" + (f", {sum(every) / len(every):.2f}" if every else ""))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encoder", choices=("base", "large", "none"), default="base")
    given = parser.parse_args()
    main(given.videos or DEMO, given.rounds, given.encoder)
