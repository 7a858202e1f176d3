"""The commands for finished datasets: proof, another form, and the videos that could not be passed on."""

from pathlib import Path
from typing import Annotated

import typer

from builder.options import AddressArg, FolderArg, JsonOpt

datasets = typer.Typer()

VideosOpt = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where an earlier export put the mp4s.")]


@datasets.command()
def verify(
    dataset: AddressArg,
    decode: Annotated[str, typer.Option(help="Decode clips too: sample (three of each shard) or all.")] = "none",
    as_json: JsonOpt = False,
) -> None:
    """Prove that a dataset is whole: hashes, schema, members, counts; and its clips, with --decode."""
    from builder.verify import verify as check

    found = check(dataset, decode)
    typer.echo(found.to_json()) if as_json else found.show()
    raise typer.Exit(1 if found.problems else 0)


@datasets.command()
def index(dataset: FolderArg) -> None:
    """Make index and manifest anew from the shards, after members (latents, embeddings) were added to them."""
    from builder.reindex import reindex

    made = reindex(dataset)
    typer.echo(f"{dataset}: {made.totals.samples} samples in {len(made.shards)} shards indexed")


@datasets.command()
def export(
    path: Annotated[Path, typer.Argument(metavar="RUN|DATASET", help="A dataset folder, or a run that has one.")],
    form: Annotated[
        str,
        typer.Option("--format", help="open-sora-plan-v1.0, -v1.1, -v1.2, -v1.3, parquet, csv or jsonl."),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to; nothing that is there is overwritten.")],
    captioner: Annotated[str, typer.Option(metavar="NAME", help="Only this one's captions; else all.")] = "",
    videos: VideosOpt = None,
) -> None:
    """Write a dataset as annotations and mp4s for Open-Sora-Plan's loaders, or as a table without videos."""
    from builder.export.export import export as write

    typer.echo(write(path, form, out, captioner, videos))


@datasets.command()
def rehydrate(
    dataset: AddressArg,
    videos: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The source videos that you have; they are only read.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to; else NAME-with-videos, here.")] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch videos you do not have from where they came from.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--allow-private-hosts", help="Let links name hosts inside private networks.")
    ] = False,
) -> None:
    """Fill in the videos of a dataset of links, out of files you have or may fetch; the clips are cut as they were."""
    from builder.rehydration.rehydrate import rehydrate as fill
    from builder.web.limits import Limits

    outcome = fill(dataset, videos, out, Limits(allow_private_hosts=private) if fetch else None)
    for line in outcome.told():
        typer.echo(line)
    raise typer.Exit(3 if outcome.reasons else 0)
