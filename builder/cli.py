"""osd-build: the command line. Each command parses, calls one function, and prints."""

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

from builder.endings import bug, debugging, fail, leave, unwritable
from builder.errors import ConfigError, OsdError

try:
    import typer
except ImportError:  # the base install is the loader alone
    sys.exit("osd-build needs the extra `build`; run: pip install 'open-sora-dataset[build]'")

from builder.finished_datasets import datasets
from builder.options import JsonOpt, RunArg, SetOpt
from builder.publishing import publishing
from builder.report.commands import reports
from builder.single_files import files

HELP = "From openly licensed video to captioned, verified WebDataset shards."
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP)
app.add_typer(files)
app.add_typer(datasets)
app.add_typer(publishing)
app.add_typer(reports)


LimitOpt = Annotated[int, typer.Option(min=0, help="At most that many videos of each source; 0: all.")]
PrivateOpt = Annotated[
    bool, typer.Option("--allow-private-hosts", help="Let lists name hosts inside private networks, also this one.")
]
ScratchOpt = Annotated[
    Path | None, typer.Option(help="Copy each video of a folder here while it is decoded: for slow network disks.")
]
GpusOpt = Annotated[
    str,
    typer.Option(metavar="all|N|0,1", help="GPUs to use: all (as without it), how many, or which; a rank each."),
]


def allowing(private: bool) -> list[str]:
    return ["web.allow_private_hosts=true"] if private else []


def staging(scratch: Path | None) -> list[str]:
    return [f"scan.scratch={scratch.absolute()}"] if scratch else []


def steps(run: Path, verbs: tuple[str, ...], sets: list[str] | None, limit: int = 0, refresh: bool = False) -> NoReturn:
    from builder.execute import execute

    try:
        code = execute(run, verbs, sets or (), limit, refresh)
    except KeyboardInterrupt:
        fail("stopped; everything finished is kept, run the same again to go on", 130)
    raise typer.Exit(code)


def tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"osd-build {version('open-sora-dataset')}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=tell_version, is_eager=True, help="Say which version this is.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Of a fault of osd-build itself, show where it is.")] = False,
) -> None:
    debugging.on = debug


@app.command()
def init(
    run: RunArg,
    folder: Annotated[Path | None, typer.Option(help="Your videos; they are read in place, never changed.")] = None,
    license: Annotated[str, typer.Option(help="Their licence, an SPDX id where there is one.")] = "",
) -> None:
    """Make a run folder with a commented build.toml."""
    from builder.template import write_template

    typer.echo(f"wrote {write_template(run, folder, license)}; next: osd-build run {shlex.quote(str(run))}")


@app.command()
def run(
    run: RunArg, sets: SetOpt = None, private: PrivateOpt = False, limit: LimitOpt = 0, scratch: ScratchOpt = None
) -> None:
    """Do everything up to a finished local dataset: crawl, split, filter, caption, pack."""
    from builder.stages import VERBS

    steps(run, VERBS, [*(sets or ()), *allowing(private), *staging(scratch)], limit)


@app.command()
def crawl(
    run: RunArg,
    sets: SetOpt = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched; fetch nothing.")] = False,
    limit: LimitOpt = 0,
    refresh: Annotated[bool, typer.Option("--refresh", help="List anew; a site's answers hold for a day.")] = False,
    private: PrivateOpt = False,
) -> None:
    """Find videos in the sources, fetch and probe them, merge exact duplicates."""
    sets = [*(sets or ()), *allowing(private)]
    if dry_run:
        from builder.execute import liberties, open_run
        from builder.forecast import forecasts, show

        opened = open_run(run, sets)
        found = forecasts(opened, limit)
        show(found)
        for note in liberties(opened):
            typer.echo(note, err=True)
        raise typer.Exit(3 if any(one.failure for one in found) else 0)
    steps(run, ("crawl",), sets, limit, refresh)


@app.command()
def split(run: RunArg, sets: SetOpt = None, scratch: ScratchOpt = None) -> None:
    """Decode each video once, detect its shots, choose clips."""
    steps(run, ("split",), [*(sets or ()), *staging(scratch)])


