"""Make edited videos whose cuts, dissolves and fades are known to the frame, out of videos of one shot each.

    python benchmarks/shot_corpus.py OUT --seed 1 --count 10 --size 1280x720 SHOT.mp4 SHOT2.mp4 ...

Beside each NAME.mp4 lies NAME.json: {"fps", "frames", "boundaries": [{"kind", "start", "end"}], "distractors": [...]}.
A cut has start == end, the first frame of the new shot; a gradual transition covers the frames start..end, both
included. Distractors (flashes, rising exposure) are no boundaries. The same seed and files give the same video.
"""

import argparse
import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
KINDS, SHARES = ("cut", "dissolve", "fade"), (0.6, 0.22, 0.18)
LEAST_SHOT, CLEAR = 16, 12  # frames of a shot; frames between a distractor and a boundary


def shot(path: Path, rng: random.Random, frames: int, size: tuple[int, int]) -> list[Picture]:
    """Consecutive RGB pictures from somewhere in a video."""
    scaler = VideoReformatter()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        first = rng.randrange(max(1, (stream.frames or 120) - frames))
        taken: list[Picture] = []
        for number, frame in enumerate(container.decode(stream)):
            if number >= first:
                taken.append(scaler.reformat(frame, *size, format="rgb24").to_ndarray())
            if len(taken) == frames:
                break
    return taken


def mixed(a: Picture, b: Picture, share: float) -> Picture:
    return (a * (1 - share) + b * share).astype(np.uint8)


class Edit:
    """An edited video in the making."""

    def __init__(self, first: list[Picture]) -> None:
        self.frames = list(first)
        self.boundaries: list[dict[str, Any]] = []
        self.distractors: list[dict[str, Any]] = []

    def append(self, new: list[Picture], kind: str, length: int) -> None:
        if kind == "cut" or min(len(new), len(self.frames)) < 2 * length:
            self._note("cut", len(self.frames), len(self.frames))
            self.frames += new
        elif kind == "dissolve":
            start = len(self.frames) - length
            old = self.frames[start:]
            self.frames[start:] = [mixed(old[i], new[i], (i + 1) / (length + 1)) for i in range(length)]
            self._note(kind, start, start + length - 1)
            self.frames += new[length:]
        else:
            self._fade(new, length // 2)

    def _fade(self, new: list[Picture], half: int) -> None:
        black, at = np.zeros_like(new[0]), len(self.frames)
        for i in range(half):
            self.frames[at - half + i] = mixed(self.frames[at - half + i], black, (i + 1) / half)
        self.frames += [mixed(black, new[i], (i + 1) / half) for i in range(half)] + new[half:]
        self._note("fade", at - half, at + half - 1)

    def _note(self, kind: str, start: int, end: int) -> None:
        self.boundaries.append({"kind": kind, "start": start, "end": end})

    def disturb(self, rng: random.Random) -> None:
        """A white flash of two frames, or an exposure that rises over six and falls at once."""
        at = rng.randrange(10, len(self.frames) - 10)
        if any(b["start"] - CLEAR <= at <= b["end"] + CLEAR for b in self.boundaries):
            return
        if rng.choice(["flash", "ramp"]) == "flash":
            for i in (at, at + 1):
                self.frames[i] = mixed(self.frames[i], np.full_like(self.frames[i], 255), 0.85)
            self.distractors.append({"kind": "flash", "start": at, "end": at + 1})
        else:
            for i in range(6):
                self.frames[at + i] = np.clip(self.frames[at + i] * (1 + 0.06 * (i + 1)), 0, 255).astype(np.uint8)
            self.distractors.append({"kind": "ramp", "start": at, "end": at + 5})


def edited(paths: list[Path], rng: random.Random, fps: int, size: tuple[int, int]) -> Edit:
    picks: list[Path] = []
    for _ in range(rng.randint(4, 10)):
        picks.append(rng.choice([p for p in paths if not picks or p != picks[-1]]))
    shots = [shot(path, rng, rng.randint(fps, 5 * fps), size) for path in picks]
    shots = [frames for frames in shots if len(frames) >= LEAST_SHOT]
    edit = Edit(shots[0])
    for frames in shots[1:]:
        edit.append(frames, rng.choices(KINDS, SHARES)[0], rng.randint(8, 24))
    for _ in range(rng.randint(0, 2)):
        edit.disturb(rng)
    return edit


def write(path: Path, frames: list[Picture], fps: int, gop: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "20", "preset": "veryfast", "g": str(gop)})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        stream.time_base = Fraction(1, fps)
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def save(path: Path, edit: Edit, fps: int, gop: int) -> None:
    """The video at `path`, and what is true of it beside it."""
    write(path, edit.frames, fps, gop)
    truth = {"fps": fps, "frames": len(edit.frames), "gop": gop, "boundaries": edit.boundaries}
    path.with_suffix(".json").write_text(json.dumps(truth | {"distractors": edit.distractors}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("shots", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--size", default="640x360")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    width, height = (int(n) for n in given.size.split("x"))
    for number in range(given.count):
        rng = random.Random(f"{given.seed}-{number}")
        fps, gop = rng.choice([24, 25, 30]), rng.choice([24, 60, 250])
        edit = edited(given.shots, rng, fps, (width, height))
        path = given.out / f"{given.size}-{given.seed}-{number:03d}.mp4"
        save(path, edit, fps, gop)
        print(f"{path}: {len(edit.frames)} frames, {len(edit.boundaries)} boundaries")


if __name__ == "__main__":
    main()
