"""The splitting of Panda-70M (arXiv 2402.19479): cut, cut what is long, and stitch together what looks alike.

Written after its paper and the documented behaviour of its scripts. The paper compared frames by ImageBind, whose
weights may not be used commercially; any image encoder does, and other encoders want other distances. Cut-scenes come
from `content`; frames to compare are the nearest ones of the strip, as nothing is decoded.
"""

import json
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from builder.detectors.content import hard_cuts, seen_on
from builder.errors import Filtered
from builder.frames import Footage
from builder.records import Shots
from builder.stage import Resources, execution, settings
from builder.stages.detect import CUT, UNSEEN, Detector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from builder.pretrained.image_encoder import Encoder

PRESETS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
PIECE_S, LEFT_S = 5, 2  # of a cut-scene longer than both together the first five seconds are one of their own
Span = tuple[int, int]  # frames first <= f < last
Distance = Annotated[float, Field(ge=0)]


@settings
class Panda70m(Detector):
    """Cut-scenes stitched to events. `preset` gives each value that is not set: of the paper, or of its script.

    `threshold` and `min_scene_frames` are those of `content`. `encoder` is "efficientnet-lite0", whose weights a
    package carries, or a Hub id or folder of a model with image features (CLIP and its like) at `revision`. What
    `transition`, `stitch`, `still` and `redundant` (distances of unit vectors, 0..2), `min_s`, `max_s` and `trim` mean
    is said in panda70m.toml beside this file.
    """

    plugin: ClassVar[str] = "panda70m"
    wants: ClassVar[tuple[str, ...]] = ("content",)
    needs: ClassVar[Resources] = Resources(gpus=1.0, memory_bytes=4 << 30)

    preset: Literal["paper", "script"] = "paper"
    threshold: Annotated[float, Field(gt=0, le=255)] = 25.0
    min_scene_frames: Annotated[int, Field(ge=0)] = 15
    encoder: str = "efficientnet-lite0"
    revision: str = "main"
    transition: Distance | None = None
    stitch: Distance | None = None
    still: Distance | None = None
    redundant: Distance | None = None
    min_s: Distance | None = None
    max_s: Distance | None = None
    trim: Annotated[float, Field(ge=0, lt=0.5)] | None = None
    batch_images: Annotated[int, Field(ge=1)] = execution(default=16)

    @cached_property
    def values(self) -> "Values":
        """What is set, and the preset's values for what is not."""
        given = {name: getattr(self, name) for name in PRESETS[self.preset]}
        return Values(**PRESETS[self.preset] | {name: value for name, value in given.items() if value is not None})

    def identity(self) -> Mapping[str, str]:
        from builder.pretrained.image_encoder import identity

        return {"values": repr(self.values), "encoder": identity(self.encoder, self.revision)}

    def setup(self) -> None:
        from builder.pretrained.image_encoder import load

        vars(self)["_encoder"] = load(self.encoder, self.revision, self.context.device)

    def shots(self, footage: Footage) -> Shots:
        scan = footage.scan
        found = {b.frame: b.score for b in hard_cuts(footage, self.threshold, self.min_scene_frames)}
        scenes = cut_scenes(list(found), scan.frames, scan.fps)
        features, off = self._features(footage, scenes)
        spans, why = events(scenes, features, self.values, scan.fps)
        if not spans:
            raise Filtered("no_event", f"of {len(scenes)} cut-scenes no event is left: {why}")
        return Shots(
            scan.video_id,
            self.plugin,
            starts=tuple(first for first, _ in spans),
            ends=tuple(last for _, last in spans),
            kinds=tuple(CUT if first in found else UNSEEN for first, _ in spans),
            scores=tuple(found.get(first, 1.0) for first, _ in spans),
            seen_on=f"{seen_on(footage)}; strip frames at most {off} frames from where Panda-70M looks",
        )

    def _features(self, footage: Footage, scenes: Sequence[Span]) -> tuple["NDArray[np.float32]", int]:
        """Unit vectors (scenes, 2, size) of the frames compared, and the most that one is off in frames."""
        import numpy as np

        encoder: Encoder = vars(self)["_encoder"]
        strip, asked = footage.strip, [(frame, scene) for scene in scenes for frame in looked_at(scene)]
        picks = [nearest(strip.frames, frame, scene) for frame, scene in asked]
        chunks = (picks[n : n + self.batch_images] for n in range(0, len(picks), self.batch_images))
        vectors = np.concatenate([encoder([strip.image(i) for i in chunk]) for chunk in chunks])
        off = max(abs(int(strip.frames[i]) - frame) for i, (frame, _) in zip(picks, asked, strict=True))
        return vectors.reshape(len(scenes), 2, -1), off


