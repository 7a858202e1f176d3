"""The commands that need no run: what a part of the pipeline finds in single files, and why; presets."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from builder.records import Failure
    from builder.scores import Report as ScoresReport
    from builder.shots import Report as ShotsReport

files = typer.Typer()

VideosArg = Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Video files; no run is needed.")]


@files.command()
def shots(
    videos: VideosArg,
    detector: Annotated[str, typer.Option(help="As `method` in build.toml; its default without.")] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the detector.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line a video.")] = False,
    preview: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Draw frames with the boundaries marked; of several videos PNG-1 and so on."),
    ] = None,
    key_frames_first: Annotated[
        bool, typer.Option("--key-frames-first", help="Decode only where key frames differ: for single-shot footage.")
    ] = False,
) -> None:
    """Print where the shots of videos begin: cuts, dissolves, fades. Nothing is kept."""
    from builder.shots import find_shots, make_detector

    found = find_shots(videos, make_detector(detector, settings or ()), preview, key_frames_first)
    show_found(found, as_json)


@files.command()
def score(
    videos: VideosArg,
    only: Annotated[str, typer.Option(metavar="NAME,NAME", help="These scorers; else the usual ones.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line a clip.")] = False,
    preview: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Draw frames, marked with why; of several videos PNG-1 and so on."),
    ] = None,
) -> None:
    """Print the scores of each clip of videos, split as a run would by default. Nothing is kept."""
    from builder.scores import find_scores, make_scorers

    show_found(find_scores(videos, make_scorers(only), preview), as_json)


@files.command()
def presets(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="caption or filter.")],
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Print this one; else the names of all.")] = "",
) -> None:
    """Print a preset, to copy and edit: how a published pipeline captions or filters."""
    from builder.captioning.presets import told

    typer.echo(told(kind, name))


def show_found(reports: "Iterable[ShotsReport | ScoresReport | Failure]", as_json: bool) -> None:
    """Of single videos: print each report or failure as it comes; 3 is the exit code if anything failed."""
    from builder.figures import one_line
    from builder.records import Failure

    failed = False
    for found in reports:
        if isinstance(found, Failure):
            failed = True
            if as_json:
                typer.echo(json.dumps({"video": found.id, "error": found.kind, "message": found.message}))
            typer.echo(f"{found.kind}: {one_line(found.message)}", err=True)
            continue
        failed = failed or found.failed
        typer.echo(found.to_json() if as_json else found.to_text())
        if found.note:
            typer.echo(one_line(f"note: {found.video}: {found.note}"), err=True)
    raise typer.Exit(3 if failed else 0)
