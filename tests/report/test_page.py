"""The page of a run: what it holds, that data in it stays data, and that it can be made of any half-done run."""

import base64
import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from builder.errors import RunError
from builder.execute import open_run
from builder.report import page
from builder.report.clips import everything, gallery
from builder.report.page import Written, write_report
from command_line import osd_build
from injections import INJECTIONS
from pictured_run import Pictured, Texts, flow, pictured, write_run

ROOT = Path(page.__file__).with_name("html")


@dataclass
class Parsed(HTMLParser):
    """What a browser would see."""

    scripts: list[tuple[dict[str, str | None], str]] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    text: list[str] = field(default_factory=list)
    policy: str = ""
    inside: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.inside = tag
        self.attributes |= {name for name, _ in attrs}
        found = dict(attrs)
        if tag == "script":
            self.scripts.append((found, ""))
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self.inside != "style":
            self.text.append(data)

    def settings(self) -> dict[str, Any]:
        [text] = [text for found, text in self.scripts if found.get("id") == "settings"]
        return json.loads(base64.b64decode(text))

    def blocks(self) -> Iterator[dict[str, Any]]:
        for found, text in self.scripts:
            if found.get("class") == "block":
                yield json.loads(gzip.decompress(base64.b64decode(text)))

    def shown(self) -> str:
        return " ".join(" ".join(self.text).split())


def parsed(path: Path) -> Parsed:
    found = Parsed()
    found.feed(path.read_text(encoding="utf-8"))
    return found


def made(run: Path) -> Parsed:
    return parsed(write_report(open_run(run)).page)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Pictured:
    texts = [Texts(f"title {n}", caption=f"Caption of {n}.") for n in range(12)]
    return pictured(tmp_path_factory.mktemp("pictured"), texts, clips_each=5)


@pytest.fixture
def run(whole: Pictured, tmp_path: Path) -> Pictured:
    """A copy to do things to."""
    folder = whole.run.parent
    shutil.copytree(folder, tmp_path / "copy")
    return Pictured(tmp_path / "copy" / whole.run.name, whole.clips)


def test_the_page_holds_what_the_tables_say(whole: Pictured) -> None:
    found = made(whole.run)
    [block] = found.blocks()
    assert block["clip_id"] == sorted(row.clip_id for row in whole.clips)
    order = {row.clip_id: n for n, row in enumerate(whole.clips)}
    numbers = [order[key] for key in block["clip_id"]]
    flows = [None if n % 30 == 29 else flow(n) for n in numbers]
    assert block["values"]["motion.flow"] == flows
    assert block["kept"] == [x is not None and x >= 0.5 for x in flows]
    assert [why[0].split()[0] for why in block["why"] if why] == [
        "no" if x is None else "motion.flow" for x in flows if x is None or x < 0.5
    ]
    said = block["captions"]["describe"]
    assert [text is not None for text in said["text"]] == block["kept"]
    assert {model for model in said["model"] if model} == {"some/model"}
    assert {prompt for prompt in said["prompt"] if prompt} == {"Describe <i>it</i>."}
    assert block["pictures"] == [True] * 60
    assert all(base64.b64decode(jpeg).startswith(b"\xff\xd8") for jpeg in block["jpeg"])
    videos = block["videos"]
    assert {video["title"] for video in videos.values()} == {f"title {n}" for n in range(12)}
    assert {video["license"] for video in videos.values()} == {"CC0-1.0", "CC-BY-4.0"}
    assert {video["href"] for video in videos.values()} == {"../videos/a%20b.mp4"}


def test_values_that_conditions_name_are_exact_and_others_short(run: Pictured) -> None:
    found = gallery(open_run(run.run), everything(open_run(run.run)))
    exact = gallery(open_run(run.run, ["filter.keep=['duration_s <= 1']"]), everything(open_run(run.run)))
    assert {"motion.flow", "sharpness.laplacian", "duration_s"} <= set(found.names)
    third = next(row for row in run.clips if row.clip_id.endswith("-0000030-0000045"))
    assert third.duration_s != 0.6
    lengths = [dict(g.rows.select("clip_id", "duration_s").iter_rows())[third.clip_id] for g in (found, exact)]
    assert lengths == [0.6, third.duration_s]


def test_what_the_sliders_start_from(whole: Pictured) -> None:
    settings = made(whole.run).settings()
    [simple, group] = settings["rules"]
    assert simple["condition"] == {"name": "motion.flow", "test": ">=", "limits": [{"value": 0.5, "percentile": ""}]}
    assert group["condition"]["kind"] == "any"
    assert group["condition"]["parts"][1] == {"name": "source", "test": "==", "text": "other"}
    spread = next(one for one in settings["spreads"] if one["name"] == "motion.flow")
    assert sum(spread["kept"]) == 28
    assert sum(spread["lost"]) == 30
    assert spread["missing"] == 2


def test_percentiles_come_with_their_numbers(whole: Pictured, tmp_path: Path) -> None:
    written = write_report(open_run(whole.run, ["filter.keep=['motion.flow >= p50']"]), tmp_path / "x.html")
    [rule] = parsed(written.page).settings()["rules"]
    assert rule["condition"]["limits"] == [{"value": pytest.approx(0.4), "percentile": "p50"}]


def test_the_policy_lets_run_what_is_ours_and_nothing_else(whole: Pictured) -> None:
    found = made(whole.run)
    ours = [(ROOT / name).read_bytes() for name in ("page.js", "page.css")]
    script, style = (base64.b64encode(hashlib.sha256(text).digest()).decode() for text in ours)
    rules = dict(rule.split(" ", 1) for rule in found.policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["connect-src"] == "'none'"
    assert (rules["script-src"], rules["style-src"]) == (f"'sha256-{script}'", f"'sha256-{style}'")
    assert rules["require-trusted-types-for"] == "'script'"
    running = [text for attributes, text in found.scripts if "type" not in attributes]
    assert running == [ours[0].decode()]
    assert {attributes.get("type") for attributes, _ in found.scripts} == {None, "application/octet-stream"}
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc", running[0]
    )
    assert len(running[0].splitlines()) <= 600
    assert not {name for name in found.attributes if name.startswith("on")}
    assert "style" not in found.attributes


