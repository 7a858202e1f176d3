"""`osd-build crawl --dry-run`: what a crawl would list and fetch, and how long it must take at the allowed rate."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table as Grid

from builder.errors import OsdError
from builder.figures import as_duration, as_size
from builder.pipeline import Run
from builder.records import Fetched
from builder.stages.find import Estimate, Source
from builder.storage import Storage
from builder.table import Table


@dataclass(frozen=True)
class Forecast:
    """Of one source. `here` videos of it were fetched before; `least_s` is what limits and rates make it last."""

    source: str
    estimate: Estimate
    here: int = 0
    least_s: float = 0.0
    failure: str = ""

    @property
    def videos(self) -> int:
        return max(0, self.estimate.videos - self.here)

    @property
    def size_bytes(self) -> int:
        """Of those to be fetched; 0 is not known."""
        return self.estimate.size_bytes * self.videos // max(1, self.estimate.videos)


def forecasts(run: Run, limit: int = 0) -> Iterator[Forecast]:
    """One of each source; nothing of the run is changed. A source that cannot be asked says why."""
    here = Counter(row.source for row in Table(run.storage, "fetch", Fetched).rows())
    context = run.context()
    folder = TemporaryDirectory(prefix="osd-build-")  # a list on the web is kept somewhere while it is read
    context.storage = Storage(Path(folder.name))
    try:
        for name, source in run.sources.items():
            try:
                estimate = source.estimate(context)
            except OsdError as error:
                yield Forecast(name, Estimate(0), failure=str(error))
                continue
            if limit and limit < estimate.videos:
                share = estimate.size_bytes * limit // estimate.videos
                estimate = Estimate(limit, estimate.requests, share, False, estimate.wait_s, estimate.notes)
            yield Forecast(name, estimate, here[name], least_s(run, source, estimate, here[name]))
    finally:
        context.close()
        folder.cleanup()


def least_s(run: Run, source: Source, estimate: Estimate, here: int) -> float:
    """A request for each page and, unless the files are local, for each video."""
    local = source.root(run.config.base) is not None
    requests = estimate.requests + (0 if local else max(0, estimate.videos - here))
    return max(estimate.wait_s, requests / run.web.requests_per_s)


def show(found: Sequence[Forecast], console: Console | None = None) -> None:
    console = console or Console()
    grid = Grid("source", "to fetch", "here", "requests to list", "bytes", "lasts at least", box=None, pad_edge=False)
    for one in found:
        about = "" if one.estimate.exact else "about "
        size = f"{about}{as_size(one.size_bytes)}" if one.size_bytes else "not known"
        counts = (f"{about}{one.videos:,}", f"{one.here:,}", f"{one.estimate.requests:,}")
        numbers = (*counts, size, as_duration(one.least_s))
        grid.add_row(one.source, *(("-",) * 5 if one.failure else numbers))
    console.print(grid, highlight=False)
    for one in found:
        for note in [*one.estimate.notes, *([one.failure] if one.failure else [])]:
            console.print(f"  {one.source}: {note}", highlight=False, markup=False)
    console.print("nothing was fetched; the bytes take as long as your line makes them", highlight=False)
