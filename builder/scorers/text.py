"""Text: how much of the picture writing covers, where and for how long, and whether it was put over the picture."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from builder.frames import Frames
from builder.pretrained.ppocr import PPOCR, SHA256
from builder.records import Clip, Score
from builder.stage import Resources, settings
from builder.stages.score import Mark, Scorer
from builder.text.motion import Area
from builder.text.presets import Preset, preset
from builder.text.search import Rules, Search
from builder.text.search import Text as Writing
from builder.text.zones import covered, fractions

SURE = 0.9


@dataclass(frozen=True, slots=True)
class TextScore(Score):
    """From frames of the strip. Shares are of the frame, 0 none ... 1 all, in the frame where they are largest.

    Overlay is text that was put over the picture: subtitles, logos, watermarks, titles, rolling credits. Scene is text
    that belongs to it: signs, labels. A zone is the outer fifth at an edge, or where two of them meet.

    Attributes:
        area: share inside boxes with text.
        boxes: how many boxes with text one frame has at most.
        persistence: share of the followed frames with text; 0 never ... 1 always.
        overlay_area: share inside boxes with overlay text.
        overlay_boxes: how many boxes with overlay text one frame has at most.
        overlay_persistence: share of the followed frames with overlay text.
        scene_area: share inside boxes with scene text.
        top: share of this zone that is inside boxes with text, over all looked-at frames together; so the next seven.
        bottom: as `top`.
        left: as `top`.
        right: as `top`.
        top_left: as `top`.
        top_right: as `top`.
        bottom_left: as `top`.
        bottom_right: as `top`.
        s_x: the largest crop without overlay text that keeps 80 % of the frame, in pixels of the clip: s_x <= x < e_x,
            s_y <= y < e_y, as in Open-Sora-Plan v1.3. All of the frame where there is no overlay; all four are 0 where
            there is no such crop.
        e_x: see `s_x`.
        s_y: see `s_x`.
        e_y: see `s_x`.
        crop_area: share of the frame that the crop keeps: 1, down to 0.8, or 0 if there is none.
        lines: what was read beyond doubt (score 0.9), each text once, in order of appearance.
        overlay_lines: those of them that are overlay.
    """

    area: float
    boxes: float
    persistence: float
    overlay_area: float = 0.0
    overlay_boxes: float = 0.0
    overlay_persistence: float = 0.0
    scene_area: float = 0.0
    top: float = 0.0
    bottom: float = 0.0
    left: float = 0.0
    right: float = 0.0
    top_left: float = 0.0
    top_right: float = 0.0
    bottom_left: float = 0.0
    bottom_right: float = 0.0
    s_x: float = 0.0
    e_x: float = 0.0
    s_y: float = 0.0
    e_y: float = 0.0
    crop_area: float = 0.0
    lines: tuple[str, ...] = ()
    overlay_lines: tuple[str, ...] = ()


def known(name: str) -> str:
    preset(name)
    return name


@settings
class Text(Scorer[TextScore]):
    """PaddleOCR on the frames that `preset` names (see builder/text/presets.toml, with the condition for `[filter]`).

    Only what decides by that condition is read, the largest boxes first; it counts from `min_score` (0-1) and
    `min_characters` on. Text that stays on the screen while the picture moves counts whatever it says. Boxes over
    `max_box` of the frame are left out: the detector draws one on 12 % of frames without any text.
    """

    plugin: ClassVar[str] = "text"
    version: ClassVar[int] = 2
    writes: ClassVar[type[TextScore]] = TextScore
    needs: ClassVar[Resources] = Resources(memory_bytes=2 << 30)

    preset: Annotated[str, AfterValidator(known)] = "overlay-only"
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.6
    min_characters: Annotated[int, Field(ge=1)] = 2
    max_box: Annotated[float, Field(gt=0, le=1)] = 0.4

    def identity(self) -> Mapping[str, str]:
        return {**SHA256, "preset": self._preset.identity()}

    def setup(self) -> None:
        self._reader  # noqa: B018  (missing weights stop the run here, not at the first clip)

    @property
    def _preset(self) -> Preset:
        return preset(self.preset)

    @cached_property
    def _reader(self) -> PPOCR:
        return PPOCR(self.context.device)

    def search(self, frames: Frames) -> Search:
        return Search(frames, self._reader, self._preset, Rules(self.min_score, self.min_characters, self.max_box))

    def marks(self, frames: Frames, found: TextScore, picture: int) -> list[Mark]:
        """Every text on the picture, with what it is and says. Looks for it anew, as a score holds no boxes."""
        search = self.search(frames)
        places = [(text, text.track.places.get(picture)) for text in search.run()] if found.boxes else []
        return [mark(text, place, search) for text, place in places if place]

    def score(self, frames: Frames) -> TextScore:
        search = self.search(frames)
        texts = search.run()
        overlays = [text for text in texts if text.overlay]
        return TextScore(
            frames.clip.clip_id,
            area=search.share(texts),
            boxes=search.count(texts),
            persistence=search.persistence(texts),
            overlay_area=search.share(overlays),
            overlay_boxes=search.count(overlays),
            overlay_persistence=search.persistence(overlays),
            scene_area=search.share(text for text in texts if not text.overlay),
            **fractions(covered(search.width, search.height, (text.track.box.corners for text in texts))),
            **cropped(search.crop(frames.clip.width, frames.clip.height), frames.clip),
            lines=said(texts),
            overlay_lines=said(overlays),
        )


def mark(text: Writing, place: Area, search: Search) -> Mark:
    left, right = place.x0 / search.width, place.x1 / search.width
    top, bottom = place.y0 / search.height, place.y1 / search.height
    said = f": {text.line.text}" if text.line else ""
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Mark(corners, ("overlay" if text.overlay else "scene") + said)


def cropped(crop: Area | None, clip: Clip) -> dict[str, float]:
    crop = crop or Area(0, 0, 0, 0)
    edges = {"s_x": crop.x0, "e_x": crop.x1, "s_y": crop.y0, "e_y": crop.y1}
    return {**{name: float(edge) for name, edge in edges.items()}, "crop_area": crop.size / (clip.width * clip.height)}


def said(texts: Iterable[Writing]) -> tuple[str, ...]:
    lines = [text.line for text in texts if text.line is not None]
    return tuple(dict.fromkeys(line.text for line in lines if line.text and line.score >= SURE))
