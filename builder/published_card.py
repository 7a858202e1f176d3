"""The card of what is published: of a part of the dataset where the rest is left out, with the links as a config of
their own, and with the repository's name in its examples."""

import dataclasses
import math
import re
import tempfile
from pathlib import Path

import polars as pl

from builder.card import CaptionerFacts, CardFacts, captions_are, render
from builder.card_facts import RULE_BASED, card_facts
from builder.pipeline import Run
from builder.subset import copy_index
from shards.links import Links
from shards.manifest import INDEX_NAME, Manifest, Totals
from shards.verify import CARD_NAME

EXAMPLE = re.compile(r'load(?:_dataset)?\("([^"\n]+)"')  # the first one names what all of them load


def facts_of(run: Run | None, folder: Path, manifest: Manifest) -> CardFacts:
    """What the run knows; of a folder without one, what its index tells."""
    if run:
        return card_facts(run, manifest.captioners)
    columns = ["caption_model", "caption_revision", "caption_prompt"]
    model, revision, prompt = pl.scan_parquet(folder / INDEX_NAME).select(columns).head(1).collect().row(0)
    first = CaptionerFacts(manifest.captioners[0], model, revision, prompt, model in RULE_BASED)
    others = [CaptionerFacts(name, name, rule_based=name in RULE_BASED) for name in manifest.captioners[1:]]
    said = captions_are([first, *others])
    return CardFacts(manifest.name, "", said, funnel=(), filters=(), captioners=[first, *others])


def card_text(folder: Path, home: Path, view: Manifest, links: Links, facts: CardFacts) -> str:
    """The card of `view`, whose index lies in `home`: the dataset's own card where `view` is all that is in `folder`.

    The examples load `facts.repo_id`.
    """
    if home == folder:
        return renamed((folder / CARD_NAME).read_text(encoding="utf-8"), facts.repo_id)
    return render(home, view, facts, links) if view.shards else links_only(folder, view, links, facts)


def renamed(text: str, repo: str) -> str:
    """A packed card names a repository that its run proposes, or a folder."""
    found = EXAMPLE.search(text)
    return text.replace(found[1], repo) if found else text


def links_only(folder: Path, view: Manifest, links: Links, facts: CardFacts) -> str:
    """The card of a repository without any video: it tells of the clips that the links are of."""
    with tempfile.TemporaryDirectory() as scratch:
        shards = [f"data/{entry.path.removeprefix('links/')}" for entry in links.shards]
        durations_s, licenses = copy_index(folder / INDEX_NAME, Path(scratch, INDEX_NAME), shards)
        size_bytes = sum(entry.size_bytes for entry in links.shards)
        totals = Totals(len(durations_s), math.fsum(durations_s), size_bytes)
        return render(Path(scratch), dataclasses.replace(view, totals=totals, licenses=licenses), facts, links)
