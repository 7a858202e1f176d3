"""The commands that change what others can read: on the Hub, and for good."""

from pathlib import Path
from typing import Annotated

import typer

publishing = typer.Typer()

PathArg = Annotated[Path, typer.Argument(metavar="RUN", help="A run after osd-build pack, or a dataset folder.")]
RepoOpt = Annotated[str, typer.Option(metavar="OWNER/NAME", help="The dataset repository on the Hub.")]


@publishing.command()
def push(
    path: PathArg,
    repo: RepoOpt,
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Put all of it into a pull request.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
    links: Annotated[
        bool, typer.Option("--links", help="Of clips that may not be passed on, publish where they come from.")
    ] = False,
    rules: Annotated[
        bool, typer.Option("--rule-based-captions", help="Publish, although no model wrote a caption.")
    ] = False,
) -> None:
    """Publish what licences allow on the Hub: shards first, checked; then the card and the rest, in one commit."""
    from builder.push import Wishes
    from builder.push import push as publish

    for line in publish(path, repo, Wishes(private, create_pr, dry_run, links, rules)):
        typer.echo(line)
