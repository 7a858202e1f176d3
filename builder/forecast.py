"""`osd-build crawl --dry-run`: what a crawl would list and fetch, and how long it must take at the allowed rate."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table as Grid

from builder.errors import OsdError
from builder.figures import as_duration, as_number, as_size
from builder.pipeline import Run
from builder.records import Failure, Fetched
from builder.stage import Context, Item
from builder.stages.admit import Admit
from builder.stages.find import Estimate, Find, Source, SourceSpec
from builder.storage import Storage
from builder.table import Table

# Evidence and strip of the decode pass: measured by benchmarks/scan.py on real footage, November 2026. The size of the
# video hardly matters; what is in it does: from a third of that (screen recordings) to twice (fine texture).
KEPT_BYTES_PER_H = 580_000_000


@dataclass(frozen=True)
class Forecast:
    """Of one source. `here` videos of it were fetched before, which last `here_s` by their headers; `least_s` is what
    limits and rates make it last.
    """

    source: str
    estimate: Estimate
    here: int = 0
    here_s: float = 0.0
    least_s: float = 0.0
    failure: str = ""

    @property
    def videos(self) -> int:
        return max(0, self.estimate.videos - self.here)

    @property
    def size_bytes(self) -> int:
        """Of those to be fetched; 0 is not known."""
        return self.estimate.size_bytes * self.videos // max(1, self.estimate.videos)


def forecasts(run: Run, limit: int = 0) -> list[Forecast]:
    """One of each source; nothing of the run is changed. A source that cannot be asked says why."""
    context = run.context()
    with TemporaryDirectory(prefix="osd-build-") as folder, closing(context):
        context.storage = Storage(Path(folder))  # a list on the web is kept somewhere while it is read
        asked = {name: guarded(name, source, context) for name, source in run.sources.items()}
        counted = {one.source: one for one in counts(run, context, [n for n in asked if asked[n] is None], limit)}
    here = Counter(row.source for row in Table(run.storage, "fetch", Fetched).rows())
    found = [counted.get(name) or one or Forecast(name, Estimate(0)) for name, one in asked.items()]
    found = [one if one.failure or one.source in counted else guessed(one, limit, here) for one in found]
    lengths = seconds_here(run)
    return [
        replace(one, here_s=lengths[one.source], least_s=least_s(run, run.sources[one.source], one)) for one in found
    ]


def seconds_here(run: Run) -> Mapping[str, float]:
    """What was fetched lasts, by source and header."""
    lengths: dict[str, float] = defaultdict(float)
    for row in Table(run.storage, "fetch", Fetched).rows():
        lengths[row.source] += row.duration_s
    return lengths


def guarded(name: str, source: Source, context: Context) -> Forecast | None:
    """What a source guesses; None where it has to be listed."""
    try:
        estimate = source.estimate(context)
    except OsdError as error:
        return Forecast(name, Estimate(0), failure=str(error))
    return Forecast(name, estimate) if estimate else None


def guessed(one: Forecast, limit: int, here: Mapping[str, int]) -> Forecast:
    """With at most `limit` videos, and those that were fetched before."""
    estimate = one.estimate
    if limit and limit < estimate.videos:
        share = estimate.size_bytes * limit // estimate.videos
        estimate = replace(estimate, videos=limit, size_bytes=share)
    return replace(one, estimate=estimate, here=min(here[one.source], estimate.videos))


def counts(run: Run, context: Context, names: Sequence[str], limit: int) -> Iterator[Forecast]:
    """Of sources that can be listed as a whole: what a crawl would admit."""
    find, admit = Find(), next(stage for _, stage in run.stages if isinstance(stage, Admit))
    states = {name: run.sources[name].state(run.config.base) for name in names}
    specs = [SourceSpec(name, "", "", state, limit) for name, state in states.items()]
    with find.opened(context):
        answers = dict(zip(names, find.batch([Item(spec, "") for spec in specs]), strict=True))
    rows = [row for answer in answers.values() if not isinstance(answer, Failure) for row in answer]
    with admit.opened(context):
        outcomes = list(zip(rows, admit.batch([Item(row, "") for row in rows]), strict=True))
    fetched = {row.id for row in Table(run.storage, "fetch", Fetched).rows()}
    for name, answer in answers.items():
        if isinstance(answer, Failure):
            yield Forecast(name, Estimate(0), failure=f"{answer.kind}: {answer.message}")
            continue
        mine = [outcome for row, outcome in outcomes if row.source == name]
        kept = [row for outcome in mine if not isinstance(outcome, Failure) for row in outcome]
        left_out = Counter(outcome.kind for outcome in mine if isinstance(outcome, Failure))
        notes = tuple(f"{n:,} left out: {kind}" for kind, n in left_out.most_common())
        estimate = Estimate(len(kept), size_bytes=sum(row.size_bytes for row in kept), notes=notes)
        yield Forecast(name, estimate, sum(row.id in fetched for row in kept))


def least_s(run: Run, source: Source, one: Forecast) -> float:
    """A request for each page and, unless the files are local, for each video."""
    local = source.root(run.config.base) is not None
    requests = one.estimate.requests + (0 if local else one.videos)
    return max(one.estimate.wait_s, requests / run.web.requests_per_s)


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
            console.print(f"  {one.source}: {note}", highlight=False, markup=False, soft_wrap=True)
    hours = sum(one.here_s for one in found) / 3600
    of_those = (
        f": {as_size(round(hours * KEPT_BYTES_PER_H))} for the {as_number(hours)} h that are here" if hours else ""
    )
    console.print(
        f"split keeps about {as_size(KEPT_BYTES_PER_H)} for each hour of video{of_those}",
        highlight=False,
        soft_wrap=True,
    )
    console.print("nothing was fetched; the bytes take as long as your line makes them", highlight=False)
