"""The dataset's card: `dataset_card.md` filled with what the manifest, the index and the run say.

Titles, names and prompts come from anywhere: in the YAML they are quoted by its own writer, in the Markdown
they are one line with every character of meaning escaped. Same dataset, same card.
"""

import re
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import jinja2
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData

from builder.card_tables import CardTables, as_bar, as_share
from builder.escaping import as_link, as_text
from builder.figures import as_count, as_number, as_size, one_line
from builder.licenses import license_of
from builder.report.stats import as_duration
from shards.configs import NO_LINKS, Config, configs
from shards.links import Links
from shards.manifest import INDEX_NAME, Manifest

TEMPLATE = "dataset_card.md"
HUB_LICENSES = {  # the SPDX ids that the Hub lists, in its lower case
    *("cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
    *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
    *("cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "mit", "apache-2.0", "odc-by", "odbl", "pddl"),
}


@dataclass(frozen=True)
class FunnelStep:
    """One row of the funnel: given = kept + filtered + failed."""

    stage: str
    given: int
    kept: int
    filtered: int = 0
    failed: int = 0


@dataclass(frozen=True)
class CaptionerFacts:
    """`rule_based`: put together from measurements, by no language model."""

    name: str
    model: str
    revision: str = ""
    prompt: str = ""
    rule_based: bool = False


@dataclass(frozen=True)
class StageFacts:
    """How one stage was set, as texts by name of the setting."""

    stage: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class CardFacts:
    """What only the run knows. `captions_are` says in a sentence how the captions came about, which a reader
    must know before anything else. `filters` are the conditions as the user wrote them, `repo_id` may also be
    a folder. `languages` are codes of those that captions are in; `contact` says how to reach the publisher."""

    pretty_name: str
    repo_id: str
    captions_are: str
    funnel: Sequence[FunnelStep]
    filters: Sequence[str]
    captioners: Sequence[CaptionerFacts]
    settings: Sequence[StageFacts] = ()
    languages: Sequence[str] = ("en",)
    contact: str = ""
    limits: Sequence[str] = ()


def render(folder: Path, manifest: Manifest, facts: CardFacts, links: Links = NO_LINKS) -> str:
    """The text of README.md for the dataset in `folder`, whose index is read for statistics.

    Where there are `links` alone (no shards), index, totals and licences are those of the links.
    """
    wanted = configs(manifest, links)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters |= FILTERS
    text = environment.from_string(template_path().read_text(encoding="utf-8")).render(
        front_matter=front_matter(manifest, facts, wanted),
        facts=facts,
        manifest=manifest,
        totals=manifest.totals,
        configs=wanted,
        links=links.samples,
        tables=CardTables.of(folder / INDEX_NAME, manifest.captioners),
    )
    return re.sub(r"\n{3,}", "\n\n", text)  # what is left of parts that do not apply


def template_path() -> Path:
    """In a checkout it lies beside the package; an installation puts it below the environment's root."""
    checkout = Path(__file__).parents[1] / TEMPLATE
    return checkout if checkout.is_file() else Path(sysconfig.get_path("data"), "share/open-sora-dataset", TEMPLATE)


def captions_are(captioners: Sequence[CaptionerFacts]) -> str:
    """The card's first sentence: who wrote the captions; those composed by rule are named as such."""
    composed = [f"`{c.name}`" for c in captioners if c.rule_based]
    written = [f"`{c.name}` by {c.model}" for c in captioners if not c.rule_based]
    told = []
    if composed:
        rest = "" if written else "; no vision-language model wrote them"
        told.append(f"Captions named {' and '.join(composed)} are composed by rule from what was measured{rest}.")
    if written:
        told.append(f"{'Others' if composed else 'The captions'} were written by models: {', '.join(written)}.")
    return " ".join(told)


def front_matter(manifest: Manifest, facts: CardFacts, wanted: Sequence[Config]) -> str:
    """The YAML, without its fences, that `load_dataset` and the Hub's viewer and search read."""
    data = DatasetCardData(
        license="other",
        language=list(facts.languages),
        pretty_name=one_line(facts.pretty_name),
        task_categories=["text-to-video"],
        size_categories=[size_category(manifest.totals.samples)],
        tags=["webdataset", "video", "video-captions"],
    )
    for name, value in license_fields(manifest.licenses).items():
        data[name] = value
    written = {}
    for config in wanted:
        files = [{"split": split, "path": paths} for split, paths in config.patterns.items()]
        default = {"default": True} if config.default else {}
        written[config.name] = {"data_files": files, "version": f"{manifest.format_version}.0.0", **default}
    MetadataConfigs(written).to_dataset_card_data(data)
    infos = {config.name: config.info() for config in wanted}
    datasets.info.DatasetInfosDict(infos).to_dataset_card_data(data)
    return str(data.to_yaml())


def license_fields(licenses: Mapping[str, int]) -> dict[str, str]:
    """The Hub's `license`: one of its ids, or `other` with a name, and a link to the terms where they are known."""
    if len(licenses) != 1:
        return {"license": "other", "license_name": "mixed"}
    name = next(iter(licenses))
    if name.lower() in HUB_LICENSES:
        return {"license": name.lower()}
    slug = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
    if not slug:
        return {"license": "unknown"}
    url = license_of(name).url
    return {"license": "other", "license_name": slug, **({"license_link": url} if url else {})}


def size_category(samples: int) -> str:
    """The Hub's bin: `n<1K`, `1K<n<10K`, ... in powers of ten up to `n>1T`."""
    bounds = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T"]
    power = max(0, len(str(samples)) - 3)
    if power == 0:
        return "n<1K"
    return f"{bounds[power - 1]}<n<{bounds[power]}" if power < len(bounds) else "n>1T"


FILTERS = {
    "text": as_text,
    "link": as_link,
    "count": as_count,
    "number": as_number,
    "duration": as_duration,
    "size": as_size,
    "share": as_share,
    "bar": as_bar,
}
