"""What a person sees while a run goes on: a live table on a terminal, one line a finished stage elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table as Grid

from builder.board import Board
from builder.engine import Receipt
from builder.report.funnel import Count


class Progress:
    """Use as a context manager; call `watch` with the board and `add` with each receipt."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, refresh_per_second=4) if sys.stderr.isatty() else None
        self.started: dict[str, float] = {}
        self.told: set[str] = set()
        self.totals: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def add(self, receipt: Receipt) -> None:
        totals = self.totals.setdefault(receipt.table, [0, 0, 0, 0])
        for n, value in enumerate((receipt.computed, receipt.kept, receipt.filtered, receipt.failed)):
            totals[n] += value

    def watch(self, board: Board) -> None:
        progress = board.progress()
        for table, (done, _) in progress.items():
            if done or table in self.totals:
                self.started.setdefault(table, time.monotonic())
        if self.live:
            self.live.update(self._grid(progress))
            return
        for table, (done, units) in progress.items():
            if done == units and table not in self.told and table in self.totals:
                self.told.add(table)
                self.console.print(self._line(table), highlight=False)

    def _line(self, table: str) -> str:
        computed, kept, filtered, failed = self.totals[table]
        return f"{table}: {computed} computed, {kept} kept, {filtered} filtered, {failed} failed"

    def _grid(self, progress: dict[str, tuple[int, int | None]]) -> Grid:
        grid = Grid("stage", "parts", "computed", "kept", "filtered", "failed", box=None)
        for table, (done, units) in progress.items():
            cells = [str(n) for n in self.totals.get(table, ["", "", "", ""])]
            grid.add_row(table, f"{max(done, 0)}/{'?' if units is None else units}", *cells)
        return grid


def show_funnel(counts: list[Count], console: Console | None = None) -> None:
    """The funnel as a table on standard output."""
    grid = Grid("stage", "in", "kept", "filtered", "failed", "rows", "why", box=None, pad_edge=False)
    for c in counts:
        why = ", ".join(f"{kind} {n}" for kind, n in c.reasons.most_common(4))
        state = (
            "" if c.units is not None and c.finished >= c.units else f" ({max(c.finished, 0)}/{c.units or '?'} parts)"
        )
        numbers = [str(n) for n in (c.inputs, c.kept, c.filtered, c.failed, c.rows)]
        grid.add_row(c.table + state, *numbers, why)
    (console or Console()).print(grid, highlight=False)
