"""What the card tells: whoever wrote titles and names, whatever the run was, with links and without."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import yaml
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from builder.card import CaptionerFacts, StageFacts, captions_are, render
from builder.card_facts import shown
from builder.card_tables import as_bar
from builder.report.stats import histogram
from command_line import osd_build, write_run
from cut_dataset import make_dataset
from hub_card_rules import errors
from links_dataset import write_links_dataset
from made_video import Made, write
from open_sora_dataset import features
from shards.configs import configs
from shards.links import Links, links_features
from shards.manifest import ShardEntry, read_manifest
from shards.read_links import links_of
from shards.verify import verify
from small_dataset import CAPTIONERS, FACTS, SCORES, write_small_dataset

HOSTILE = [
    "---\nlicense: mit\n---",
    "# heading",
    "```\ncode\n```",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![i](http://x.example/i.png)",
    "[l](javascript:alert(1))",
    "a | b | c",
    "!!python/object:os.system",
    "&a [*a, *a]",
    "{{ 7 * 7 }}{% raw %}",
    "$x^2$ and $$y$$",
    "\x1b[31mred\x07",
    "\u2028# line\u2029\x85---",
    "\u202egnp.exe",
    "- item\n1. one\n+ two",
    "]]> --> <!-- x -->",
    "`; rm -rf /`",
    "\\",
    "*b* _i_ ~~s~~",
]


@pytest.fixture(scope="module")
def hostile_card(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every hostile text is the title, author, page, licence and caption of a clip."""
    fields = ("title", "author", "author_url", "license", "license_url", "page_url", "site_id")
    clips = {
        f"a{n:02}-000": {"made": Made(frames=2, size=(32, 32)), **dict.fromkeys(fields, text), "texts": [text, text]}
        for n, text in enumerate(HOSTILE)
    }
    folder = make_dataset(tmp_path_factory.mktemp("hostile") / "dataset", clips)
    return render(folder, read_manifest(folder), replace(FACTS, contact=HOSTILE[3], limits=HOSTILE, settings=stages()))


def stages() -> list[StageFacts]:
    return [StageFacts(text, {text: text}) for text in HOSTILE]


def test_texts_of_strangers_mean_nothing_in_markdown(hostile_card: str) -> None:
    card = DatasetCard(hostile_card)
    tokens = MarkdownIt("commonmark").enable("table").parse(card.text)
    kinds = Counter(token.type for token in tokens)
    template = (Path(__file__).parents[1] / "dataset_card.md").read_text()
    assert kinds["heading_open"] == template.count("\n# ") + template.count("\n## ")
    assert kinds["fence"] == 2
    assert not {"html_block", "hr", "code_block"} & set(kinds)
    inline = {child.type for token in tokens for child in token.children or []}
    assert not {"html_inline", "image"} & inline
    links = {child.attrGet("href") for t in tokens for child in t.children or [] if child.type == "link_open"}
    assert links == set()
    rows = [token for token in tokens if token.type == "inline" and token.map]
    shown_texts = {"".join(child.content for child in token.children or []) for token in rows}
    for text in HOSTILE:
        plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        assert plain in shown_texts, text


def test_texts_of_strangers_mean_nothing_in_yaml(hostile_card: str) -> None:
    fields = yaml.safe_load(hostile_card.removeprefix("---\n").partition("\n---\n")[0])
    assert (fields["license"], fields["license_name"]) == ("other", "mixed")
    assert fields["pretty_name"] == "Test clips"
    assert errors(hostile_card) == []


def test_cards_are_right_by_the_rules_of_the_hub_here(tmp_path: Path) -> None:
    card = (write_small_dataset(tmp_path / "dataset").folder / "README.md").read_text()
    assert errors(card) == []
    for wrong in ("license: other", "n<1K", "text-to-video", "config_name: nasa", "default: true\n"):
        other = {"default: true\n": "default: true\n- config_name: x\n  default: true\n"}.get(wrong, "x")
        assert errors(card.replace(wrong, other, 1)) != [], wrong


# -- configs
def entry(path: str, samples: int = 1) -> ShardEntry:
    return ShardEntry(path, samples, 10_240, "0" * 64)


