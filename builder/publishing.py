"""The commands that change what others can read: on the Hub, and for good."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from builder.errors import ConfigError
from builder.options import RunArg

publishing = typer.Typer()

PathArg = Annotated[Path, typer.Argument(metavar="RUN", help="A run after osd-build pack, or a dataset folder.")]
IdOpt = Annotated[
    list[str] | None, typer.Option("--id", metavar="SITE:ID", help="Or the id of a clip or a video of the dataset.")
]
UrlOpt = Annotated[
    list[str] | None, typer.Option("--url", metavar="URL", help="Of the video, its page, or its author.")
]
AuthorOpt = Annotated[list[str] | None, typer.Option("--author", metavar="NAME", help="All of their videos.")]
HashOpt = Annotated[list[str] | None, typer.Option("--sha256", metavar="SHA256", help="Of a source file or a clip.")]
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


@publishing.command()
def takedown(
    run: RunArg,
    ids: IdOpt = None,
    urls: UrlOpt = None,
    authors: AuthorOpt = None,
    hashes: HashOpt = None,
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="Publish what is left there.")] = "",
    purge: Annotated[
        bool, typer.Option("--purge", help="Then delete from its history what is no longer in use; asks first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take videos out: list them, build the run again without them, publish that, and delete the old files for good."""
    if purge and not repo:
        raise ConfigError("--purge goes with --repo OWNER/NAME")
    if purge and not yes and not sys.stdin.isatty():
        raise ConfigError("--purge asks before it deletes anything for good; without a terminal, add --yes")
    if repo:
        from builder.repository import check_name

        check_name(repo)
    from builder.withdraw import Named, withdraw

    for line in withdraw(run, Named(ids or (), urls or (), authors or (), hashes or ())):
        typer.echo(line)
    if not repo:
        typer.echo("what was published of it still has them; run the same with --repo OWNER/NAME")
        return
    from builder.retract import purge as delete
    from builder.retract import republish

    for line in republish(run, repo):
        typer.echo(line)
    if purge:
        for line in delete(repo, lambda question: yes or typer.confirm(question)):
            typer.echo(line)
