"""Captions a second through the pipeline, against a bare batched `generate` loop with the same model and frames.

    python benchmarks/caption.py                     SmolLM2 inside a LLaVA (make test fetches it), on one CPU thread
    python benchmarks/caption.py --model tiny        two layers of 32: what is not the model
    python benchmarks/caption.py --equal             the share of equal captions across batch sizes
    python benchmarks/caption.py --rss 20000         memory over that many clips
    python benchmarks/caption.py --gpu               LLaVA-1.5-7B and Qwen2.5-VL-7B shapes, 1 and 8 frames, bfloat16
    python benchmarks/caption.py --gpu --device cpu --tiny   the same code, where there is no GPU

The pipeline is the captioner `transformers` as a run calls it, from the strip's JPEGs to rows. `bare` has the frames in
memory and calls processor and `generate`; `prepared` has its inputs on the device already and calls `generate` only.
Both run at the batch size that is best for `prepared`. All write exactly `--new` tokens; in the pipeline a sentence is
put in their place, and it is asked once, whatever was said. On a CPU processor time counts, of rounds that are
interleaved; on a GPU the clock, after a warm-up. The roofline is the time in which the device could multiply and read
what the model needs, at its published peak.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import torch
from caption_models import PEAKS, busy, made, roofline, shape_of
from PIL import Image

from builder.captioners.hf import Transformers
from builder.captioning.engine import Question, Said, Sampling
from builder.captioning.local_model import LocalModel, Pace
from builder.errors import ItemError
from builder.pretrained.vision_language import Loaded, Wanted, load
from builder.records import Clip, Failure, Verdict
from builder.stage import Context, Item, settings
from captioning_questions import clip
from models import AS_SAID, ASSETS, cached
from sample_clips import made as video
from sample_clips import panning, texture

PROMPT = "Describe this video in detail: who or what is in it, what happens, the setting, the light and the camera."
SENTENCE = "A red car drives slowly along an empty road by the sea, and the sun is about to set behind the hills."
CLIP_S, CLIPS_A_VIDEO, FPS = 4, 8, 4
ONCE: dict[str, Any] = {**AS_SAID, "prompt": PROMPT, "tries": 1}
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
Clips = list[Item[Verdict]]


class Fluent(LocalModel):
    """Says a sentence, whatever the model has written."""

    def say(self, questions: Sequence[Question], sampling: Sampling) -> list[Said | ItemError]:
        said = super().say(questions, sampling)
        return [replace(one, text=SENTENCE, finished=True) if isinstance(one, Said) else one for one in said]


@settings
class Asked(Transformers):
    """The captioner, around a model that is in memory already."""

    plugin: ClassVar[str] = "asked"
    held: ClassVar[Loaded]

    @property
    def model_revision(self) -> str:
        return "made"

    def engine(self) -> LocalModel:
        return Fluent(self.held, Pace(self.at_once, self.cpu_threads, self.readers, self.static_cache))


# -- clips
def clips(folder: Path, count: int) -> tuple[Context, Clips]:
    """Of `CLIP_S` seconds and 2 x `CLIP_S` pictures of 854 x 480 each, several a video, as `judge` hands them on."""
    found: Clips = []
    for n in range(-(-count // CLIPS_A_VIDEO)):
        frames = CLIPS_A_VIDEO * CLIP_S * FPS
        whole = video(folder, panning(texture(854, 480, seed=n), frames, 3.0), FPS, f"video{n:03d}")
        for k in range(CLIPS_A_VIDEO):
            first, last = k * CLIP_S * FPS, (k + 1) * CLIP_S * FPS
            ticks = (whole.clip.end_pts - whole.clip.start_pts) // frames
            span = (first, last, first * ticks, last * ticks, float(k * CLIP_S), float((k + 1) * CLIP_S))
            part = Clip(f"{whole.clip.video_id}-{k}", whole.clip.video_id, *span, float(FPS), 854, 480)
            found.append(Item(Verdict(part.clip_id, kept=True), "", {"split": part, "scan": whole.scan}))
    return Context(whole.storage), found[:count]


# -- what is compared
def pipeline(stage: Transformers, items: Clips) -> None:
    for start in range(0, len(items), stage.batch_size):
        for answer in stage.batch(items[start : start + stage.batch_size]):
            assert not isinstance(answer, Failure), answer


def inputs(held: Loaded, frames: Sequence[Any]) -> Any:
    """As the documentation of transformers has it."""
    processor = held.processor
    content = [*({"type": "image"} for _ in frames[0]), {"type": "text", "text": PROMPT}]
    text = processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}],
        chat_template=processor.chat_template,
        add_generation_prompt=True,
        tokenize=False,
    )
    processor.tokenizer.padding_side = "left"
    pictures = [[Image.fromarray(frame) for frame in some] for some in frames]
    ready = processor(images=pictures, text=[text] * len(frames), padding=True, return_tensors="pt")
    return ready.to(held.device, dtype=held.network.dtype)


def generate(held: Loaded, ready: Any, new: int) -> None:
    with torch.inference_mode():
        held.network.generate(**ready, do_sample=False, num_beams=1, max_new_tokens=new, min_new_tokens=new)


def bare(held: Loaded, frames: Sequence[Any], size: int, new: int) -> None:
    for start in range(0, len(frames), size):
        generate(held, inputs(held, frames[start : start + size]), new)


def prepared(held: Loaded, ready: Sequence[Any], new: int) -> None:
    for some in ready:
        generate(held, some, new)


def best(held: Loaded, frames: Sequence[Any], new: int, clock: Callable[[], float]) -> int:
    """The batch size at which `generate` alone is fastest."""
    times = {}
    for size in [size for size in SIZES if size <= len(frames)]:
        ready = inputs(held, frames[:size])
        try:
            generate(held, ready, 2)
            since = clock()
            generate(held, ready, new)
            times[size] = (clock() - since) / size
        except torch.OutOfMemoryError:
            break
        finally:
            torch.cuda.empty_cache()
    print("  s a clip by batch size: " + ", ".join(f"{size}: {s:.3f}" for size, s in times.items()))
    return min(times, key=lambda size: times[size])


def compare(
    stage: Transformers, items: Clips, held: Loaded, rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Seconds a clip of each, the median of the rounds."""
    new = stage.max_new_tokens
    frames = [stage.frames(item).images(stage.frames_per_clip) for item in items]
    size = best(held, frames, new, clock)
    ready = [inputs(held, frames[start : start + size]) for start in range(0, len(frames), size)]
    ways: dict[str, Callable[[], None]] = {
        "pipeline": lambda: pipeline(stage, items),
        "bare": lambda: bare(held, frames, size, new),
        "prepared": lambda: prepared(held, ready, new),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for nth in range(rounds):
        for name in sorted(ways, reverse=bool(nth % 2)):
            since = clock()
            ways[name]()
            times[name].append((clock() - since) / len(items))
    return {name: statistics.median(some) for name, some in times.items()}


def cpu(model: Path, count: int, frames: int, new: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        context, items = clips(Path(place), count)
        held = load(Wanted(str(model), "made"), "cpu")
        held.network.generation_config.min_new_tokens = new
        Asked.held = held
        stage = Asked(model=str(model), frames_per_clip=frames, max_new_tokens=new, **ONCE)
        print(f"{model.name}: {count} clips, {frames} frames, {new} tokens; CPU-seconds a clip")
        with stage.opened(context):
            found = compare(stage, items, held, rounds, time.process_time)
        report(found)


def report(found: dict[str, float]) -> None:
    print("  " + ", ".join(f"{name} {seconds:.4f}" for name, seconds in found.items()))
    for peer in ("bare", "prepared"):
        print(f"  captions/s of the pipeline / of {peer}: {found[peer] / found['pipeline']:.3f}")


# -- other questions
def equal(model: Path, count: int, new: int) -> None:
    """Which share of captions is the same whatever is asked at once."""
    asked = [clip(n, 1 + n % 3, 90, 160, PROMPT) for n in range(count)]
    for dtype in ("float32", "bfloat16"):
        held = load(Wanted(str(model), "made", dtype), "cpu")
        said = {n: LocalModel(held, Pace(n)).say(asked, Sampling(new)) for n in (1, 2, 4, 8, 16)}
        for one, other in itertools.combinations(said, 2):
            same = sum(a == b for a, b in zip(said[one], said[other], strict=True))
            print(f"  {dtype}, {one:2} at once and {other:2} at once: {same} of {count} captions equal")
        again = LocalModel(held, Pace(8)).say(asked, Sampling(new))
        print(f"  {dtype}, 8 at once, twice: {sum(map(Said.__eq__, again, said[8]))} of {count}")  # type: ignore[arg-type]


def rss(model: Path, count: int) -> None:
    """Resident memory, in MB, at each tenth."""
    engine = LocalModel(load(Wanted(str(model), "made"), "cpu"), Pace())
    shapes = [(h, w) for h in (90, 120, 150) for w in (160, 200, 240)]
    for start in range(0, count, 64):
        some = [number(n, *shapes[n % 9]) for n in range(start, min(count, start + 64))]
        assert all(isinstance(said, Said) for said in engine.say(some, Sampling(1)))
        if start // 64 % max(1, count // 640) == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            print(f"  {start:7} clips: {pages * os.sysconf('SC_PAGE_SIZE') / 1e6:.1f} MB", flush=True)


def number(n: int, high: int, wide: int) -> Question:
    return Question(f"clip{n}", f"What happens in {n % 50}?", clip(n % 40, 1 + n % 2, high, wide).frames)


# -- on a GPU
def gpu(device: str, tiny: bool, kinds: Sequence[str], count: int, new: int) -> None:
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "no GPU"
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    print(f"{name}, {dtype}, torch {torch.__version__}, {os.cpu_count()} CPUs{', TINY' if tiny else ''}")
    with tempfile.TemporaryDirectory() as place:
        context, items = clips(Path(place), count)
        for kind in kinds:
            network, processor = made(kind, device, dtype, tiny)
            network.generation_config.min_new_tokens = new
            Asked.held = Loaded(network, processor, device, None)
            for frames in (1, 8):
                stage = Asked(model=kind, frames_per_clip=frames, max_new_tokens=new, batch_size=128, **ONCE)
                print(f"{kind}: {count} clips, {frames} frames, {new} tokens; seconds a clip by the clock")
                with stage.opened(context):
                    on_gpu(stage, items, device, name)
            del network, Asked.held
            LocalModel.release()


def on_gpu(stage: Asked, items: Clips, device: str, name: str) -> None:
    def clock() -> float:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    pipeline(stage, items[: stage.batch_size])  # warm-up
    found = compare(stage, items, stage.held, 2, clock)
    report(found)
    with busy(device) as percent:
        pipeline(stage, items)
    ready = inputs(stage.held, [stage.frames(items[0]).images(stage.frames_per_clip)])
    read, shape = ready["input_ids"].shape[1], shape_of(stage.held.network)
    token = stage.held.network.config.image_token_id
    pictures = int((ready["input_ids"] == token).sum())
    print(f"  pipeline: {1 / found['pipeline']:.2f} clips/s, {stage.max_new_tokens / found['pipeline']:.0f} tokens/s")
    print(f"  GPU busy: {statistics.mean(percent):.0f} %" if percent else "  GPU busy: not measured, there is none")
    peak = next((peak for kind, peak in PEAKS.items() if kind in name), None)
    for batch in (min(stage.batch_size, len(items)), 256) if peak else ():
        least = roofline(shape, (read, pictures, stage.max_new_tokens), batch, peak)
        print(f"  roofline at batch {batch}: {1 / least:.1f} clips/s; reached {least / found['pipeline']:.3f}")
    print(f"  {read} tokens in ({pictures} of pictures), {shape.language / 1e9:.2f} G parameters a token, "
          f"{shape.sight / 1e9:.2f} G of sight, {shape.cache_bytes} bytes of cache a token")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm", help="smollm, tiny, or the folder of a model")
    parser.add_argument("--clips", type=int, default=0)
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--new", type=int, default=0, help="tokens to write")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--equal", action="store_true")
    parser.add_argument("--rss", type=int, default=0, metavar="CLIPS")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--kinds", nargs="+", default=["llava", "qwen"])
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    if asked.gpu:
        if asked.device.startswith("cuda") and not torch.cuda.is_available():
            sys.exit("no GPU here, nothing was measured; `--gpu --device cpu --tiny` runs the same code on a CPU")
        gpu(asked.device, asked.tiny, asked.kinds, asked.clips or (8 if asked.tiny else 256), asked.new or 185)
        sys.exit()
    torch.set_num_threads(1)
    kind = "tiny" if asked.rss else asked.model
    model = cached(kind, ASSETS / "models") if kind in ("tiny", "smollm") else Path(kind)
    if asked.rss:
        rss(model, asked.rss)
    elif asked.equal:
        equal(model, asked.clips or 48, asked.new or 48)
    else:
        cpu(model, asked.clips or 16, asked.frames, asked.new or 32, asked.rounds)
