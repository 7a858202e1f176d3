"""Statistics: the figures that v1.0.0 published come out of tables with its counts, and all others equal naive ones."""

import json
import math
import statistics
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import RunError
from builder.records import Caption, Clip, Record, Scanned, SourceVideo, Verdict
from builder.report.stats import QUANTILES, as_duration, aspect, histogram, render, stats
from builder.scorers.motion import MotionScore
from builder.storage import Storage
from builder.table import Answer, Stamp, Table
from small_dataset import CAPTIONERS, FRAMES, write_small_dataset

# What v1.0.0 says of each source: duration and frames; videos by resolution, with the small kinds that it leaves out
# chosen so that its counts by aspect ratio come out as well.
SEED = {
    "mixkit": (22_772, 570_815, {"1920x1080": 1185, "1080x1920": 47, "1440x1080": 1, "640x480": 1}),
    "pexels": (
        175_764,
        5_038_641,
        {"3840x2160": 2858, "1920x1080": 2361, "1080x1920": 247, "2160x4096": 172, "4096x2160": 831, "2560x1440": 265}
        | {"2160x3840": 178, "1280x720": 115, "4096x1974": 144, "640x360": 13, "720x1280": 9, "2048x1080": 2}
        | {"1000x1000": 71, "1440x1080": 71, "1080x1350": 71},
    ),
    "pixabay": (
        788_177,
        23_508_970,
        {"3840x2160": 12603, "1920x1080": 13831, "4096x2160": 1138, "2160x3840": 754, "2560x1440": 616}
        | {"1080x1920": 1212, "2160x4096": 358, "1280x720": 171, "2048x1080": 24, "720x1280": 41}
        | {"1000x1000": 290, "1440x1080": 290, "1080x1350": 288},
    ),
}
LISTED = {
    "mixkit": ({"1920x1080": 1185, "1080x1920": 47}, {"16:9": 1185, "9:16": 47}),
    "pexels": (
        {"3840x2160": 2858, "1920x1080": 2361, "4096x2160": 831, "2560x1440": 265, "1080x1920": 247, "2160x3840": 178}
        | {"2160x4096": 172, "4096x1974": 144, "1280x720": 115},
        {"16:9": 5612, "256:135": 833, "9:16": 434, "135:256": 172, "2048:987": 144},
    ),
    "pixabay": (
        {"1920x1080": 13831, "3840x2160": 12603, "1080x1920": 1212, "4096x2160": 1138, "2160x3840": 754}
        | {"2560x1440": 616, "2160x4096": 358},
        {"16:9": 27221, "9:16": 2007, "256:135": 1162, "135:256": 358},
    ),
}
RATE = 90_000


def write(root: Path, table: str, rows: list[Record]) -> None:
    """In two parts, as a run would."""
    target: Table[Record] = Table(Storage(root), table, type(rows[0]))
    for n in range(2):
        target.write(n, Stamp("test", ""), {row.id: Answer("", [row]) for row in rows[n::2]})


def video(video_id: str, source: str) -> SourceVideo:
    probed = {"container": "mp4", "codec": "h264", "width": 1, "height": 1, "rotation": 0, "fps": 1.0}
    where = {"found_id": video_id, "root": "", "path": "", "sha256": "", "size_bytes": 1}
    return SourceVideo(video_id=video_id, source=source, duration_s=1.0, has_audio=False, **where, **probed)  # type: ignore[arg-type]


def scanned(video_id: str, size: tuple[int, int], frames: int, ticks: int, base: str = f"1/{RATE}") -> Scanned:
    figures = {"fps": 0.0, "duration_s": 0.0, "vfr": False, "decode_errors": 0, "strip_frames": 0}
    span = {"frames": frames, "start_pts": 7, "end_pts": 7 + ticks, "time_base": base}
    return Scanned(video_id, width=size[0], height=size[1], evidence="", strip="", **span, **figures)  # type: ignore[arg-type]


