"""Spans of videos, as lists give them: in seconds, as timecodes, a row each, or many in a row as Panda-70M."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder.records import Found
from builder.sources.urls import Urls
from builder.stage import Context
from builder.storage import Storage

A = "https://example.org/a.mp4"


def listed(folder: Path, name: str, rows: list[dict[str, Any]]) -> list[Found]:
    """What becomes of the rows of a list."""
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif name.endswith(".jsonl"):
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return list(Urls(path=name).find(Context(Storage(folder / "run"), folder)))


def of(folder: Path, **row: Any) -> Found:
    [found] = listed(folder, "list.jsonl", [row])
    return found


@pytest.mark.parametrize(
    ("start", "end", "span"),
    [
        (0, 5, (0.0, 5.0)),
        ("76.827", 86.827, (76.827, 86.827)),
        ("00:00:47.280", "00:00:52.720", (47.28, 52.72)),
        ("1:02", "62:03.5", (62.0, 3723.5)),
        ("23:59:59.999", "1 day, 0:00:01.500", (86399.999, 86401.5)),
        ("2 days, 1:00:00", "2 days, 1:00:00.001", (176400.0, 176400.001)),
    ],
)
def test_a_span_is_in_seconds_or_timecodes(tmp_path: Path, start: Any, end: Any, span: tuple[float, float]) -> None:
    for names in (("start", "end"), ("start_s", "end_s"), ("Start Time", "End-Time")):
        found = of(tmp_path, **dict(zip(names, (start, end), strict=True)), url=A)
        assert (found.url, found.starts_s, found.ends_s) == (A, span[:1], span[1:])


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"start": a, "end": b}
            for a, b in [(5, 5), (6, 5), (-1, 5), ("", 5), (1, ""), ("one", 2), (0, "nan"), (0, "inf")]
        ),
        *({"start": 0, "end": end} for end in (True, [5], "0:61", "1:60:00", "1e300")),
        *({"timestamp": text} for text in ("[]", "[[0, 1]", "[[0]]", "[0, 1]", "[[0, 1], x]", "[['0:02', '0:01']]")),
        *(
            {"timestamp": text}
            for text in ("[[0, 1], [2, __import__('os')]]", "[" * 99_999, "[[" + " " * 99_999, "[[1,1" * 9)
        ),
        *({"timestamp": value} for value in ([], [[1]], [[1, 2], 3], [[1, 2, 3]], [[None, 1]], [[1, [2]]])),
        {"sha256": "not a hash"},
    ],
)
def test_a_row_that_cannot_be_met_keeps_its_place_with_the_reason(tmp_path: Path, wrong: dict[str, Any]) -> None:
    found = of(tmp_path, url=A, title="kept", **wrong)
    assert (found.url, found.title, found.starts_s, found.ends_s, found.listed_sha256) == ("", "kept", (), (), "")
    assert found.path.startswith("list.jsonl row 1 (")
    assert len(found.path) < 200


def test_the_reason_names_the_span(tmp_path: Path) -> None:
    path = of(tmp_path, url=A, timestamp="[['0:00:10', '0:00:20'], ['0:00:40', '0:00:30']]").path
    assert path == "list.jsonl row 1 ('0:00:40' to '0:00:30' is no span)"


def test_panda_70m(tmp_path: Path) -> None:
    """videoID,url,timestamp,caption,matching_score: several spans a row, written as Python writes lists."""
    times = [f"{n // 3600}:{n // 60 % 60:02}:{n % 60:02}" for n in range(6000)]
    many = [[f"{t}.000", f"{t}.500"] for t in times]
    page = "https://www.youtube.com/watch?v="
    spans = "[['0:00:10.000', '0:00:20.000'], ['1 day, 0:00:01.500', '1 day, 0:00:03']]"
    rows = [
        {
            "videoID": "---D2V",
            "url": f"{page}---D2V",
            "timestamp": spans,
            "caption": '[\'A sea, "calm"\', "It\'s a cat"]',
        },
        {"videoID": "long", "url": f"{page}long", "timestamp": str(many), "caption": str(["words"] * 6000)},
    ]
    assert len(rows[1]["timestamp"]) > 131_072  # what csv reads by default
    for name in ("panda.csv", "panda.jsonl"):
        first, second = listed(tmp_path, name, rows)
        assert (first.site_id, first.url) == ("---D2V", f"{page}---D2V")
        assert (first.starts_s, first.ends_s) == ((10.0, 86401.5), (20.0, 86403.0))
        assert (len(second.starts_s), second.starts_s[-1], second.ends_s[-1]) == (6000, 5999.0, 5999.5)


def test_spans_may_be_lists_and_dates_are_none(tmp_path: Path) -> None:
    for name in ("list.jsonl", "list.parquet"):
        [found] = listed(tmp_path, name, [{"url": A, "timestamp": [["0:00:01", "0:00:02"], ["1:00", "1:01.5"]]}])
        assert (found.starts_s, found.ends_s) == ((1.0, 60.0), (2.0, 61.5))
    assert of(tmp_path, url=A, timestamp=[[0, 1.5]]).ends_s == (1.5,)
    for date in (1_700_000_000, "2026-11-02", None):
        assert of(tmp_path, url=A, timestamp=date) == Found("", "", url=A)


def test_webvid_with_a_row_a_span(tmp_path: Path) -> None:
    row = {"videoid": 21179416, "name": 'Aerial shot, "sea"', "page_dir": "006001_006050", "duration": "PT00H00M11S"}
    rows = [row | {"contentUrl": A, "start": start, "end": start + 2} for start in (0, 2.5, 7)]
    found = listed(tmp_path, "webvid.csv", rows)
    assert {(f.url, f.site_id, f.title) for f in found} == {(A, "21179416", 'Aerial shot, "sea"')}
    assert [(f.starts_s, f.ends_s) for f in found] == [((0.0,), (2.0,)), ((2.5,), (4.5,)), ((7.0,), (9.0,))]