def test_configs_follow_from_the_manifest(tmp_path: Path) -> None:
    manifest = read_manifest(write_small_dataset(tmp_path / "dataset").folder)
    found = {config.name: config for config in configs(manifest)}
    columns = features(SCORES, CAPTIONERS)
    assert list(found) == ["default", "nasa", "pexels", "describe", "llava"]
    assert [name for name, config in found.items() if config.default] == ["default"]
    assert found["nasa"].features == columns
    assert set(columns) - set(found["describe"].features) == {"llava.txt"}
    assert set(columns) - set(found["llava"].features) == {"txt"}
    assert found["pexels"].info().splits["train"].num_examples == 3


def test_splits_have_patterns_and_counts_of_their_own(tmp_path: Path) -> None:
    manifest = read_manifest(write_small_dataset(tmp_path / "dataset").folder)
    paths = (
        "data/a/r0001/a-validation-000000.tar",
        "data/a/r0001/a-train-000000.tar",
        "data/a/r0002/a-train-000000.tar",
    )
    config = configs(replace(manifest, shards=tuple(map(entry, paths))))[0]
    assert config.patterns == {
        "train": ["data/a/r0001/a-train-*.tar", "data/a/r0002/a-train-*.tar"],
        "validation": ["data/a/r0001/a-validation-*.tar"],
    }
    assert {name: split.num_examples for name, split in config.info().splits.items()} == {"train": 2, "validation": 1}


def test_names_that_are_taken(tmp_path: Path) -> None:
    manifest = read_manifest(write_small_dataset(tmp_path / "dataset").folder)
    sources = ("default", "links", "llava")
    shards = tuple(entry(f"data/{source}/r0001/{source}-train-000000.tar") for source in sources)
    links = Links((entry("links/x/r0001/x-train-000000.tar"),))
    found = configs(replace(manifest, shards=shards), links)
    assert [c.name for c in found] == [
        *("default", "links", "source-default", "source-links", "llava", "describe", "captions-llava")
    ]
    assert found[1].features == links_features(SCORES, CAPTIONERS)


def test_one_captioner_needs_no_config(tmp_path: Path) -> None:
    manifest = read_manifest(write_small_dataset(tmp_path / "dataset").folder)
    assert [c.name for c in configs(replace(manifest, captioners=("describe",)))] == ["default", "nasa", "pexels"]


def test_links_beside_videos_and_alone(tmp_path: Path) -> None:
    made = write_links_dataset(tmp_path)
    alone = DatasetCard((made.folder / "README.md").read_text())
    assert [(c["config_name"], c.get("default")) for c in alone.data["configs"]] == [("links", True)]
    assert "holds no video" in alone.text
    assert 'sample["mp4"]' not in alone.text
    rows = datasets.load_dataset(str(made.folder), split="train", streaming=True)
    assert len(list(rows)) == 5
    manifest, links = read_manifest(made.packed), links_of(made.folder)
    both = DatasetCard(render(made.packed, manifest, FACTS, links))
    named = {c["config_name"]: c.get("default", False) for c in both.data["configs"]}
    assert (named["default"], named["links"]) == (True, False)
    assert "Of 5 more clips the video may not be passed on" in both.text
    assert errors(str(both)) == errors((made.folder / "README.md").read_text()) == []


# -- verify
@pytest.mark.parametrize(
    ("wrong", "right", "says"),
    [
        ("num_examples: 2", "num_examples: 3", "config nasa: promises 3 samples of train, the manifest has 2"),
        ("nasa-train-*.tar", "nas-train-*.tar", "config default: it does not list exactly the shards"),
        ("version: 1.0.0", "version: 2.0.0", "config default: its version is not 1.0.0"),
        ("dtype: float64", "dtype: int64", "config default: its features are not those of the manifest"),
        ("- config_name: llava\n  data", "- config_name: other\n  data", "config llava: is missing"),
    ],
)
def test_verify_finds_what_is_wrong_with_a_card(tmp_path: Path, wrong: str, right: str, says: str) -> None:
    folder = write_small_dataset(tmp_path / "dataset").folder
    card = folder / "README.md"
    assert wrong in card.read_text()
    card.write_text(card.read_text().replace(wrong, right, 1))
    problems = verify(folder)
    assert {problem.path for problem in problems} == {"README.md"}
    assert any(says in problem.what for problem in problems), problems