def shares(total: int, among: int) -> list[int]:
    """`total` as a sum of nearly equal parts."""
    return [total // among + (n < total % among) for n in range(among)]


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("seed")
    videos: list[Record] = []
    scans: list[Record] = []
    for source, (duration_s, frames, sizes) in SEED.items():
        each = [tuple(map(int, size.split("x"))) for size, count in sizes.items() for _ in range(count)]
        lengths = zip(each, shares(frames, len(each)), shares(duration_s * RATE, len(each)), strict=True)
        for n, ((width, height), count, ticks) in enumerate(lengths):
            videos.append(video(f"{source}-{n}", source))
            scans.append(scanned(f"{source}-{n}", (width, height), count, ticks))
    write(root, "merge", videos)
    write(root, "scan", scans)
    return root


def test_the_published_figures(seed: Path) -> None:
    found = stats(seed)
    assert [(g.source, g.videos, as_duration(g.duration_s), g.frames, round(g.fps, 4)) for g in found.sources] == [
        ("mixkit", 1234, "6h 19m 32s", 570_815, 25.0665),
        ("pexels", 7408, "48h 49m 24s", 5_038_641, 28.6671),
        ("pixabay", 31616, "218h 56m 17s", 23_508_970, 29.8270),
    ]
    assert (found.total.videos, found.total.duration_s, found.total.frames) == (40258, 986_713, 29_118_426)
    assert as_duration(found.total.duration_s) == "274h 05m 13s"


def test_the_published_histograms(seed: Path) -> None:
    for group in stats(seed).sources:
        resolutions, aspects = LISTED[group.source]
        assert list(group.resolutions.bars.items()) == list(resolutions.items())
        assert list(group.aspects.bars.items()) == list(aspects.items())
        assert sum(group.resolutions.bars.values()) + group.resolutions.unlisted == group.videos
    mixkit = stats(seed).sources[0].resolutions
    assert (mixkit.unlisted, mixkit.unlisted_kinds) == (2, 2)


def test_text_and_json_say_the_same(seed: Path) -> None:
    text, values = render(stats(seed)), json.loads(stats(seed).to_json())
    assert "total    40,258  274h 05m 13s  29,118,426    29.511" in text
    assert "  mixkit: 1920x1080 1,185 (96.0%), 1080x1920 47 (3.8%), 2 of 2 other kinds, each below 1 %" in text
    assert values["total"]["duration"] == "274h 05m 13s"
    assert values["total"]["duration_s"] == 986_713
    assert values["sources"][0]["aspects"]["bars"] == {"16:9": 1185, "9:16": 47}


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 1000)))
def test_a_bar_is_listed_from_one_percent_on(counts: dict[str, int]) -> None:
    found = histogram(counts)
    total = sum(counts.values())
    assert found.bars == {label: n for label, n in counts.items() if Fraction(n, total) >= Fraction(1, 100)}
    assert sum(found.bars.values()) + found.unlisted == found.total == total
    assert len(found.bars) + found.unlisted_kinds == len(counts)
    assert list(found.bars.values()) == sorted(found.bars.values(), reverse=True)


def test_exactly_one_percent_is_listed_and_less_is_not() -> None:
    assert "b" in histogram({"a": 99, "b": 1}).bars
    assert "b" not in histogram({"a": 9901, "b": 99}).bars


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_aspects_are_reduced(width: int, height: int) -> None:
    w, h = map(int, aspect(width, height).split(":"))
    assert math.gcd(w, h) == 1
    assert w * height == h * width


@given(st.fractions(0, 10**7))
def test_durations_are_within_half_a_second(seconds: Fraction) -> None:
    hours, rest = as_duration(seconds).split("h ")
    minutes, secs = rest.removesuffix("s").split("m ")
    assert len(minutes) == len(secs) == 2
    assert int(minutes) < 60
    assert int(secs) < 60
    assert abs(3600 * int(hours) + 60 * int(minutes) + int(secs) - seconds) <= Fraction(1, 2)


def test_durations_of_nothing_and_of_days() -> None:
    assert [as_duration(s) for s in (0, 59.6, 3600, 86_400 * 5)] == [
        "0h 00m 00s",
        "0h 01m 00s",
        "1h 00m 00s",
        "120h 00m 00s",
    ]


def test_durations_add_up_exactly_in_any_time_base(tmp_path: Path) -> None:
    bases = ["1/3", "1/90000", "1/12800", "1001/30000"]
    write(tmp_path, "merge", [video(str(n), "a") for n in range(400)])
    write(tmp_path, "scan", [scanned(str(n), (4, 3), 1, n, bases[n % 4]) for n in range(400)])
    assert stats(tmp_path).total.duration_s == sum(Fraction(bases[n % 4]) * n for n in range(400))


TEXTS = st.lists(st.text("ab é\n\t", max_size=30), min_size=1, max_size=20)
NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)


