"""The card of what is published: of a part of the dataset where the rest is left out, with the links as a config of
their own, and with the repository's name in its examples."""

import dataclasses
import math
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import jinja2
import polars as pl
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard

from builder.card import FILTERS, CaptionerFacts, CardFacts, front_matter, origins, render
from builder.dataset import COMPOSED, card_facts
from builder.figures import as_count
from builder.pipeline import Run
from builder.subset import copy_index
from shards.links import CONFIG, Links, links_features
from shards.manifest import INDEX_NAME, Manifest, ShardEntry, Totals
from shards.verify import CARD_NAME

TEMPLATE = Path(__file__).with_name("links_card.md")
EXAMPLE = re.compile(r'load(?:_dataset)?\("([^"\n]+)"')  # the first one names what all of them load
SPLIT = re.compile(r"-(train|validation)-[0-9]+\.tar")
SECTION = """
## Links

{clips} more clips may not be passed on, so they are here without their video: the config `links` has their captions,
scores, pages, addresses, authors, licences, spans and hashes, and `osd-build rehydrate` fetches them for those who may
have them.
"""


def facts_of(run: Run | None, folder: Path, manifest: Manifest) -> CardFacts:
    """What the run knows; of a folder without one, what its index tells."""
    if run:
        return card_facts(run, manifest.captioners)
    columns = ["caption_model", "caption_revision", "caption_prompt"]
    first = pl.scan_parquet(folder / INDEX_NAME).select(columns).head(1).collect().row(0)
    written = [CaptionerFacts(name, name) for name in manifest.captioners[1:]]
    captioners = [CaptionerFacts(manifest.captioners[0], *first), *written]
    models = ", ".join(captioner.model for captioner in captioners if captioner.model != "describe")
    said = f"The captions were written by {models}." if models else COMPOSED
    return CardFacts(manifest.name, "", said, funnel=(), filters=(), captioners=captioners)


def card_text(folder: Path, home: Path, view: Manifest, links: Links, facts: CardFacts) -> str:
    """The card of `view`, whose index lies in `home`: the dataset's own card where `view` is all that is in `folder`.

    The examples load `facts.repo_id`.
    """
    if not view.shards:
        return links_only(folder, view, links, facts)
    if home != folder:
        text = render(home, view, facts)
    else:
        text = renamed((folder / CARD_NAME).read_text(encoding="utf-8"), facts.repo_id)
    return with_links(text, view, links) if links.shards else text


def renamed(text: str, repo: str) -> str:
    """A packed card names a repository that its run proposes, or a folder."""
    found = EXAMPLE.search(text)
    return text.replace(found[1], repo) if found else text


def with_links(text: str, view: Manifest, links: Links) -> str:
    """The card with one config, and one section, more."""
    card = DatasetCard(text)
    link(card.data, view, links)
    return f"---\n{card.data.to_yaml()}\n---\n{card.text.rstrip()}\n{SECTION.format(clips=as_count(links.samples))}"


def link(data: Any, view: Manifest, links: Links) -> None:
    """Add the config `links` to the YAML of a card; it is the default one where there is no other."""
    by_split: dict[str, list[ShardEntry]] = {}
    for entry in links.shards:
        found = SPLIT.search(entry.path)
        by_split.setdefault(found[1] if found else "train", []).append(entry)
    files = [{"split": split, "path": patterns(entries)} for split, entries in sorted(by_split.items())]
    default = {} if view.shards else {"default": True}
    config = {"data_files": files, "version": f"{links.format_version}.0.0", **default}
    MetadataConfigs({CONFIG: config}).to_dataset_card_data(data)
    size_bytes = sum(entry.size_bytes for entry in links.shards)
    splits = {
        split: datasets.SplitInfo(split, sum(e.size_bytes for e in entries), sum(e.samples for e in entries))
        for split, entries in sorted(by_split.items())
    }
    info = datasets.DatasetInfo(
        config_name=CONFIG,
        features=links_features(view.scores, view.captioners),
        splits=datasets.SplitDict(splits),
        download_size=size_bytes,
        dataset_size=size_bytes,
    )
    datasets.info.DatasetInfosDict({CONFIG: info}).to_dataset_card_data(data)


def patterns(entries: Sequence[ShardEntry]) -> list[str]:
    """Every folder by name, so that what is sent for a later card is not seen before it."""
    return sorted({f"{entry.path.rpartition('-')[0]}-*.tar" for entry in entries})


def links_only(folder: Path, view: Manifest, links: Links, facts: CardFacts) -> str:
    """The card of a repository without any video."""
    with tempfile.TemporaryDirectory() as scratch:
        index = Path(scratch, INDEX_NAME)
        shards = [f"data/{entry.path.removeprefix('links/')}" for entry in links.shards]
        durations_s, licenses = copy_index(folder / INDEX_NAME, index, shards)
        size_bytes = sum(entry.size_bytes for entry in links.shards)
        totals = Totals(len(durations_s), math.fsum(durations_s), size_bytes)
        whole = dataclasses.replace(view, shards=links.shards, totals=totals, licenses=licenses)
        data = DatasetCard(f"---\n{front_matter(whole, facts)}\n---\n").data
        data.pop("configs", None)
        data.pop("dataset_info", None)
        link(data, view, links)
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        environment.filters |= FILTERS
        return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
            front_matter=data.to_yaml(), facts=facts, manifest=whole, origins=origins(pl.scan_parquet(index))
        )
