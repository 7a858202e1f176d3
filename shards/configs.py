"""The configs of a dataset's card: what `load_dataset` can be asked for, as it follows from the manifest alone.

The card is written from this, and verified against it:

    default       all clips with all captions
    <source>      the clips of one source
    <captioner>   all clips with the captions of one captioner alone, where there are several
    links         the clips of which no video is published; the default where there are no others
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets

from open_sora_dataset import features, member_names
from shards.links import CONFIG as LINKS
from shards.links import Links, links_features
from shards.manifest import Manifest, ShardEntry
from shards.read_links import links_of

DEFAULT = "default"
NO_LINKS = Links()
SPLIT = re.compile(r"-(train|validation)-\d+\.tar$")


@dataclass(frozen=True)
class Config:
    """`features` are its columns, `shards` those of all its splits, in the manifest's order."""

    name: str
    shards: Sequence[ShardEntry]
    features: datasets.Features
    default: bool = False

    @property
    def splits(self) -> dict[str, list[ShardEntry]]:
        """The shards of each split, training first."""
        found: dict[str, list[ShardEntry]] = {}
        for entry in sorted(self.shards, key=lambda entry: split_of(entry.path)):
            found.setdefault(split_of(entry.path), []).append(entry)
        return found

    @property
    def patterns(self) -> dict[str, list[str]]:
        """What each split consists of. Every folder by name instead of `data/**`: shards that were uploaded for a
        later card must not be seen before it is."""
        return {split: sorted({pattern(e.path) for e in entries}) for split, entries in self.splits.items()}

    def info(self) -> datasets.DatasetInfo:
        """Counts and columns. `load_dataset` insists on the counts; sizes in bytes are those of the shards."""
        size_bytes = sum(entry.size_bytes for entry in self.shards)
        splits = {
            split: datasets.SplitInfo(split, sum(e.size_bytes for e in entries), sum(e.samples for e in entries))
            for split, entries in self.splits.items()
        }
        return datasets.DatasetInfo(
            config_name=self.name,
            features=self.features,
            splits=datasets.SplitDict(splits),
            download_size=size_bytes,
            dataset_size=size_bytes,
        )


def split_of(path: str) -> str:
    """`data/nasa/r0001/nasa-validation-000000.tar` -> `validation`."""
    found = SPLIT.search(path)
    return found[1] if found else "train"


def pattern(path: str) -> str:
    """The shards of the same release, source and split: `data/nasa/r0001/nasa-train-*.tar`."""
    return f"{path.rpartition('-')[0]}-*.tar"


def configs(manifest: Manifest, links: Links = NO_LINKS) -> list[Config]:
    """All of them, the default first. A name that is taken gets what it names in front: `captions-pexels`."""
    columns = features(manifest.scores, manifest.captioners)
    found: dict[str, Config] = {}

    def add(name: str, shards: Sequence[ShardEntry], shown: datasets.Features, kind: str = "") -> None:
        while name in found or (kind and name in (DEFAULT, LINKS)):
            name = f"{kind}-{name}"
        found[name] = Config(name, shards, shown, default=not found)

    if manifest.shards:
        add(DEFAULT, manifest.shards, columns)
    if links.shards:
        add(LINKS, links.shards, links_features(manifest.scores, manifest.captioners))
    for source in sorted({source_of(entry) for entry in manifest.shards}):
        add(source, [entry for entry in manifest.shards if source_of(entry) == source], columns, "source")
    texts = member_names(manifest.captioners)[2:]
    if manifest.shards and len(texts) > 1:
        for name, text in zip(manifest.captioners, texts, strict=True):
            shown = {n: column for n, column in columns.items() if n == text or n not in texts}
            add(name, manifest.shards, datasets.Features(shown), "captions")
    return list(found.values())


def source_of(entry: ShardEntry) -> str:
    return entry.path.split("/")[1]


def check_card(folder: Path, manifest: Manifest) -> Iterator[str]:
    """What is wrong with the card in `folder`, read as `load_dataset` does: files, columns, counts of each config."""
    try:
        wanted = {config.name: config for config in configs(manifest, links_of(folder))}
        named = set(datasets.get_dataset_config_names(str(folder)))
        for name in sorted(named ^ wanted.keys()):
            yield f"config {name}: {'is missing' if name in wanted else 'does not follow from the manifest'}"
        for name in sorted(named & wanted.keys()):
            builder = datasets.load_dataset_builder(str(folder), name)
            yield from (f"config {name}: {what}" for what in _differences(folder, builder, wanted[name], manifest))
        default = datasets.load_dataset_builder(str(folder)).config.name
        if default in wanted and not wanted[default].default:
            yield f"its default is {default}"
    except Exception as error:  # whatever stops `load_dataset` here stops every reader
        yield f"load_dataset cannot use it: {type(error).__name__}: {error}"


def _differences(folder: Path, builder: datasets.DatasetBuilder, wanted: Config, manifest: Manifest) -> Iterator[str]:
    if builder.info.features != wanted.features:
        yield "its features are not those of the manifest"
    if builder.config.version != datasets.Version(f"{manifest.format_version}.0.0"):
        yield f"its version is not {manifest.format_version}.0.0"
    promised = {name: split.num_examples for name, split in (builder.info.splits or {}).items()}
    held = {name: sum(entry.samples for entry in entries) for name, entries in wanted.splits.items()}
    for split in sorted({*promised, *held}):
        if promised.get(split) != held.get(split):
            yield f"promises {promised.get(split, 0)} samples of {split}, the manifest has {held.get(split, 0)}"
    root, listed = folder.resolve(), builder.config.data_files
    files = {split: {Path(f).resolve().relative_to(root).as_posix() for f in listed[split]} for split in listed}
    if files != {split: {entry.path for entry in entries} for split, entries in wanted.splits.items()}:
        yield "it does not list exactly the shards of the manifest"