def test_texts_of_strangers_are_only_text(tmp_path: Path) -> None:
    texts = [Texts(text, author=text, page_url=text, caption=text) for text in INJECTIONS]
    odd = pictured(tmp_path, texts)
    assert len(INJECTIONS) > 200
    plain = made(write_run(tmp_path / "plain"))
    found = made(odd.run)
    assert found.tags - plain.tags <= {
        "polygon",
        "rect",
        "svg",
        "details",
        "summary",
        "ul",
        "li",
        "tfoot",
        "code",
        "thead",
        "tbody",
        "table",
        "caption",
        "td",
        "tr",
        "th",
        "b",
        "i",
    }
    assert len([1 for attributes, _ in found.scripts if "type" not in attributes]) == 1
    titles = {video["title"] for block in found.blocks() for video in block["videos"].values()}
    captions = {text for block in found.blocks() for text in block["captions"]["describe"]["text"] if text}
    assert titles == set(INJECTIONS)
    assert captions <= set(INJECTIONS)
    assert "<b>too</b> long" in found.shown()


TABLES = ("select", "caption.describe", "judge", "score.sharpness", "score.motion", "split", "scan", "merge")


@pytest.mark.parametrize("gone", range(len(TABLES) + 1))
def test_a_run_half_done(run: Pictured, gone: int) -> None:
    """The tables that are there are shown, from the last to none."""
    run.remove(*TABLES[:gone])
    found = made(run.run)
    clips = sum(len(block["clip_id"]) for block in found.blocks())
    assert clips == (60 if gone <= TABLES.index("split") else 0)
    spreads = [one["name"] for one in found.settings()["spreads"]]
    assert ("motion.flow" in spreads) == (gone <= TABLES.index("score.motion"))
    if gone > TABLES.index("judge"):
        assert all(kept is None for block in found.blocks() for kept in block["kept"])
    if gone > TABLES.index("split"):
        assert "No clips yet" in found.shown()


def test_a_run_that_has_done_nothing(tmp_path: Path) -> None:
    result = osd_build("report", write_run(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")
    found = parsed(tmp_path / "run" / "report.html")
    assert list(found.blocks()) == []
    assert "not run yet" in found.shown()
    assert "Nothing failed." in found.shown()


@pytest.mark.parametrize("damage", ["gone", "cut", "other", "empty"])
def test_a_damaged_strip_leaves_a_placeholder(run: Pictured, damage: str) -> None:
    [strip] = (run.run / "media").glob("*.strip")
    data = strip.read_bytes()
    strip.unlink()
    if damage != "gone":
        strip.write_bytes({"cut": data[: len(data) // 2], "other": b"\0" * 999, "empty": b""}[damage])
    written = write_report(open_run(run.run))
    assert written.lacking == 60
    assert "60 clips have no picture" in str(written)
    [block] = parsed(written.page).blocks()
    assert set(block["pictures"]) == {False}


def test_a_damaged_table_is_named(run: Pictured) -> None:
    part = run.run / "score.motion" / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    (run.run / "report.html").write_text("of an earlier time")
    with pytest.raises(RunError, match="part-00001"):
        write_report(open_run(run.run))
    assert (run.run / "report.html").read_text() == "of an earlier time"
    assert list(run.run.glob(".report*")) == []


def test_many_clips_have_their_pictures_beside_the_page(run: Pictured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "INLINE", 59)
    beside = run.run / "report_files"
    beside.mkdir()
    (beside / "mine.jpg").write_bytes(b"")
    with pytest.raises(RunError, match="not of an earlier report"):
        write_report(open_run(run.run))
    (beside / "mine.jpg").unlink()
    (beside / page.OURS).touch()
    (run.run / ".report.html.99999999").write_text("of an attempt that was killed")
    (run.run / ".report_files.99999999").mkdir()
    written = write_report(open_run(run.run))
    assert written.beside == beside
    assert {path.stem for path in beside.glob("*.jpg")} == {row.clip_id for row in run.clips}
    found = parsed(written.page)
    assert found.settings()["pictures"] == "report_files/{}.jpg"
    assert all("jpeg" not in block for block in found.blocks())
    assert list(run.run.glob(".report*")) == []


def test_of_more_clips_than_a_page_holds_an_even_choice(whole: Pictured) -> None:
    opened = open_run(whole.run)
    found = gallery(opened, everything(opened), most=25)
    ids = sorted(row.clip_id for row in whole.clips)
    assert found.rows["clip_id"].to_list() == ids[::3]
    assert found.total == 60
    assert len(found.videos) == 12


def test_the_same_run_gives_the_same_page(whole: Pictured, tmp_path: Path) -> None:
    pages = [
        write_report(open_run(whole.run), tmp_path / name / "a.html")
        for name in ("x", "y")
        if not (tmp_path / name).mkdir()
    ]
    one, other = (written.page.read_bytes() for written in pages)
    assert one == other


def test_a_page_that_cannot_be_written(whole: Pictured, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="--out"):
        write_report(open_run(whole.run), tmp_path / "missing" / "a.html")


def test_what_is_told(tmp_path: Path) -> None:
    assert str(Written(tmp_path / "a.html", None, 1200, 0)) == f"wrote {tmp_path}/a.html, 1,200 clips"
