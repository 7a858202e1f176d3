"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

RunArg = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder, which holds build.toml.")]
SetOpt = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one setting of build.toml."),
]
FolderArg = Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset folder.")]
AddressArg = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset folder, or hf://OWNER/NAME[@REVISION].")]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON.")]
