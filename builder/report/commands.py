"""The commands that show what a run is and holds."""

from pathlib import Path
from typing import Annotated

import typer

from builder.options import JsonOpt, RunArg, SetOpt

reports = typer.Typer()


@reports.command()
def status(run: RunArg, sets: SetOpt = None) -> None:
    """Show the funnel: what went into each stage, what came out, and why the rest did not."""
    from builder.execute import open_run
    from builder.progress import show_funnel
    from builder.report.funnel import funnel

    show_funnel(funnel(open_run(run, sets or ())))


@reports.command()
def stats(path: Annotated[Path, typer.Argument(help="A run folder.")], as_json: JsonOpt = False) -> None:
    """Counts, exact durations, frames, resolutions and aspects, scores, caption lengths."""
    from builder.report.stats import render, stats

    found = stats(path)
    typer.echo(found.to_json() if as_json else render(found))


@reports.command()
def report(
    run: RunArg,
    sets: SetOpt = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the page goes; else RUN/report.html.")] = None,
) -> None:
    """Write a page to look at: the funnel, the clips with their scores and captions, thresholds, failures, cost."""
    from builder.execute import open_run
    from builder.report.page import write_report

    typer.echo(write_report(open_run(run, sets or ()), out))


@reports.command()
def view(
    run: RunArg,
    sets: SetOpt = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen on 127.0.0.1; 0: any free port.")] = 0,
) -> None:
    """Serve the report on this machine, to keep and drop clips and to put captions right; `filter` obeys."""
    from builder.execute import open_run
    from builder.report.view import serve

    serve(open_run(run, sets or ()), port, lambda url: typer.echo(f"{url}\nuntil Ctrl-C; decisions: {run}/overrides"))