@dataclass(frozen=True)
class Values:
    """The values of a preset; what each means is said in panda70m.toml."""

    transition: float
    stitch: float
    min_s: float
    max_s: float
    still: float
    redundant: float
    trim: float


def cut_scenes(cuts: Sequence[int], frames: int, fps: float) -> list[Span]:
    """Between hard cuts; what is longer than 7 s is cut every 5 s, so that the last piece has 2 to 7 s."""
    edges = [0]
    for end in (*cuts, frames):
        while end - edges[-1] > (PIECE_S + LEFT_S) * fps:
            edges.append(edges[-1] + int(PIECE_S * fps))
        edges.append(end)
    return list(pairwise(edges))


def looked_at(scene: Span) -> Span:
    """The two frames of a cut-scene that are compared: 5 % from its ends."""
    first, last = scene[0], scene[1] - 1
    return int(0.95 * first + 0.05 * last), int(0.05 * first + 0.95 * last)


def nearest(frames: "NDArray[np.int32]", frame: int, scene: Span) -> int:
    """The index of the strip frame nearest to `frame`, inside the scene if one is."""
    inside = ((frames >= scene[0]) & (frames < scene[1])).nonzero()[0]
    among = inside if len(inside) else (frames >= 0).nonzero()[0]
    return int(among[abs(frames[among] - frame).argmin()])


def events(
    scenes: Sequence[Span], features: "NDArray[np.float32]", values: Values, fps: float
) -> tuple[list[Span], str]:
    """What is stitched together and kept, and how many were dropped why. `features`: (scenes, 2, size)."""
    whole = [n for n in range(len(scenes)) if apart(*features[n]) <= values.transition]
    dropped = Counter({"cut-scenes with a transition": len(scenes) - len(whole)})
    kept: list[Span] = []
    means: list[NDArray[np.float32]] = []
    for event in stitched(whole, scenes, features, values.stitch):
        first, last = scenes[event[0]][0], scenes[event[-1]][1]
        mean = features[event].reshape(-1, features.shape[2]).mean(0)
        if last - first < values.min_s * fps:
            dropped["events too short"] += 1
        elif apart(features[event[0], 0], features[event[-1], 1]) < values.still:
            dropped["events without change"] += 1
        elif any(apart(mean, other) < values.redundant for other in means):
            dropped["events shown before"] += 1
        else:
            length = min(int(values.max_s * fps), last - first)
            trim = int(values.trim * length)
            kept.append((first + trim, first + length - trim))
            means.append(mean)
    return kept, ", ".join(f"{count} {what}" for what, count in dropped.items() if count)


def stitched(
    whole: Sequence[int], scenes: Sequence[Span], features: "NDArray[np.float32]", most: float
) -> Iterator[list[int]]:
    """Runs of cut-scenes, by number, that follow on one another and look alike where they meet."""
    run: list[int] = []
    for n in whole:
        if run and (scenes[run[-1]][1] != scenes[n][0] or apart(features[run[-1], 1], features[n, 0]) > most):
            yield run
            run = []
        run.append(n)
    if run:
        yield run


def apart(one: "NDArray[np.float32]", other: "NDArray[np.float32]") -> float:
    """Euclidean distance."""
    return float(((one - other) ** 2).sum() ** 0.5)


# -- lists as Panda-70M publishes them
def timecode(frame: int, fps: float) -> str:
    """H:MM:SS.mmm, cut off and not rounded, one microsecond added before so that whole milliseconds stay."""
    shown = timedelta(seconds=frame / fps, microseconds=1) // timedelta(milliseconds=1)
    seconds, ms = divmod(shown, 1000)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}"


def listed(videos: Mapping[str, Sequence[Sequence[int | str]]]) -> str:
    """JSON as in cutscene_frame_idx.json and event_timecode.json: a line a video, lists of two."""
    lines = (f"    {json.dumps(name)}: {json.dumps([list(pair) for pair in pairs])}" for name, pairs in videos.items())
    return "{\n" + ",\n".join(lines) + "\n}"
