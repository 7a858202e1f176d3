"""Captioning as a user does it: trying, measuring, then running; a second captioner, another prompt, bad answers."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from builder import registry
from builder.captioning.estimate import estimates
from builder.captioning.presets import told
from builder.captions import Choice, try_run
from builder.errors import ConfigError, OsdError, RunError
from builder.execute import open_run
from builder.records import Caption, Failure
from builder.report.funnel import funnel
from builder.trial import try_out
from command_line import SOME_FAILED, digests, osd_build, write_run
from made_video import Made, write
from scripted import CUT, GOOD, Script, install
from test_cli_filter import go, tables

TESTS = Path(__file__).parent
OTHER = "Two dogs run over a green hill while clouds pass."


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The scripted captioner, found as a third party's would be; in commands too."""
    folder = install(tmp_path_factory.mktemp("packages"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv(
            "PYTHONPATH", os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(folder), str(TESTS)])
        )
        registry.discover.cache_clear()  # type: ignore[attr-defined]
        yield
    registry.discover.cache_clear()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is judged; whoever changes it works on a copy."""
    videos = tmp_path_factory.mktemp("videos")
    for n in range(5):
        write(videos / f"{n}.mp4", Made(frames=30 + n))
    run = write_run(tmp_path_factory.mktemp("run") / "run", videos)
    go(run, "crawl", "split", "filter")
    return run


@pytest.fixture
def run(judged: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(judged, tmp_path / "run"))


def add(run: Path, name: str, **settings: Any) -> None:
    """A scripted captioner."""
    given = {"engine": "scripted", "language": "", **settings}
    lines = [f"\n[caption.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in given.items())]
    with (run / "build.toml").open("a") as file:
        file.write("\n".join(lines) + "\n")


def texts(run: Path, name: str) -> list[str]:
    return [row.text for answer in tables(run, f"caption.{name}").values() for row in answer.rows]


# -- before a run
def test_show_prints_what_each_captioner_says_and_writes_nothing(run: Path, tmp_path: Path) -> None:
    add(run, "story", says=[f"The video shows {OTHER}"], frames_per_clip=2)
    before = digests(run)
    done = osd_build("caption", run, "--show", "--clips", "3", "--preview", tmp_path / "sheet.png")
    assert done.returncode == 0, done.stderr
    assert digests(run) == before
    assert done.stdout.count("clip ") == done.stdout.count("  describe: ok, en, ") == done.stdout.count(OTHER) == 3
    assert "  story: ok, " in done.stdout and ", frames at " in done.stdout and "The video shows" not in done.stdout
    picture = cv2.imread(str(tmp_path / "sheet.png"))
    assert picture.shape[0] > 600 and picture.shape[1] == 1240


def test_show_of_one_captioner_with_other_settings(run: Path) -> None:
    add(run, "story", says=["", OTHER])
    [one, *_] = tried = try_run(run, Choice("story", sets=("caption.story.tries=1",)), 9)
    assert len(tried) == 5  # all there are
    assert list(one.outcomes) == ["story"]
    assert isinstance(one.outcomes["story"], Failure)
    assert "story: failed, empty\n    script said nothing about" in one.to_text()
    assert "attempt 2" in try_run(run, Choice("story"), 1)[0].to_text()


def test_a_preset_can_be_tried_without_being_in_the_run(run: Path, tmp_path: Path) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text(f'[caption]\nengine = "scripted"\nlanguage = ""\nsays = ["{OTHER}"]\nprompt = "Of {{title}}?"\n')
    [tried] = try_run(run, Choice(preset=str(preset)), 1)
    found = tried.outcomes["try"]
    assert isinstance(found, Caption)
    assert (found.text, found.captioner) == (OTHER, "try")
    assert found.prompt.startswith("Of unknown?") or found.prompt.startswith("Of “")
    assert "caption.try" not in [p.name for p in run.iterdir()]


def test_a_video_needs_no_run(tmp_path: Path) -> None:
    write(tmp_path / "v.mp4", Made(frames=60))
    before = digests(tmp_path)
    done = osd_build("caption", "v.mp4", "--preview", "v.png", "--set", "tags=off", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("clip 1-") and "\n  describe: ok, en, " in done.stdout
    assert digests(tmp_path).keys() - before.keys() == {str(tmp_path / "v.png")}
    bad = ["--captioner", "scripted", "--set", "language=''", "--set", "says=['I cannot']"]
    refused = osd_build("caption", "v.mp4", *bad, cwd=tmp_path)
    assert (refused.returncode, "scripted: failed, refused" in refused.stdout) == (SOME_FAILED, True)


def test_estimate_measures_and_says_what_is_left(run: Path) -> None:
    add(run, "story", says=[OTHER], batch_size=1)
    before = digests(run)
    first, second = estimates(run, Choice(sets=("run.workers=3",)))
    assert digests(run) == before
    assert (first.captioner, first.left, first.kept, first.at_once) == ("describe", 5, 5, 3)
    assert (second.captioner, second.clips, second.batches, second.warm, second.failed) == ("story", 4, 4, True, 0)
    assert second.tokens == 4 * len(OTHER)
    assert second.clips_per_s > 0
    go(run, "caption")
    assert [found.left for found in estimates(run, Choice())] == [0, 0]
    assert osd_build("caption", run, "--estimate").stdout.startswith(
        "describe: 0 of 5 kept clips are left to caption\n"
    )
    [again] = estimates(run, Choice("story", sets=("caption.story.seed=1",)))
    assert (again.left, again.clips) == (5, 4)
    assert "tokens/s, " in again.to_text() and "the rest: " in again.to_text()


@pytest.fixture
def place(judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.mp4").write_text("this is no video")
    shutil.copytree(judged, "run")
    shutil.copytree(judged, "unjudged")
    shutil.rmtree("unjudged/judge")


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    "path, choice, flags, said",
    [
        ("run", Choice("nobody"), {}, "no [caption.nobody]; there are: describe"),
        ("run", Choice(preset="qwen4-vl"), {}, "did you mean 'qwen3-vl'?"),
        ("run", Choice(), {"estimate": True, "preview": Path("a.png")}, "--preview goes with --show"),
        ("run", Choice(), {"preview": Path("a.jpg")}, "give a name that ends in .png"),
        ("none", Choice(), {}, "there is no none"),
        ("text.mp4", Choice(), {}, "text.mp4 begins with b'this is no v'"),
        ("text.mp4", Choice(), {"estimate": True}, "for a video there is --show"),
        ("text.mp4", Choice(sets=("tags",)), {}, "write KEY=VALUE"),
        ("text.mp4", Choice(sets=("tagz=off",)), {}, "did you mean 'tags'?"),
        ("text.mp4", Choice("scripted", sets=("prompt={motion.flow}",)), {}, "no slot {motion.flow}"),
        ("text.mp4", Choice("script"), {}, "did you mean 'scripted'?"),
        ("unjudged", Choice(), {}, "is kept (yet); run: osd-build filter "),
        ("unjudged", Choice(), {"estimate": True}, "is kept (yet); run: osd-build filter "),
    ],
)
def test_what_does_not_go_together_is_said(path: str, choice: Choice, flags: dict[str, Any], said: str) -> None:
    with pytest.raises(OsdError) as error:
        try_out(Path(path), choice, 4, flags.get("preview"), flags.get("estimate", False))
    assert said in str(error.value)


def test_presets_are_printed_to_be_copied(run: Path) -> None:
    assert [line.split()[0] for line in told("caption", "").splitlines()][:2] == ["internvl", "llava-1.6-34b"]
    assert "seed" in told("filter", "")
    (run / "mine.toml").write_text(osd_build("presets", "caption", "qwen3-vl").stdout)
    with (run / "build.toml").open("a") as file:
        file.write('[caption.mine]\npreset = "mine.toml"\nseed = 4\n')
    mine = next(stage for _, stage in open_run(run).stages if stage.table == "caption.mine")
    assert (mine.model, mine.seed, mine.temperature) == ("Qwen/Qwen3-VL-8B-Instruct", 4, 0.7)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="did you mean 'qwen3-vl'"):
        told("caption", "qwen3vl")
    with pytest.raises(ConfigError, match="but for: caption, filter"):
        told("captions", "")


# -- the run
def test_adding_a_captioner_touches_no_other_and_another_prompt_recomputes(run: Path) -> None:
    add(run, "one", says=[OTHER])
    go(run, "caption")
    before = {name: digests(run / f"caption.{name}") for name in ("describe", "one")}
    add(run, "two", says=[GOOD])
    go(run, "caption")
    assert {name: digests(run / f"caption.{name}") for name in ("describe", "one")} == before
    assert (texts(run, "one"), texts(run, "two")) == ([OTHER] * 5, [GOOD] * 5)
    build = run / "build.toml"
    build.write_text(build.read_text().replace("[caption.two]", '[caption.two]\nprompt = "Another one."'))
    go(run, "caption")
    assert {name: digests(run / f"caption.{name}") for name in ("describe", "one")} == before
    assert {row.prompt for answer in tables(run, "caption.two").values() for row in answer.rows} == {"Another one."}


def test_only_captions_become_rows_and_the_rest_is_counted(run: Path) -> None:
    add(run, "bad", says=["", "I cannot see it.", "word " * 50])
    add(run, "cut", says=[f"{OTHER} Then they{CUT}"])
    go(run, "caption")
    counts = {count.table: count for count in funnel(open_run(run))}
    assert (counts["caption.bad"].kept, counts["caption.bad"].failed) == (0, 5)
    assert {failure.kind for failure in counts["caption.bad"].failures} == {"repeated"}
    assert len(Script.asked) >= 1
    rows = [row for answer in tables(run, "caption.cut").values() for row in answer.rows]
    assert {(row.text, row.status, row.raw) for row in rows} == {(OTHER, "truncated", f"{OTHER} Then they")}


def test_two_runs_of_one_script_write_the_same_bytes(run: Path, tmp_path: Path) -> None:
    add(run, "bad", says=["", "Clip # shows a quiet street at night, wet with rain."])
    again = Path(shutil.copytree(run, tmp_path / "again"))
    parts = []
    for folder in (run, again):
        go(folder, "caption")
        parts.append([p.read_bytes() for p in sorted((folder / "caption.bad").glob("part-*"))])
    assert parts[0] == parts[1] and parts[0]


# -- captions of captions
def test_a_short_form_follows_the_long_one_which_stays(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(run, "short", says=[OTHER], of=["long"], prompt="Shorten: {captions}", frames_per_clip=0)
    add(run, "long", says=[f"{GOOD} Near clip # it rains."])
    go(run, "caption")
    longs = {key: answer.rows[0].text for key, answer in tables(run, "caption.long").items()}
    shorts = {key: answer.rows[0] for key, answer in tables(run, "caption.short").items()}
    assert {key: f"Shorten: “{text}”" for key, text in longs.items()} == {
        key: row.prompt.splitlines()[0] for key, row in shorts.items()
    }
    assert set(texts(run, "short")) == {OTHER}
    prompts: list[str] = []
    say = Script.say
    monkeypatch.setattr(
        Script, "say", lambda s, asked, how: prompts.extend(q.prompt for q in asked) or say(s, asked, how)
    )
    build = run / "build.toml"
    build.write_text(build.read_text().replace("[caption.long]", "[caption.long]\nseed = 2"))
    go(run, "caption")  # the long ones anew, with the same texts, so no short one
    assert len(prompts) == 5 and not any(prompt.startswith("Shorten") for prompt in prompts)
    assert {key: answer.rows[0] for key, answer in tables(run, "caption.short").items()} == shorts


def test_without_its_long_form_a_clip_has_no_short_one(run: Path) -> None:
    add(run, "short", says=[OTHER], of=["long"], prompt="Shorten: {captions}", frames_per_clip=0)
    add(run, "long", says=["I'm sorry, but I can't."])
    [tried] = try_run(run, Choice("short"), 1)  # the long ones were not made yet
    assert isinstance(tried.outcomes["short"], Failure)
    with pytest.raises(RunError, match="has its inputs; run first: osd-build caption"):
        list(estimates(run, Choice("short")))
    go(run, "caption")
    [counts] = [count for count in funnel(open_run(run)) if count.table == "caption.short"]
    assert (counts.kept, counts.failed, {failure.kind for failure in counts.failures}) == (0, 5, {"no_caption"})


def test_show_makes_the_short_form_of_the_long_one_it_tries(run: Path) -> None:
    add(run, "short", says=[OTHER], of=["long"], prompt="Shorten: {captions}", frames_per_clip=0)
    add(run, "long", says=[GOOD])
    for tried in try_run(run, Choice(), 2):
        short = tried.outcomes["short"]
        assert isinstance(short, Caption) and short.prompt.startswith(f"Shorten: “{GOOD}”")
