"""Ours: hard cuts, dissolves and fades from thumbnails, by a small network trained on made transitions. CPU alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from builder.frames import Footage, runs
from builder.stage import settings
from builder.stages.detect import CUT, DISSOLVE, FADE, Boundary, Detector

if TYPE_CHECKING:
    from builder.media.evidence import Evidence

CHUNK = 2048  # frames looked at in one go: 8 MB of thumbnails
LEAST_FRAMES = 2  # of which one could be another shot's
LEAST_RUN = 3  # frames of a gradual transition
EDGE = 0.25  # a transition reaches as far as its likelihood is this share of the threshold,
MARGIN = 1, 8  # and so many frames more, plus its length over this: its first frames look like the shot's own
STILL, STILLS, JUMP = 1.0, 3, 24.0  # mean differences of stills and of a new one, 0..255; frames that one is shown
FLASH_S = 0.4
LASTING = 4.0  # of `lasting_change`: less and the picture after is the one before, whatever passed meanwhile
HOLD_S = 0.5  # a fade out and a fade in with less than this between them are one boundary

BAR_LEVEL = 24  # of 255: what is darker in every frame is a black bar
LEAST_PICTURE, MOST_PICTURE = 4, 0.9  # rows or columns; share of the thumbnail

Area = tuple[slice, slice]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


@settings
class Auto(Detector):
    """Cuts, dissolves and fades; flashes, exposure changes and fast pans are none.

    `cut` and `gradual` are the least likelihoods, 0..1, of a hard cut and of a transition over several frames.
    """

    plugin: ClassVar[str] = "auto"
    version: ClassVar[int] = 3

    cut: Annotated[float, Field(gt=0, lt=1)] = 0.5
    gradual: Annotated[float, Field(gt=0, lt=1)] = 0.6

    def identity(self) -> Mapping[str, str]:
        from builder.pretrained.transitions import weights_hash

        return {"weights": weights_hash()}

    def boundaries(self, footage: Footage) -> Sequence[Boundary]:
        evidence = footage.evidence
        if len(evidence) < LEAST_FRAMES:
            return []
        area = picture(evidence)
        cut, gradual, blank = (np.concatenate(part) for part in zip(*_likelihoods(evidence, area), strict=True))
        hold = max(1, round(HOLD_S * footage.scan.fps))
        graduals = _joined_over_black(list(_graduals(gradual, blank, self.gradual)), blank, hold)
        slides = {run.frame: run for run in _slides(evidence, area, footage.scan.fps)}
        hard = slides | {run.frame: run for run in _peaks(cut, self.cut)}
        cuts, lasting = ([run for run in found if _lasts(evidence, area, run)] for found in (hard.values(), graduals))
        return _settled(cuts, lasting, len(evidence))


def _likelihoods(evidence: "Evidence", area: Area) -> Iterator[tuple[Floats, Floats, Flags]]:
    """Chunk by chunk, for every frame: of a hard cut, of a gradual transition, and whether it is blank.

    Nothing happens where no two frames in a row were decoded.
    """
    from builder.pretrained.differences import blank, differences
    from builder.pretrained.transitions import REACH, TransitionNetwork

    network = TransitionNetwork()
    done = 0
    for start, stop in looked_at(evidence.seen):
        yield nothing(start - done)
        for first in range(start, stop, CHUNK):
            begin, end = max(start, first - REACH), min(stop, first + CHUNK)
            seen = differences(filling(evidence.thumbs(begin, min(stop, end + REACH)), area))
            wanted = slice(first - begin, end - begin)
            cut, gradual = network(seen)
            yield cut[wanted], gradual[wanted], blank(seen)[wanted]
        done = stop
    yield nothing(len(evidence) - done)


def picture(evidence: "Evidence") -> Area:
    """The rows and columns of thumbnails that are not black in every frame: all, if black bars take next to nothing."""
    thumbs = (evidence.thumbs(first, first + CHUNK) for first in range(0, len(evidence), CHUNK))
    brightest = np.max([part.max(axis=(0, 3)) for part in thumbs], axis=0)
    rows, columns = (np.flatnonzero(brightest.max(axis=axis) > BAR_LEVEL) for axis in (1, 0))
    whole = slice(0, brightest.shape[0]), slice(0, brightest.shape[1])
    if min(len(rows), len(columns)) < LEAST_PICTURE:
        return whole
    area = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return area if brightest[area].size < MOST_PICTURE * brightest.size else whole


def filling(thumbs: Bytes, area: Area) -> Bytes:
    """What is in the area, scaled to fill the thumbnail: the network has learnt on pictures without bars."""
    import cv2

    height, width = thumbs.shape[1:3]
    if thumbs[0][area].shape == thumbs[0].shape:
        return thumbs
    return np.stack([cv2.resize(thumb[area], (width, height), interpolation=cv2.INTER_LINEAR) for thumb in thumbs])


def looked_at(seen: Flags) -> Iterator[tuple[int, int]]:
    """Runs of at least two frames that were decoded."""
    yield from ((start, stop) for start, stop in runs(seen) if stop - start > 1)


def nothing(frames: int) -> tuple[Floats, Floats, Flags]:
    return np.zeros(frames, np.float32), np.zeros(frames, np.float32), np.zeros(frames, bool)


def _lasts(evidence: "Evidence", area: Area, run: Boundary) -> bool:
    """Whether the picture after is another one than that before, and not just in another light."""
    from builder.media.likeness import lasting_change, relit

    first, last = (run.start - 1, run.end + 1) if run.kind == CUT else (run.start - 2, run.end + 1)
    ends = max(0, first), min(len(evidence) - 1, last)
    before, after = (filling(evidence.thumbs(frame, frame + 1), area)[0] for frame in ends)
    return not relit(before, after) and (run.kind != DISSOLVE or lasting_change(before, after) >= LASTING)


def _peaks(cut: Floats, threshold: float) -> Iterator[Boundary]:
    """The frames that are likelier the first of a shot than the two before and after."""
    for i in np.flatnonzero(cut >= threshold).tolist():
        if i > 0 and cut[i] == cut[max(0, i - 2) : i + 3].max():
            yield Boundary(i, i, CUT, round(float(cut[i]), 4))


def _slides(evidence: "Evidence", area: Area, fps: float) -> Iterator[Boundary]:
    """Where one still gives way to another: the network, used to pictures that move, takes short ones for flashes.

    A flash is over within FLASH_S, and the picture is the one before it.
    """
    from builder.media.likeness import SAME, unexplained

    diff, held = np.nan_to_num(evidence.diff, nan=np.inf), max(STILLS, round(FLASH_S * fps))
    still = diff <= STILL
    for i in np.flatnonzero(diff >= JUMP).tolist():
        if i >= STILLS and still[i - STILLS + 1 : i].all() and still[i + 1 : i + STILLS].all():
            around = filling(evidence.thumbs(max(0, i - held), i + held), area)
            at = min(i, held)
            after = min(unexplained(around[at - 1], thumb) for thumb in around[at:])
            before = min(unexplained(thumb, around[at]) for thumb in around[:at])
            if min(before, after) >= SAME:
                yield Boundary(i, i, CUT, 1.0)


def _graduals(gradual: Floats, blank: Flags, threshold: float) -> Iterator[Boundary]:
    """Runs of frames that are likely enough, with what is nearly so around them; a fade has blank frames."""
    for start, end in runs(gradual >= threshold * EDGE):
        best = float(gradual[start:end].max())
        if best >= threshold and end - start >= LEAST_RUN:
            kind = FADE if blank[max(0, start - 2) : end + 2].any() else DISSOLVE
            yield Boundary(start, end, kind, round(best, 4))


def _joined_over_black(graduals: Sequence[Boundary], blank: Flags, hold: int) -> list[Boundary]:
    joined: list[Boundary] = []
    for run in graduals:
        before = joined[-1] if joined else None
        if before and run.start - before.end <= hold and blank[before.end : run.start].all():
            joined[-1] = Boundary(before.start, run.end, run.kind, max(before.score, run.score))
        else:
            joined.append(run)
    return joined


def _settled(cuts: list[Boundary], graduals: Sequence[Boundary], frames: int) -> list[Boundary]:
    """One boundary where both speak of the same: the cut, which is the surer sign. Transitions get their margin."""
    alone = [run for run in graduals if not any(run.start - 2 <= cut.start <= run.end + 1 for cut in cuts)]
    ordered = sorted([*cuts, *alone], key=lambda boundary: (boundary.start, boundary.end))
    before = [0, *(boundary.end for boundary in ordered)]
    after = [*(boundary.start for boundary in ordered[1:]), frames]
    return [_widened(*each) for each in zip(ordered, before, after, strict=False)]


def _widened(run: Boundary, before: int, after: int) -> Boundary:
    """The margin takes at most half of the way to a neighbour."""
    if run.kind == CUT:
        return run
    margin = MARGIN[0] + (run.end - run.start) // MARGIN[1]
    start = max(run.start - margin, (run.start + before) // 2)
    end = min(run.end + margin, (run.end + after) // 2)
    return Boundary(start, end, run.kind, run.score)