@app.command()
def filter(
    run: RunArg,
    sets: SetOpt = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what the conditions cost; write nothing.")] = False,
    clip: Annotated[
        str | None, typer.Option("--explain", metavar="CLIP", help="Say why a clip is kept or not.")
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Score the clips and judge them by the conditions in build.toml."""
    if not dry_run and clip is None:
        if as_json:
            raise ConfigError("--json goes with --dry-run or --explain CLIP")
        steps(run, ("filter",), sets)
    from builder.execute import open_run
    from builder.report import dry_run as cost
    from builder.report import explain as why

    opened = open_run(run, sets or ())
    if clip is not None:
        told = why.explain(opened, clip)
        typer.echo(told.to_json() if as_json else why.render(told, opened))
    else:
        found = cost.forecast(opened)
        typer.echo(found.to_json() if as_json else cost.render(found))


@app.command()
def caption(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder; with --show also a video file.")],
    sets: SetOpt = None,
    gpus: GpusOpt = "",
    show: Annotated[bool, typer.Option("--show", help="Print captions of a few clips; keep nothing.")] = False,
    clips: Annotated[int | None, typer.Option(min=1, help="How many to show; else 4.")] = None,
    preview: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw them, with their frames.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Measure some batches; how long is the rest?")] = False,
    captioner: Annotated[str, typer.Option(help="Of these two: this one only; else all there are.")] = "",
    preset: Annotated[str, typer.Option(help="Of these two: one that this preset describes.")] = "",
    model: Annotated[str, typer.Option(help="Of these two: one with this model.")] = "",
) -> None:
    """Caption the clips that were kept."""
    from builder.runners.multi_gpu import on_gpus

    sets = [*(sets or ()), *on_gpus(gpus)]
    video = run.is_file() and run.suffix != ".toml"
    if show or clips or estimate or preview or captioner or preset or model or video:
        from builder.captions import Choice
        from builder.trial import try_out

        choice = Choice(captioner, preset, model, tuple(sets))
        raise typer.Exit(try_out(run, choice, clips or 4, preview, estimate))
    steps(run, ("caption",), sets)


@app.command()
def pack(
    run: RunArg,
    sets: SetOpt = None,
    shards: Annotated[int | None, typer.Option(min=1, help="So many training shards, of equal sample counts.")] = None,
    split_by: Annotated[
        str | None, typer.Option(help="Keep together in one split: duplicates, author or video.")
    ] = None,
) -> None:
    """Cut the clips, write WebDataset shards, index, manifest and card into RUN/dataset."""
    plan = [f"plan.{k}={v}" for k, v in (("shards", shards), ("split_by", split_by)) if v is not None]
    steps(run, ("pack",), [*(sets or ()), *plan])


@app.command()
def retry(
    words: Annotated[
        list[str], typer.Argument(metavar="[WHAT] RUN", help="WHAT: a command or a table (crawl, fetch); else all.")
    ],
    kind: Annotated[str, typer.Option(help="Only items of this kind; else failures that may go away.")] = "",
    sets: SetOpt = None,
) -> None:
    """Forget failures, and rows whose files are gone, so that the next run tries those items again."""
    from builder.execute import open_run
    from builder.retry import forget, what_and_run

    what, run = what_and_run(words)
    count, left = forget(open_run(run, sets or ()), what, kind)
    verb = what if what == "crawl" else "run"
    typer.echo(f"{count} forgotten; now run: osd-build {verb} {run}" if count else "nothing to forget")
    for what, times in left.items():
        typer.echo(f"  stays: {times} of {what}")


@app.command()
def clean(run: RunArg) -> None:
    """Remove what no table refers to any more: old evidence, strips and temporary files. Never your own files."""
    from builder.clean import clean as sweep
    from builder.execute import open_run

    count, size_bytes = sweep(open_run(run))
    typer.echo(f"removed {count} files, {size_bytes / 1e6:.1f} MB")


@app.command()
def doctor() -> None:
    """Check the installation: what is there, what is missing, what shadows it."""
    from builder.doctor import checks

    found = checks()
    for check in found:
        state = "ok" if check.ok else "none" if check.optional else "FAIL"
        typer.echo(f"{state:<4} {check.name}: {check.detail}")
    raise typer.Exit(0 if all(check.ok or check.optional for check in found) else 1)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 stopped, 2 wrong configuration, 3 done but some items failed, 130 Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: workers are stopped too
    os.environ["PYTHONSAFEPATH"] = (
        "1"  # the fork server would import from the folder it is started in, whatever lies there
    )
    try:
        app()
    except SystemExit as done:
        leave(done.code if isinstance(done.code, int) else int(bool(done.code)))
    except ConfigError as error:
        fail(str(error), 2)
    except OsdError as error:
        fail(str(error), 1)
    except Exception as error:
        if debugging.on:
            raise
        fail(unwritable(error) or bug(error), 1)


if __name__ == "__main__":
    main()
