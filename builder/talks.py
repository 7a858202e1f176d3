"""How fast models answer: clips and tokens a second, of every rank, and what it has come to."""

import time
from collections import deque

from builder.figures import as_number
from builder.meter import Talk

RATE_S = 60.0  # over which rates are taken: a batch may take half of that
LINE_S = 30.0  # between two lines where there is no terminal


class Talks:
    """What was asked and answered, by rank ("" for workers that are none)."""

    def __init__(self) -> None:
        self.total, self.started, self.last_line = Talk(), time.monotonic(), time.monotonic()
        self.recent: dict[str, deque[tuple[float, Talk]]] = {}

    def add(self, who: str, talk: Talk) -> None:
        now = time.monotonic()
        self.total += talk
        recent = self.recent.setdefault(who, deque([(self.started, Talk())]))
        recent.append((now, recent[-1][1] + talk))
        while len(recent) > 2 and recent[1][0] < now - RATE_S:  # noqa: PLR2004
            recent.popleft()

    def due(self) -> bool:
        """Whether it is time for another line; asked for once it is printed."""
        if time.monotonic() - self.last_line < LINE_S:
            return False
        self.last_line = time.monotonic()
        return True

    def rates(self) -> dict[str, tuple[float, float]]:
        """Clips, and tokens of answers, a second until now: those of a rank that has stopped sink."""
        now, found = time.monotonic(), {}
        for who, recent in sorted(self.recent.items()):
            (since, before), (_, last) = recent[0], recent[-1]
            lasted_s, talk = max(now - since, 1e-3), last - before
            found[who] = talk.clips / lasted_s, talk.tokens_out / lasted_s
        return found

    def line(self) -> str:
        rates = self.rates()
        clips, tokens = (sum(values) for values in zip(*rates.values(), strict=True))
        text = f"answers: {self.total.clips:,} clips, {speed(clips, tokens)}"
        named = [f"{who} {speed(*rate)}" for who, rate in rates.items() if who]
        return f"{text} ({'; '.join(named)})" if len(named) > 1 else text

    def sum(self) -> str:
        total = self.total
        tokens = f"{total.tokens_in:,} tokens in and {total.tokens_out:,} out"
        cost = f", cost {total.cost:,.4g}" if total.cost else ""
        return f"answers: {total.clips:,} clips, {tokens}{cost}"


def speed(clips: float, tokens: float) -> str:
    return f"{as_number(clips)} clips/s {as_number(tokens)} tokens/s"
