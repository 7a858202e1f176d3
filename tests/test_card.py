"""The card: `load_dataset` and the Hub can use it whatever people put into titles, names and prompts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset_builder
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from builder.card import CaptionerFacts, FunnelStep, license_fields, render, size_category
from builder.escaping import as_link, as_text
from open_sora_dataset import features
from shards.manifest import read_manifest
from shards.verify import verify
from small_dataset import CAPTIONERS, FACTS, SCORES, SmallDataset, write_small_dataset

HOSTILE = (
    "x\n---\nlicense: mit\n| a | b |\r\n# `h` <script>alert(1)</script> [l](javascript:x) ![i](y) {{ 7*7 }}"
    "\u2028---\x85---\x00 $1$"
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SmallDataset:
    return write_small_dataset(tmp_path_factory.mktemp("card") / "dataset")


def test_front_matter(dataset: SmallDataset) -> None:
    data = DatasetCard.load(dataset.folder / "README.md").data.to_dict()
    assert data["language"] == ["en"]
    assert data["task_categories"] == ["text-to-video"]
    assert data["tags"] == ["webdataset", "video", "video-captions"]
    assert (data["license"], data["license_name"]) == ("other", "mixed")
    assert data["size_categories"] == ["n<1K"]
    text = (dataset.folder / "README.md").read_text()
    assert "&id" not in text.partition("\n---\n")[0]  # no YAML anchors: not every reader resolves them


def test_counts_and_columns_are_exact(dataset: SmallDataset) -> None:
    for config, samples in ((None, 5), ("nasa", 2), ("pexels", 3)):
        info = load_dataset_builder(str(dataset.folder), config).info
        assert info.features == features(SCORES, CAPTIONERS)
        assert info.splits["train"].num_examples == samples
    assert info.splits["train"].num_bytes == sum(
        path.stat().st_size for path in dataset.folder.glob("data/pexels/**/*.tar")
    )


def test_body_says_what_a_reader_needs(dataset: SmallDataset) -> None:
    body = DatasetCard.load(dataset.folder / "README.md").text
    lines = [line for line in body.splitlines() if line]
    assert lines[0] == "# Test clips"
    assert lines[1].startswith("Captions named \\`describe\\` are composed from measurements by rule")
    for line in (
        "| judge | 8 | 5 | 3 | 0 |",
        "| motion\\_flow | 8.2 | 8 | 8 | 8 | 8 | 8 | 9 | 9 |",
        "| nasa | CC-BY-4.0 (<https://licenses.example/by/4.0>) | 2 | 0h 00m 00s | 2 | yes | no | yes | yes |",
        "- text.area &lt;= 0.01",
        "- llava: llava-7b, revision abc123. Prompt: Describe.",
    ):
        assert line in lines


def test_same_dataset_same_card(dataset: SmallDataset) -> None:
    manifest = read_manifest(dataset.folder)
    assert render(dataset.folder, manifest, FACTS) == render(dataset.folder, manifest, FACTS)


def test_hostile_text_changes_neither_yaml_nor_markdown(dataset: SmallDataset) -> None:
    manifest = read_manifest(dataset.folder)
    facts = replace(
        FACTS,
        pretty_name=HOSTILE,
        repo_id='x", evil="\n```\n# out',
        captions_are="- " + HOSTILE,
        filters=(HOSTILE,),
        funnel=(FunnelStep(HOSTILE, 1, 1),),
        captioners=(CaptionerFacts(HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
    )
    plain = render(dataset.folder, manifest, FACTS)
    hostile = render(dataset.folder, manifest, facts)
    front = hostile.split("\n---\n")[0].removeprefix("---\n")
    fields = yaml.safe_load(front)
    assert fields["pretty_name"].startswith("x --- license: mit | a")
    assert {**fields, "pretty_name": ""} == {
        **yaml.safe_load(plain.split("\n---\n")[0].removeprefix("---\n")),
        "pretty_name": "",
    }
    assert "{{ 7\\*7 }}" in hostile
    tokens = MarkdownIt("commonmark").enable("table").parse(DatasetCard(hostile).text)
    kinds = [token.type for token in tokens if token.type in ("heading_open", "html_block", "fence")]
    assert kinds.count("heading_open") == plain.count("\n# ") + plain.count("\n## ")
    assert kinds.count("fence") == 2
    assert "html_block" not in kinds
    inline = [child.type for token in tokens for child in token.children or []]
    assert "html_inline" not in inline
    assert "image" not in inline


@given(st.text() | st.text("0123456789.)-+=#>*_`[]()<&\\|~! \n"))
def test_escaped_text_shows_itself(text: str) -> None:
    """As a paragraph and as a table's cell, apart from white space and what cannot be printed."""
    printable = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    markdown = MarkdownIt("commonmark").enable("table")
    table = markdown.parse(f"| a | b |\n|---|---|\n| {as_text(text)} | y |\n")
    cells = [token for token in table if token.type == "inline"]
    assert len(cells) == 4
    assert "".join(child.content for child in cells[2].children or []) == printable
    paragraph = markdown.parse(as_text(text))
    assert {token.type for token in paragraph} <= {"paragraph_open", "inline", "paragraph_close"}


@pytest.mark.parametrize(
    ("licenses", "fields"),
    [
        ({"CC-BY-4.0": 3}, {"license": "cc-by-4.0"}),
        ({"CC0-1.0": 3}, {"license": "cc0-1.0"}),
        (
            {"Pexels": 3},
            {"license": "other", "license_name": "pexels", "license_link": "https://www.pexels.com/license/"},
        ),
        ({"Home made": 3}, {"license": "other", "license_name": "home-made"}),
        ({"": 3}, {"license": "unknown"}),
        ({"CC-BY-4.0": 3, "CC0-1.0": 1}, {"license": "other", "license_name": "mixed"}),
    ],
)
def test_license(licenses: dict[str, int], fields: dict[str, str]) -> None:
    assert license_fields(licenses) == fields


@pytest.mark.parametrize(
    ("samples", "category"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (54_321, "10K<n<100K"),
        (10**6, "1M<n<10M"),
        (10**12, "n>1T"),
    ],
)
def test_size_category(samples: int, category: str) -> None:
    assert size_category(samples) == category


def test_links_are_links_only_when_they_are_urls() -> None:
    assert as_link("https://a.example/b_c?d=1") == "<https://a.example/b_c?d=1>"
    assert as_link("javascript:alert(1)") == "javascript:alert(1)"
    assert as_link("https://a.example/> <b") == "https://a.example/&gt; &lt;b"


def test_later_revisions_stay_unseen_until_the_card_lists_them(tmp_path: Path) -> None:
    """Uploads go first and the card last: between the two, readers must get the old dataset whole."""
    folder = write_small_dataset(tmp_path / "dataset").folder
    later = folder / "data/nasa/r0002/nasa-train-000000.tar"
    later.parent.mkdir()
    later.write_bytes((folder / "data/nasa/r0001/nasa-train-000000.tar").read_bytes())
    files = load_dataset_builder(str(folder)).config.data_files["train"]
    assert len(files) == 3
    assert [problem.path for problem in verify(folder)] == [later.relative_to(folder).as_posix()]
    assert json.loads((folder / "manifest.json").read_text())["totals"]["samples"] == 5
