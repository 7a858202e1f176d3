"""Which clips a model is shown at once: those of like length, as many as the device holds.

What is in a batch decides the last bits of what it computes, so nothing here may depend on chance: not on rank, order
or interruption (only the clips of one call are grouped, by length, then by their place), and not on how much memory
happens to be free (what counts is how much a device of this kind has, and what one clip took of it in a trial).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

STEP = {"cpu": 4, "cuda": 256}  # tokens that could be read in the time that writing one takes, whatever the group
DIGITS = 3
USABLE = 0.90  # of a device's memory; the rest is for the libraries, fragments and what nobody counted


@dataclass(frozen=True)
class Limits:
    """Of one group: clips, tokens with all padded to the longest (0: any number), and how many of these may be padding.

    A step of writing costs about the same for one clip as for many, so a little padding is cheaper than a second group.
    """

    clips: int
    tokens: int = 0
    padding: int = 0

    def hold(self, tokens: Sequence[int]) -> bool:
        """Whether clips of these lengths, longest first, may be one group. One clip alone always may."""
        whole = len(tokens) * tokens[0]
        fits = len(tokens) <= self.clips and (not self.tokens or whole <= self.tokens)
        return len(tokens) == 1 or (fits and whole - sum(tokens) <= self.padding)


def groups(tokens: Sequence[int], limits: Limits) -> list[list[int]]:
    """Indices into `tokens`, in groups within the limits, longest first."""
    found: list[list[int]] = []
    for i in sorted(range(len(tokens)), key=lambda i: (-tokens[i], i)):
        if found and limits.hold([tokens[n] for n in [*found[-1], i]]):
            found[-1].append(i)
        else:
            found.append([i])
    return found


class Device(Protocol):
    """What a device tells of its memory, in bytes."""

    def total(self) -> int: ...
    def used(self) -> int: ...  # now
    def peak(self) -> int: ...  # since `forget`
    def forget(self) -> None: ...


@dataclass(frozen=True)
class Cuda:
    """One GPU."""

    index: int

    def total(self) -> int:
        import torch

        return int(torch.cuda.get_device_properties(self.index).total_memory)

    def used(self) -> int:
        import torch

        return int(torch.cuda.memory_allocated(self.index))

    def peak(self) -> int:
        import torch

        return int(torch.cuda.max_memory_allocated(self.index))

    def forget(self) -> None:
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.index)


def budget(devices: Sequence[Device], trial: Callable[[], int]) -> int:
    """How many tokens fit on the fullest of these devices at once, rounded down to three binary digits.

    `trial` runs the model on what is always the same and says on how many tokens. What that took counts as the cost of
    a token; that overstates it, as a part of it is there once for any number. Of a coarse number the last bytes of a
    measurement are no part.
    """
    before = []
    for device in devices:
        device.forget()
        before.append(device.used())
    tokens = trial()
    fits = [
        (device.total() * USABLE - used) * tokens / max(1, device.peak() - used)
        for device, used in zip(devices, before, strict=True)
    ]
    few = max(0, int(min(fits)).bit_length() - DIGITS)
    return max(1, int(min(fits)) >> few << few)


def gpus_of(network: Any) -> list[Cuda]:
    """The GPUs that a model lies on."""
    found = {parameter.device.index or 0 for parameter in network.parameters() if parameter.device.type == "cuda"}
    return [Cuda(index) for index in sorted(found)]
