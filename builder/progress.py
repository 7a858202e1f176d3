"""What a person sees while a run goes on: a live table on a terminal, now and then a line elsewhere."""

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid

from builder.board import Board
from builder.figures import as_duration, as_size
from builder.meter import News
from builder.receipts import Receipt
from builder.report.funnel import Count
from builder.talks import Talks

RATE_S = 10.0  # over which the rate is taken
MOST_KINDS = 5
LINE_S = 30.0  # between two lines where there is no terminal


class Progress:
    """Use as a context manager; call `watch` with the board, `add` with each receipt, `hear` with each news.

    `left` tells, once it is known, how many files are to be fetched, and their bytes (0: not known).
    """

    def __init__(self, left: Callable[[], tuple[int, int]] = lambda: (0, 0)) -> None:
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, refresh_per_second=4) if sys.stderr.isatty() else None
        self.told: set[str] = set()
        self.totals: dict[str, list[int]] = {}
        self.reasons: dict[str, Counter[str]] = {}
        self.parts: dict[str, tuple[int, int | None]] = {}
        self.transfer = Transfer(left)
        self.talks = Talks()
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()
        elif self.transfer.files:
            self._print(self.transfer.line())
        if self.talks.total.clips:
            self._print(self.talks.sum())

    def add(self, receipt: Receipt) -> None:
        totals = self.totals.setdefault(receipt.table, [0, 0, 0, 0])
        for n, value in enumerate((receipt.computed, receipt.kept, receipt.filtered, receipt.failed)):
            totals[n] += value
        self.reasons.setdefault(receipt.table, Counter()).update(receipt.reasons)

    def hear(self, news: News) -> None:
        """From another thread than the rest."""
        with self.lock:
            fetching = bool(news.size_bytes or news.outcomes or news.waiting) or not news.talk.clips
            if news.talk.clips:
                self.talks.add(news.who, news.talk)
            if fetching:
                self.transfer.add(news)
            if self.live:
                self.live.update(self._picture())
                return
            if news.talk.clips and self.talks.due():
                self._print(self.talks.line())
            if fetching and self.transfer.due():
                self._print(self.transfer.line())

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)

    def watch(self, board: Board) -> None:
        self.parts = board.progress()
        admitted, of = self.parts.get("admit", (0, None))
        if admitted == of:
            self.transfer.begin()
        if self.live:
            with self.lock:
                self.live.update(self._picture())
            return
        for table, (done, units) in self.parts.items():
            if done == units and table not in self.told and table in self.totals:
                self.told.add(table)
                self.console.print(self._line(table), highlight=False)

    def _line(self, table: str) -> str:
        computed, kept, filtered, failed = self.totals[table]
        return f"{table}: {computed} computed, {kept} kept, {filtered} filtered, {failed} failed"

    def _picture(self) -> Group:
        grid = Grid("stage", "parts", "computed", "kept", "filtered", "failed", "why", box=None)
        for table, (done, units) in list(self.parts.items()):
            cells = [str(n) for n in self.totals.get(table, ["", "", "", ""])]
            why = reasons(self.reasons.get(table, Counter()))
            grid.add_row(table, f"{max(done, 0)}/{'?' if units is None else units}", *cells, why)
        talks = [self.talks.line()] if self.talks.total.clips else []
        if not self.transfer.files and not self.transfer.size_bytes:
            return Group(grid, *talks)
        bar = ProgressBar(total=self.transfer.expected or None, completed=self.transfer.done, width=40)
        return Group(grid, bar, self.transfer.line(), *talks)


class Transfer:
    """The files that are being fetched."""

    def __init__(self, left: Callable[[], tuple[int, int]]) -> None:
        self.left = left
        self.files, self.size_bytes = 0, 0
        self.outcomes: Counter[str] = Counter()
        self.waiting = self.told_of = ""
        self.totals: tuple[int, int] | None = None
        self.recent: deque[tuple[float, int]] = deque()
        self.started = self.last_line = time.monotonic()

    def begin(self) -> None:
        """What is left to fetch is known."""
        if self.totals is None:
            self.totals, self.started = self.left(), time.monotonic()

    def add(self, news: News) -> None:
        self.size_bytes += news.size_bytes
        self.files += news.outcomes.total()
        self.outcomes.update({kind: n for kind, n in news.outcomes.items() if kind != "kept"})
        self.waiting = news.waiting
        now = time.monotonic()
        self.recent.append((now, self.size_bytes))
        while self.recent[0][0] < now - RATE_S:
            self.recent.popleft()

    def due(self) -> bool:
        """Whether it is time for another line, or something is waited for; asked for once it is printed."""
        if time.monotonic() - self.last_line < LINE_S and self.waiting in ("", self.told_of):
            return False
        self.last_line, self.told_of = time.monotonic(), self.waiting
        return True

    @property
    def expected(self) -> int:
        """Bytes if all are known, else files."""
        files, size_bytes = self.totals or (0, 0)
        return size_bytes or files

    @property
    def done(self) -> int:
        return self.size_bytes if self.totals and self.totals[1] else self.files

    @property
    def bytes_per_s(self) -> float:
        (first, before), (last, now) = self.recent[0], self.recent[-1]
        return (now - before) / (last - first) if last > first else 0.0

    def line(self) -> str:
        files, size_bytes = self.totals or (0, 0)
        of = f" of {as_size(size_bytes)}" if size_bytes else ""
        lasted_s = time.monotonic() - self.started
        parts = [f"fetch: {self.files:,}{f' of {files:,}' if files else ''} files", f"{as_size(self.size_bytes)}{of}"]
        parts.append(f"{as_size(round(self.bytes_per_s))}/s")
        if 0 < self.done < self.expected:
            parts.append(f"about {as_duration(lasted_s * (self.expected - self.done) / self.done)} left")
        if self.outcomes:
            parts.append(f"not kept: {reasons(self.outcomes)}")
        return ", ".join([*parts, *([self.waiting] if self.waiting else [])])


def reasons(found: Counter[str]) -> str:
    more = [f"{len(found) - MOST_KINDS} other kinds"] if len(found) > MOST_KINDS else []
    return ", ".join([*(f"{kind} {n}" for kind, n in found.most_common(MOST_KINDS)), *more])


def show_funnel(counts: list[Count], console: Console | None = None) -> None:
    """The funnel as a table on standard output."""
    grid = Grid("stage", "in", "kept", "filtered", "failed", "rows", "why", box=None, pad_edge=False)
    for c in counts:
        state = (
            "" if c.units is not None and c.finished >= c.units else f" ({max(c.finished, 0)}/{c.units or '?'} parts)"
        )
        numbers = [str(n) for n in (c.inputs, c.kept, c.filtered, c.failed, c.rows)]
        grid.add_row(c.table + state, *numbers, reasons(c.reasons))
    (console or Console()).print(grid, highlight=False)
