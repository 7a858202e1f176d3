"""Which of the files that a site offers of one video is taken: `rendition` in build.toml."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator


@dataclass(frozen=True)
class Rendition:
    """One file of a video, as announced: displayed size in pixels, frames/s and bytes; 0 is not known."""

    url: str
    width: int = 0
    height: int = 0
    fps: float = 0.0
    size_bytes: int = 0

    @property
    def rank(self) -> tuple[int, int, float, str]:
        """Larger is larger; the URL makes the choice the same each time."""
        return self.width * self.height, self.size_bytes, self.fps, self.url


BOUNDS: Mapping[str, Callable[[Rendition], int]] = {
    "max_height": lambda file: file.height,
    "max_width": lambda file: file.width,
    "max_short_side": lambda file: min(file.width, file.height),
}
ALLOWED = f"largest, smallest, {', '.join(f'{name}=PIXELS' for name in BOUNDS)}"


def parse(policy: str) -> tuple[str, int]:
    """The policy's name and its bound in pixels (0: it has none).

    Raises:
        ValueError: there is no such policy; names those there are.
    """
    name, _, bound = policy.replace(" ", "").partition("=")
    if name in ("largest", "smallest") and not bound:
        return name, 0
    if name in BOUNDS and bound.isascii() and bound.isdecimal() and int(bound) > 0:
        return name, int(bound)
    raise ValueError(f"{policy!r} names no rendition; allowed: {ALLOWED}")


def checked(policy: str) -> str:
    parse(policy)
    return policy


Policy = Annotated[str, AfterValidator(checked)]


def choose(policy: str, files: Iterable[Rendition]) -> Rendition | None:
    """The largest file that the policy allows, the smallest there is if it allows none; None if no file has a URL.

    A file of unknown size is taken only where no other is.
    """
    name, bound = parse(policy)
    offered = [file for file in files if file.url]
    offered = [file for file in offered if file.width and file.height] or offered
    if name in BOUNDS:
        within = [file for file in offered if BOUNDS[name](file) <= bound]
    else:
        within = offered if name == "largest" else []
    if within:
        return max(within, key=lambda file: file.rank)
    return min(offered, key=lambda file: file.rank, default=None)