# -- statistics
def test_bars_below_one_percent_are_counted_only(tmp_path: Path) -> None:
    found = histogram({"1920x1080": 300, "640x480": 3, "3x3": 1, "5x5": 1})
    assert list(found.bars) == ["1920x1080"]
    assert (found.unlisted_kinds, found.unlisted) == (3, 5)
    assert (as_bar(300, found), as_bar(1, found)) == ("█" * 20, "█")
    clips = {f"a{n:03}-000": {"made": Made(frames=2, size=(32, 32)), "width": 64, "height": 36} for n in range(101)}
    clips["b-000"] = {"made": Made(frames=2, size=(32, 32)), "width": 36, "height": 64}
    folder = make_dataset(tmp_path / "dataset", clips)
    lines = render(folder, read_manifest(folder), FACTS).splitlines()
    assert "| pexels | 64x36 | 101 | 99.0% | ████████████████████ |" in lines
    assert "| pexels | 1 others, each below 1 % | 1 | 1.0% | |" in lines
    assert "| pexels | 16:9 | 101 | 99.0% | ████████████████████ |" in lines


def test_many_authors_are_not_all_named(tmp_path: Path) -> None:
    clips = {
        f"a{n:03}-000": {
            "made": Made(frames=2, size=(32, 32)),
            "author": f"author {n:03}" if n else "",
            "author_url": "",
        }
        for n in range(103)
    }
    clips["b-000"] = clips["a102-000"]
    folder = make_dataset(tmp_path / "dataset", clips)
    card = render(folder, read_manifest(folder), FACTS)
    assert card.index("author 102 |") < card.index("author 001 |")
    assert "2 more are in the columns" in card
    assert "Of 1 clips the source names no author." in card


# -- what the run knows
@pytest.mark.parametrize(
    ("captioners", "said"),
    [
        ([("describe", True)], "Captions named `describe` are composed by rule from what was measured; no vision"),
        ([("qwen", False)], "The captions were written by models: `qwen` by model of qwen."),
        (
            [("describe", True), ("qwen", False)],
            "Captions named `describe` are composed by rule from what was measured. Others were written by models: ",
        ),
        ([], ""),
    ],
)
def test_the_first_line_names_who_wrote_the_captions(captioners: list[tuple[str, bool]], said: str) -> None:
    facts = [CaptionerFacts(name, f"model of {name}", rule_based=rule) for name, rule in captioners]
    assert captions_are(facts).startswith(said)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("/home/me/secret/head.safetensors", "head.safetensors"),
        ("~/x/y.whl", "y.whl"),
        ("https://me:pass@host/v1", ""),
        (["a", "/b/c"], "a, c"),
        (0.5, "0.5"),
        ((), ""),
        ("x" * 500, "x" * 200),
    ],
)
def test_settings_tell_no_paths_and_no_servers(value: object, text: str) -> None:
    assert shown(value) == text


def test_the_card_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write(tmp_path / "videos/a.mp4", Made(frames=40))
    run = write_run(tmp_path / "run", tmp_path / "videos")
    with (run / "build.toml").open("a") as file:
        file.write('[card]\ntitle = "Zoo | clips"\ncontact = "https://us.example/remove"\nlanguages = ["zh"]\n')
    done = osd_build("run", run)
    assert done.returncode == 0, done.stderr
    card = (run / "dataset/README.md").read_text()
    fields = yaml.safe_load(card.removeprefix("---\n").partition("\n---\n")[0])
    assert (fields["pretty_name"], fields["language"], fields["license"]) == ("Zoo | clips", ["zh"], "cc0-1.0")
    for line in (
        "| split | min\\_s = 0\\.2; max\\_s = 20\\.0",
        "Write to https://us.example/remove, with",
        "- motion.flow &gt;= 0",
    ):
        assert line in card
    assert "- describe: describe, composed by rule, revision 2." in card
    assert "near-duplicates are not left out" in card
    assert str(tmp_path) not in card
    assert verify(run / "dataset") == []
    wrong = osd_build("pack", run, "--set", "card.languages=english")
    assert wrong.returncode == 2
    assert "[card] languages must be codes" in wrong.stderr
