"""Made edits: shots joined by cuts, dissolves and fades, with the truth about every frame."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shots import HEIGHT, WIDTH, Footage, Pictures, Rng, chance, disturbed, natural, shot

ALIKE, ALIKE_IN_ONE_VIDEO = 9.0, 20.0  # mean difference below which nobody could say whether two pictures are one shot
HELD = 14  # frames of black between a fade out and a fade in from which on they are two transitions


@dataclass(frozen=True)
class Example:
    """uint8 (n, 27, 48, 3); of each frame, 0 or 1: first of a shot after a cut, in a transition, not to be learned."""

    pictures: NDArray[np.uint8]
    cut: NDArray[np.float32]
    gradual: NDArray[np.float32]
    unsure: NDArray[np.float32]


def example(seed: int, footage: Footage) -> Example:
    rng = np.random.default_rng(seed)
    edit = _Edit(natural(rng, footage)) if chance(rng, 0.2) else _edited(rng, footage)
    return edit.example(_recorded(rng, edit.pictures))


class _Edit:
    def __init__(self, first: Pictures) -> None:
        self.pictures = first
        self.cuts: list[int] = []
        self.graduals: list[tuple[int, int]] = []
        self.unsure: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.pictures)

    def append(self, pictures: Pictures) -> None:
        self.pictures = np.concatenate([self.pictures, pictures])

    def example(self, recorded: NDArray[np.uint8]) -> Example:
        cut, gradual, unsure = np.zeros((3, len(recorded)), np.float32)
        cut[self.cuts] = 1
        for labels, spans in ((gradual, self.graduals), (unsure, self.unsure)):
            for start, end in spans:
                labels[max(0, start) : end] = 1
        return Example(recorded, cut, gradual, unsure)


def _edited(rng: Rng, footage: Footage) -> _Edit:
    first, before = shot(rng, footage, _length(rng))
    edit = _opened(rng, first)
    for _ in range(int(rng.integers(4, 11))):
        new, which = shot(rng, footage, _length(rng), None if chance(rng, 0.03) else before)
        new = disturbed(rng, new, footage)
        apart = np.abs(edit.pictures[-1] - new[0]).mean()
        alike = apart < (ALIKE_IN_ONE_VIDEO if which == before else ALIKE)
        length = int(rng.choice([rng.integers(2, 8), rng.integers(8, 25), rng.integers(20, 48)], p=[0.12, 0.68, 0.2]))
        length = min(length, _free(edit) - 6, len(new) - 6)
        kind = rng.choice(["cut", "dissolve", "fade"], p=[0.5, 0.24, 0.26])
        if kind == "cut" or length < 2:
            _cut(rng, edit, new, alike)
        elif kind == "dissolve":
            _dissolve(rng, edit, new, length, alike)
        else:
            _fade(rng, edit, new)
        before = which
    return edit


def _length(rng: Rng) -> int:
    """Frames of a shot."""
    return int(rng.choice([rng.integers(6, 24), rng.integers(20, 60), rng.integers(40, 160)], p=[0.08, 0.3, 0.62]))


def _free(edit: _Edit) -> int:
    """Frames since the last transition."""
    return len(edit) - max([0, *edit.cuts, *(end for _, end in edit.graduals)])


def _opened(rng: Rng, first: Pictures) -> _Edit:
    """Some videos begin with a fade in."""
    if not chance(rng, 0.08):
        return _Edit(first)
    length = int(min(len(first) // 2, rng.integers(4, 40)))
    blank, hold = _blank(rng), int(rng.integers(10, 30)) if chance(rng, 0.5) else 0
    edit = _Edit(_plain(blank, hold))
    edit.append(_blended(_plain(blank, length), first[:length], _eased(rng, length)))
    edit.append(first[length:])
    (edit.graduals if hold else edit.unsure).append((hold, hold + length))
    return edit


def _cut(rng: Rng, edit: _Edit, new: Pictures, alike: bool) -> None:
    at = len(edit)
    if len(new) > 8 and chance(rng, 0.05):  # one blended frame
        new[0] = (edit.pictures[-1] + new[0]) / 2
        edit.unsure.append((at + 1, at + 2))
    elif len(new) > 8 and chance(rng, 0.04):  # with a flash on it
        length, share = int(rng.integers(1, 4)), rng.uniform(0.5, 1)
        new[:length] = new[:length] * (1 - share) + 255 * share
        edit.unsure.append((at + 1, at + 1 + length))
    if alike:
        edit.unsure.append((at - 2, at + 2))
    else:
        edit.cuts.append(at)
    edit.append(new)


def _dissolve(rng: Rng, edit: _Edit, new: Pictures, length: int, alike: bool) -> None:
    at = len(edit) - length
    edit.pictures[at:] = _blended(edit.pictures[at:], new[:length], _eased(rng, length))
    edit.append(new[length:])
    edit.graduals.append((at, at + length))
    if alike:
        edit.unsure.append((at, at + length))


def _fade(rng: Rng, edit: _Edit, new: Pictures) -> None:
    """Out and in, with black (or white) held between them or not; or a cut on one side of the black."""
    room = min(_free(edit), len(new)) - 4
    usual = chance(rng, 0.6)  # as long out as in, and short
    out, in_ = [int(rng.integers(3, 14))] * 2 if usual else rng.integers(3, 40, 2).tolist()
    out, in_ = max(1, min(out, room)), max(1, min(in_, room))
    hold = int(rng.choice([0, rng.integers(1, 8), rng.integers(HELD + 2, 50)], p=[0.6, 0.2, 0.2]))
    side = rng.choice(["both", "out", "in"], p=[0.88, 0.06, 0.06])
    out, in_ = 0 if side == "in" else out, 0 if side == "out" else in_
    hold = int(rng.integers(HELD + 2, 50)) if side != "both" and chance(rng, 0.7) else hold
    blank, at = _blank(rng), len(edit)
    if out:
        edit.pictures[at - out :] = _blended(edit.pictures[at - out :], _plain(blank, out), _reaching(rng, out))
    edit.append(_plain(blank, hold))
    if in_:
        edit.append(_blended(_plain(blank, in_), new[:in_], _reaching(rng, in_)))
    edit.append(new[in_:])
    if hold >= HELD:
        edit.graduals += [span for span in ((at - out, at), (at + hold, at + hold + in_)) if span[1] > span[0]]
        edit.cuts += [cut for cut, there in ((at, not out), (at + hold, not in_)) if there]
    else:
        edit.graduals.append((at - out, at + hold + in_))
        edit.cuts += [at + hold] if out + hold + in_ == 0 else []


def _plain(colour: NDArray[np.float64], frames: int) -> Pictures:
    return np.broadcast_to(colour, (frames, HEIGHT, WIDTH, 3)).astype(np.float32)


def _blank(rng: Rng) -> NDArray[np.float64]:
    """Black, nearly black, or white."""
    low, high = [(0, 0), (0, 18), (225, 255)][int(rng.choice(3, p=[0.72, 0.14, 0.14]))]
    return np.full(3, rng.uniform(low, high))


def _eased(rng: Rng, frames: int) -> NDArray[np.float64]:
    """How much of the new picture each frame of a transition has; neither none nor all."""
    share = np.arange(1, frames + 1) / (frames + 1)
    way = rng.choice(["linear", "smooth", "bent"], p=[0.7, 0.15, 0.15])
    if way == "smooth":
        return share * share * (3 - 2 * share)
    return share if way == "linear" else share ** np.exp(rng.normal(0, 0.4))


def _reaching(rng: Rng, frames: int) -> NDArray[np.float64]:
    """The same, and most often all at the end."""
    return np.arange(1, frames + 1) / frames if chance(rng, 0.6) else _eased(rng, frames)


def _blended(old: Pictures, new: Pictures, share: NDArray[np.float64]) -> Pictures:
    weight = share[:, None, None, None]
    return (old * (1 - weight) + new * weight).astype(np.float32)


def _recorded(rng: Rng, pictures: Pictures) -> NDArray[np.uint8]:
    """As a camera and a codec give it: noise, flicker, pulses at key frames, black bars."""
    return np.clip(np.rint(sum(_flaws(rng, pictures), pictures)), 0, 255).astype(np.uint8)


def _flaws(rng: Rng, pictures: Pictures) -> Iterator[Pictures]:
    frames = len(pictures)
    if chance(rng, 0.5):
        yield rng.normal(0, rng.uniform(0.1, 1), (frames, 1, 1, 3)).astype(np.float32)
    noise = rng.choice([0, 0.5, 1.5, 4], p=[0.3, 0.35, 0.25, 0.1])
    if noise:
        yield rng.normal(0, noise, pictures.shape).astype(np.float32)
    if chance(rng, 0.25):
        period = int(rng.choice([12, 24, 50]))
        pulses = rng.normal(0, rng.uniform(0.3, 1.5), (frames // period + 1, HEIGHT, WIDTH, 1))
        yield np.repeat(pulses, period, axis=0)[:frames].astype(np.float32)
    if chance(rng, 0.08):
        bars = np.zeros_like(pictures)
        rows = int(rng.integers(1, 5))
        bars[:, :rows], bars[:, -rows:] = -255, -255
        yield bars
