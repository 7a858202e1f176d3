"""build.toml: what is wrong is named with its line and with what may be there; nothing is ever silently ignored."""

from pathlib import Path
from typing import Any

import pytest

from builder import config
from builder.errors import ConfigError
from builder.execute import open_run

GOOD = """\
[[source]]
kind = "folder"
name = "mine"
path = "videos"

[split]
min_s = 2.0

[detect]
method = "adaptive"

[score]
use = ["motion"]

[score.sharpness]

[filter]
keep = ["motion.flow >= 0.5"]

[caption.describe]
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "build.toml").write_text(GOOD)
    return tmp_path


def change(run: Path, old: str, new: str) -> None:
    text = (run / "build.toml").read_text()
    assert text.count(old) == 1
    (run / "build.toml").write_text(text.replace(old, new))


def refusal(run: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        open_run(run, overrides)
    return str(caught.value)


def setting(run: Path, stage: str, name: str, *overrides: str) -> Any:
    opened = open_run(run, overrides)
    return next(getattr(s, name) for _, s in opened.stages if s.table == stage)


def test_a_good_one(run: Path) -> None:
    assert setting(run, "split", "min_s") == 2.0
    assert setting(run, "split", "max_s") == 20.0
    assert [s.table for _, s in open_run(run).stages if s.name == "score"] == ["score.motion", "score.sharpness"]
    assert open_run(run).config.base == run


def test_sections_that_are_left_out_have_defaults(run: Path) -> None:
    (run / "build.toml").write_text('[[source]]\nkind = "folder"\npath = "videos"\n')
    tables = [stage.table for _, stage in open_run(run).stages]
    assert tables[:7] == ["find", "admit", "fetch", "merge", "scan", "detect", "split"]
    assert tables[7:11] == ["score.text", "score.motion", "score.sharpness", "score.brightness"]
    assert tables[11:15] == ["score.borders", "score.freeze", "score.shake", "score.flicker"]
    assert tables[15:18] == ["hash", "dedupe", "pick"]
    assert tables[18:] == ["judge", "caption.describe", "select", "plan", "pack"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("min_s = 2.0", "min_sec = 2.0", ["line 7: [split] has no key 'min_sec'", "did you mean 'min_s'?", "max_s"]),
        ("min_s = 2.0", 'min_s = "two"', ['line 7: [split] min_s = "two"', "number"]),
        ("min_s = 2.0", "min_s = -1", ["line 7: [split] min_s = -1", "greater than or equal to 0"]),
        ("[split]", "[spilt]", ["line 6: no section [spilt]", "allowed: ", "split"]),
        ('"adaptive"', '"adaptiv"', ["no detector is called 'adaptiv'; did you mean 'adaptive'?", "fixed"]),
        ("[score.sharpness]", "[score.sharpnes]", ["no scorer is called 'sharpnes'; did you mean 'sharpness'?"]),
        ("[caption.describe]", "[caption.descrbe]", ["no captioner is called 'descrbe'; did you mean 'describe'?"]),
        ("[caption.describe]", '[caption.x]\nengine = "vllm"', ["no captioner is called 'vllm'; ", "transformers"]),
        ('kind = "folder"', 'kind = "foldr"', ["no source is called 'foldr'; did you mean 'folder'?"]),
        ('path = "videos"', "", ["[source] path", "required"]),
        ('name = "mine"', 'name = "a b"', ["line 3: the source name 'a b' may hold a-z, 0-9, - and _ only"]),
        ("[caption.describe]", '[caption."Big Model"]\nengine = "describe"', ["may hold a-z, 0-9, - and _ only"]),
        (
            "motion.flow >= 0.5",
            "motion.flow is big",
            ["line 18: [filter] cannot read the condition"],
        ),
        ("motion.flow >= 0.5", "motoin.flow >= 0.5", ["line 18: nothing measures 'motoin.flow'", "motion.flow"]),
        ('["motion"]', "[]", ["line 18: nothing measures 'motion.flow'", "sharpness.laplacian"]),
        ("[caption.describe]", "[caption]\ndescribe = 3", ["[caption.describe] must be a section of its own"]),
        ("[split]", "[split", ["build.toml is not valid TOML", "line 6"]),
    ],
)
def test_what_is_wrong_is_named(run: Path, old: str, new: str, says: list[str]) -> None:
    change(run, old, new)
    message = refusal(run)
    assert [text for text in says if text not in message] == [], message


def test_no_file(tmp_path: Path) -> None:
    assert f"there is no {tmp_path}/build.toml; make one with: osd-build init" in refusal(tmp_path)


def test_bytes_that_are_no_text(run: Path) -> None:
    (run / "build.toml").write_bytes(b"\xff\xfe")
    assert "is not valid TOML" in refusal(run)


def test_no_source(run: Path) -> None:
    (run / "build.toml").write_text("[split]\n")
    assert "names no [[source]]" in refusal(run)


def test_two_sources_of_one_name(run: Path) -> None:
    with (run / "build.toml").open("a") as file:
        file.write('\n[[source]]\nkind = "folder"\nname = "mine"\npath = "more"\n')
    assert "the source name 'mine' is used twice" in refusal(run)


def test_set_overrides_the_file(run: Path) -> None:
    assert setting(run, "split", "min_s", "split.min_s=3") == 3.0
    assert setting(run, "split", "max_s", "split.max_s = 9.5") == 9.5
    assert setting(run, "judge", "keep", 'filter.keep=["sharpness.laplacian > 1"]') == ("sharpness.laplacian > 1",)
    assert open_run(run, ["run.workers=3"]).settings.workers == 3


def test_set_takes_plain_words(run: Path) -> None:
    assert {s.table: type(s).__name__ for _, s in open_run(run, ["detect.method=fixed"]).stages}["detect"] == "Fixed"


def test_a_wrong_override_is_named_as_such(run: Path) -> None:
    assert refusal(run, "split.min_s=two").startswith("--set split.min_s=two: [split] min_s")
    assert refusal(run, "split.min=2").startswith("--set split.min=2: [split] has no key 'min'")
    for malformed in ("split.min_s", "min_s=2", "=2", "split.=2"):
        assert "write SECTION.KEY=VALUE" in refusal(run, malformed)
    assert "'min_s' is not a section" in refusal(run, "split.min_s.x=2")


def test_what_the_pipeline_sets_is_not_the_users_to_set(run: Path) -> None:
    assert "[filter] has no key 'measured'" in refusal(run, 'filter.measured=["x"]')


def test_lines_are_found_whatever_the_spelling() -> None:
    text = '[ a . b ]\n# x = 0\n"x"=1\n\n[["c"]]\n  y  = 2\n[d]\nx = 3\n'
    assert [config.locate(text, *where) for where in (("d", "x"), ("c", "y"), ("d", ""), ("d", "z"))] == [8, 6, 7, 7]
    assert config.locate(text, "nowhere", "x") is None


def test_the_line_of_the_source_that_is_wrong_is_named(run: Path) -> None:
    lines = [
        "[[source]]",
        'kind = "folder"',
        'path = "a"',
        "",
        "[[source]]",
        'kind = "folder"',
        'name = "b"',
        'pth = "b"',
    ]
    (run / "build.toml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"build\.toml line 8: .*did you mean 'path'"):
        open_run(run)


def test_a_file_for_a_run_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be read"):
        open_run(tmp_path / "file")
