"""What of a dataset is published, file by file: what may be passed on, an index, manifest and card of exactly that, and
of the rest, if wished, the links.

Nothing large is copied: shards are sent from where they lie. What must be written anew lies in a scratch folder.
"""

import dataclasses
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from builder import removed
from builder.dataset import LOADER
from builder.errors import RunError
from builder.gate import Gate, gate
from builder.pipeline import Run
from builder.published_card import card_text, facts_of
from builder.removed import Removed
from builder.repository import Local
from builder.storage import SCRATCH
from builder.subset import subset, written_links
from shards.links import NAME as LINKS_NAME
from shards.links import Links
from shards.manifest import INDEX_NAME, Manifest, read_manifest
from shards.manifest import NAME as MANIFEST_NAME
from shards.verify import CARD_NAME, verify

FOLDER = "dataset"
RULES = "describe"  # the model that a caption names which none wrote


@dataclass(frozen=True)
class Dataset:
    """A dataset folder, and the run that it is of, if any."""

    folder: Path
    run: Run | None = None


@dataclass(frozen=True)
class Publication:
    """`shards` and `links` are tars, `listing` what lists them: it must come last and at once."""

    shards: tuple[Local, ...]
    links: tuple[Local, ...]
    listing: tuple[Local, ...]
    removed: frozenset[Removed]
    manifest: Manifest
    gate: Gate
    index: Path

    @property
    def entries(self) -> dict[str, str]:
        """path -> sha256 of every tar."""
        return {file.path: file.sha256 for file in (*self.shards, *self.links)}

    def first_of(self, gone: frozenset[Removed]) -> Removed | None:
        """A clip that is to be published, with its video or without, although its video is gone."""
        shards = [entry.path for entry in (*self.gate.open, *(self.gate.barred if self.links else ()))]
        rows = pl.scan_parquet(self.index).filter(pl.col("shard").is_in(shards)).select("key", "source_sha256")
        clips, sources = [r.clip_id for r in gone if r.clip_id], [r.source_sha256 for r in gone]
        found = rows.filter(pl.col("key").is_in(clips) | pl.col("source_sha256").is_in(sources)).head(1).collect()
        return Removed(found["source_sha256"][0], found["key"][0]) if found.height else None

    def left_out(self) -> Iterator[str]:
        """For the user: what is not published, and why."""
        how = "links only" if self.links else "left out"
        for why, clips in self.gate.reasons.items():
            yield f"{how}: {clips} clips: {why}"


def open_dataset(path: Path) -> Dataset:
    """A run folder, its dataset folder, or a dataset folder of unknown origin.

    Raises:
        ConfigError: build.toml is wrong.
    """
    from builder.execute import open_run

    run = path if (path / "build.toml").is_file() else path.absolute().parent
    if (run / "build.toml").is_file() and (run == path or path.name == FOLDER):
        return Dataset(run / FOLDER, open_run(run))
    return Dataset(path)


@contextmanager
def scratch_folder(dataset: Dataset) -> Iterator[Path]:
    """For the small files of a publication; what killed processes left in a run goes."""
    stem = f"push-{socket.gethostname()}-"
    home = dataset.run.storage.path(SCRATCH) if dataset.run else None
    if home:
        home.mkdir(parents=True, exist_ok=True)
        for left in home.glob(f"{stem}*"):
            if not Path("/proc", left.name.removeprefix(stem).partition("-")[0]).exists():
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{stem}{os.getpid()}-", dir=home) as folder:
        yield Path(folder)


def prepare(dataset: Dataset, repo: str, scratch: Path, *, links: bool, rules: bool) -> Publication:
    """Everything that is to be in `repo`.

    Raises:
        RunError: the folder is not intact, nothing may be published, or its captions are composed by rule only, and
            nobody said that this is meant (`rules`).
    """
    folder, manifest = dataset.folder, check_intact(dataset.folder)
    facts = facts_of(dataset.run, folder, manifest)
    if not rules and all(captioner.model == RULES for captioner in facts.captioners):
        raise RunError(
            f"{folder}: its captions are composed by rule from measurements; no model wrote any. Caption with a model "
            "([caption.NAME] in build.toml), or add --rule-based-captions if this is what you want to publish"
        )
    found = gate(folder, manifest)
    if not found.open and not links:
        why = "; ".join(f"{clips} clips: {reason}" for reason, clips in found.reasons.items())
        raise RunError(f"{folder}: nothing in it may be published ({why}); --links publishes where it came from, only")
    view = subset(folder, manifest, found.open, scratch) if found.barred else manifest
    home = scratch if found.barred else folder
    linked = written_links(folder, manifest, found.barred, scratch) if links else Links()
    card = card_text(folder, home, view, linked, dataclasses.replace(facts, repo_id=repo))
    names = {INDEX_NAME: home / INDEX_NAME, MANIFEST_NAME: home / MANIFEST_NAME, LOADER: folder / LOADER}
    names |= {LINKS_NAME: scratch / LINKS_NAME} if linked.shards else {}
    return Publication(
        shards=tuple(Local(e.path, folder / e.path, e.size_bytes, e.sha256) for e in found.open),
        links=tuple(Local(e.path, scratch / e.path, e.size_bytes, e.sha256) for e in linked.shards),
        listing=(Local.of(CARD_NAME, card.encode()), *(Local.of(name, path) for name, path in names.items())),
        removed=removed.read(folder / removed.NAME),
        manifest=view,
        gate=found,
        index=folder / INDEX_NAME,
    )


def check_intact(folder: Path) -> Manifest:
    if not (folder / MANIFEST_NAME).is_file():
        raise RunError(f"{folder} is no finished dataset (no {MANIFEST_NAME}); name a run after osd-build pack")
    problems = verify(folder)
    if not (folder / LOADER).is_file():
        raise RunError(f"{folder / LOADER} is missing; osd-build pack writes it")
    if problems:
        raise RunError(
            f"{folder} is not intact, nothing was sent ({len(problems)} problems; first {problems[0]}); "
            f"see all with osd-build verify {folder}, mend with osd-build pack"
        )
    return read_manifest(folder)
