"""The dataset's card: `dataset_card.md` filled with what the manifest, the index and the run say.

Titles, names and prompts come from anywhere: in the YAML they are quoted by its own writer, in the Markdown
they are one line with every character of meaning escaped. Same dataset, same card.
"""

import html
import re
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import jinja2
import polars as pl
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData

from builder.figures import as_count, as_duration, as_number, as_size, one_line
from open_sora_dataset import features
from shards.manifest import INDEX_NAME, Manifest, ShardEntry

TEMPLATE = "dataset_card.md"
MEASURED = {
    "duration_s": "seconds",
    "frames": "frames",
    "fps": "frames/s",
    "width": "width",
    "height": "height",
}
SPECIAL = re.compile(r"([\\`*_\[\]|~#$])")  # $ begins a formula on the Hub
LIST_MARK = re.compile(r"^(\d*)([-+=.)])")
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
    name: str
    model: str
    revision: str = ""
    prompt: str = ""


@dataclass(frozen=True)
class CardFacts:
    """What only the run knows. `captions_are` says in a sentence how the captions came about, which a reader
    must know before anything else. `filters` are the conditions as the user wrote them, `repo_id` may also be
    a folder."""

    pretty_name: str
    repo_id: str
    captions_are: str
    funnel: Sequence[FunnelStep]
    filters: Sequence[str]
    captioners: Sequence[CaptionerFacts]


def render(folder: Path, manifest: Manifest, facts: CardFacts) -> str:
    """The text of README.md for the dataset in `folder`, whose index is read for statistics."""
    index = pl.scan_parquet(folder / INDEX_NAME)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters |= FILTERS
    return environment.from_string(template_path().read_text(encoding="utf-8")).render(
        front_matter=front_matter(manifest, facts),
        facts=facts,
        manifest=manifest,
        totals=manifest.totals,
        statistics=statistics(index),
        origins=origins(index),
    )


def template_path() -> Path:
    """In a checkout it lies beside the package; an installation puts it below the environment's root."""
    checkout = Path(__file__).parents[1] / TEMPLATE
    return checkout if checkout.is_file() else Path(sysconfig.get_path("data"), "share/open-sora-dataset", TEMPLATE)


def front_matter(manifest: Manifest, facts: CardFacts) -> str:
    """The YAML, without its fences, that `load_dataset` and the Hub's viewer and search read."""
    data = DatasetCardData(
        license="other",
        language=["en"],
        pretty_name=one_line(facts.pretty_name),
        task_categories=["text-to-video"],
        size_categories=[size_category(manifest.totals.samples)],
        tags=["webdataset", "video"],
    )
    for name, value in license_fields(manifest.licenses).items():
        data[name] = value
    shards = configs(manifest)
    MetadataConfigs({name: config(name, manifest, shards[name]) for name in shards}).to_dataset_card_data(data)
    infos = {name: dataset_info(name, manifest, shards[name]) for name in shards}
    datasets.info.DatasetInfosDict(infos).to_dataset_card_data(data)
    return str(data.to_yaml())


def configs(manifest: Manifest) -> dict[str, list[ShardEntry]]:
    """The shards of `default`, which is everything, and of every source where there are several."""
    by_source: dict[str, list[ShardEntry]] = {}
    for entry in manifest.shards:
        by_source.setdefault(entry.path.split("/")[1], []).append(entry)
    by_source = by_source if len(by_source) > 1 else {}
    return {**by_source, "default": list(manifest.shards)}


def config(name: str, manifest: Manifest, shards: Sequence[ShardEntry]) -> dict[str, Any]:
    # Every folder by name instead of data/**: shards uploaded for a later card must not be seen before it is.
    files = [
        {"split": split, "path": sorted({pattern(entry) for entry in entries})}
        for split, entries in by_split(shards).items()
    ]
    default = {"default": True} if name == "default" else {}
    return {"data_files": files, "version": f"{manifest.format_version}.0.0", **default}


def pattern(entry: ShardEntry) -> str:
    """The shards of its release, source and split: `data/nasa/r0001/nasa-train-*.tar`."""
    return f"{entry.path.rpartition('-')[0]}-*.tar"


def by_split(shards: Sequence[ShardEntry]) -> dict[str, list[ShardEntry]]:
    """The training split first."""
    found: dict[str, list[ShardEntry]] = {}
    for entry in sorted(shards, key=lambda entry: (entry.split != "train", entry.split)):
        found.setdefault(entry.split, []).append(entry)
    return found


def dataset_info(name: str, manifest: Manifest, shards: Sequence[ShardEntry]) -> datasets.DatasetInfo:
    """Counts and columns. `load_dataset` insists on num_examples; sizes in bytes are those of the shards."""
    size_bytes = sum(entry.size_bytes for entry in shards)
    splits = {
        split: datasets.SplitInfo(split, sum(e.size_bytes for e in entries), sum(e.samples for e in entries))
        for split, entries in by_split(shards).items()
    }
    return datasets.DatasetInfo(
        config_name=name,
        features=features(manifest.scores, manifest.captioners),
        splits=datasets.SplitDict(splits),
        download_size=size_bytes,
        dataset_size=size_bytes,
    )


def license_fields(licenses: Mapping[str, int]) -> dict[str, str]:
    """The Hub's `license`: one of its ids, or `other` with a name."""
    if len(licenses) != 1:
        return {"license": "other", "license_name": "mixed"}
    name = next(iter(licenses))
    if name.lower() in HUB_LICENSES:
        return {"license": name.lower()}
    slug = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
    return {"license": "other", "license_name": slug} if slug else {"license": "unknown"}


def size_category(samples: int) -> str:
    """The Hub's bin: `n<1K`, `1K<n<10K`, ... in powers of ten up to `n>1T`."""
    bounds = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T"]
    power = max(0, len(str(samples)) - 3)
    if power == 0:
        return "n<1K"
    return f"{bounds[power - 1]}<n<{bounds[power]}" if power < len(bounds) else "n>1T"


def statistics(index: pl.LazyFrame) -> list[dict[str, Any]]:
    """Least, median, mean and most of what was measured, of the captions' lengths, and of every score."""
    scores = [name for name in index.collect_schema().names() if name.startswith("score_")]
    columns = {column: pl.col(column) for column in [*MEASURED, *scores]}
    columns["words"] = pl.col("txt").str.split(" ").list.len()
    rows = []
    for name, column in columns.items():
        wanted = {
            "least": column.min(),
            "median": column.median(),
            "mean": column.mean(),
            "most": column.max(),
        }
        label = {**MEASURED, "words": "words of the caption"}.get(name, name.removeprefix("score_"))
        rows.append({"name": label, **index.select(**wanted).collect().row(0, named=True)})
    return rows


def origins(index: pl.LazyFrame) -> list[dict[str, Any]]:
    groups = index.group_by("source", "license", "license_url").agg(
        clips=pl.len(), duration_s=pl.col("duration_s").sum(), authors=pl.col("author").n_unique()
    )
    return groups.sort("source", "license", "license_url").collect().to_dicts()


def as_text(text: str) -> str:
    """Markdown that shows exactly this text, on one line, in a table too."""
    escaped = SPECIAL.sub(r"\\\1", html.escape(one_line(text), quote=False))
    return LIST_MARK.sub(r"\1\\\2", escaped)


def as_link(url: str) -> str:
    return f"<{url}>" if re.fullmatch(r"https?://[!-~]+", url) and not set(url) & set("<>|\\`") else as_text(url)


FILTERS = {
    "text": as_text,
    "link": as_link,
    "count": as_count,
    "number": as_number,
    "duration": as_duration,
    "size": as_size,
}