@settings(max_examples=25, deadline=None)
@given(texts=TEXTS, numbers=NUMBERS, kept=st.lists(st.booleans(), min_size=1), most=st.integers(0, 6))
def test_clips_scores_and_captions_equal_the_naive_figures(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], numbers: list[float], kept: list[bool], most: int
) -> None:
    root = tmp_path_factory.mktemp("run")
    write(root, "merge", [video("a", "x"), video("b", "y")])
    write(root, "scan", [scanned("a", (4, 3), 5, 5), scanned("b", (4, 3), 5, 5)])
    write(root, "split", [clip(n, 0.5 * n) for n in range(len(numbers))])
    write(root, "judge", [Verdict(str(n), value) for n, value in enumerate(kept)])
    write(root, "score.motion", [motion(str(n), value) for n, value in enumerate(numbers)])
    write(root, "caption.llava", [caption(str(n), text) for n, text in enumerate(texts)])
    found = stats(root, most)
    words = [len(text.split()) for text in texts]
    [spoken] = found.captions
    assert (spoken.captioner, spoken.count, spoken.most_words) == ("llava", len(texts), max(words))
    assert (spoken.mean_words, spoken.std_words) == pytest.approx((statistics.mean(words), statistics.pstdev(words)))
    naive = [sum(w <= most for w in words) / len(words), words.count(0) / len(words)]
    assert [spoken.within_max_words, spoken.empty] == pytest.approx(naive)
    flow = found.scores["motion.flow"]
    assert flow.count == len(numbers)
    assert flow.mean == pytest.approx(statistics.fmean(numbers), abs=1e-6)
    assert set(flow.quantiles.values()) <= set(numbers)
    assert (flow.quantiles["least"], flow.quantiles["most"]) == (min(numbers), max(numbers))
    assert list(flow.quantiles.values()) == sorted(flow.quantiles.values())
    assert (found.clips, found.kept) == (len(numbers), sum(kept))
    assert found.clips_duration_s == sum(Fraction(n, 2) for n in range(len(numbers)))
    assert {g.source: g.clips for g in found.sources} == {"x": len(numbers[::2]), "y": len(numbers[1::2])}
    assert render(found)


def clip(n: int, duration_s: float) -> Clip:
    return Clip(str(n), "ab"[n % 2], 0, 1, 0, 1, 10.0, 10.0 + duration_s, 24.0, 4, 3)


def motion(clip_id: str, flow: float) -> MotionScore:
    others = dict.fromkeys(set(MotionScore.names()) - {"flow"}, 0.0)
    return MotionScore(clip_id=clip_id, flow=flow, **others)


def caption(clip_id: str, text: str) -> Caption:
    return Caption(clip_id, "llava", text, "ok", "m", "r", "p", (), "{}")


def test_of_a_dataset(tmp_path: Path) -> None:
    write_small_dataset(tmp_path)
    found = stats(tmp_path)
    assert (found.kind, found.clips, found.kept) == ("dataset", 5, None)
    assert [(g.source, g.videos, g.clips, g.frames) for g in found.sources] == [
        ("nasa", 2, 2, 2 * FRAMES),
        ("pexels", 3, 3, 3 * FRAMES),
    ]
    assert found.total.duration_s == found.clips_duration_s == Fraction(5, 4)
    assert Counter(found.total.resolutions.bars) == {"64x48": 5}
    assert found.scores["motion_flow"].quantiles.keys() == QUANTILES.keys()
    assert [c.captioner for c in found.captions] == list(CAPTIONERS)
    assert [c.most_words for c in found.captions] == [4, 5]
    assert "resolutions of clips" in render(found)


def test_a_folder_that_is_neither(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match="no dataset and no run"):
            stats(path)


def test_a_dataset_that_is_not_finished(tmp_path: Path) -> None:
    write_small_dataset(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(RunError, match="not finished"):
        stats(tmp_path)


def test_captions_that_say_the_same_of_different_clips_are_counted(tmp_path: Path) -> None:
    said = [
        "The sea is calm, 9 s.",
        "the SEA is calm - 12 s",
        "A dog runs.",
        "一只猫在睡觉。",
        "一只猫在睡觉",
        "...",
        "...",
        "The sea, calm: 9 s.",
    ]
    same = ["A dog runs.", "the sea is  calm; 3 s!", "Another."]
    write(tmp_path, "merge", [video("a", "x")])
    write(tmp_path, "scan", [scanned("a", (4, 3), 5, 5)])
    for name, texts in (("one", said), ("two", same)):
        write(tmp_path, f"caption.{name}", [caption(str(n), text) for n, text in enumerate(texts)])
    one, two = stats(tmp_path).captions
    assert (one.alike, one.most_alike, one.commonest) == (4 / 8, 2, "The sea is calm, 9 s.")
    assert (two.alike, two.most_alike, two.commonest) == (0.0, 0, "")
    assert "one: 2 clips say “The sea is calm, 9 s.”" in render(stats(tmp_path))


@pytest.mark.parametrize("name", ["manifest.json", "index.parquet"])
def test_a_damaged_dataset_is_named_and_no_fault(tmp_path: Path, name: str) -> None:
    folder = write_small_dataset(tmp_path / "dataset").folder
    (folder / name).write_bytes((folder / name).read_bytes()[:40])
    with pytest.raises(RunError, match=r"dataset is damaged .*; see osd-build verify "):
        stats(folder)
