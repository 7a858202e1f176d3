"""Tables give back what went into them, whatever that is."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from builder.export.export import export
from cut_dataset import make_dataset
from made_video import Made

HOSTILE = [
    "x\n---",
    '=HYPERLINK("http://x","y")',
    'a "b", c\r\nd',
    "\u2028\x85\x1b[31m",
    "\N{SNOWMAN}{{}}<script>",
    "",
    "\x00",
]


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_tables_give_back_every_text(tmp_path: Path, form: str) -> None:
    clips = {
        f"a{n}-000": {"made": Made(frames=2, size=(32, 32)), "title": text, "author": text, "texts": [text, text]}
        for n, text in enumerate(HOSTILE)
    }
    folder = make_dataset(tmp_path / "dataset", clips)
    export(folder, form, tmp_path / "out")
    path = tmp_path / f"out/clips.{form}"
    if form == "parquet":
        rows = pq.read_table(path).to_pylist()
    elif form == "csv":
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    wanted = pq.read_table(folder / "index.parquet").to_pylist()
    assert [row["title"] for row in rows] == HOSTILE
    for row, known in zip(rows, wanted, strict=True):
        assert row["split"] == "train"
        shown = {name: value for name, value in row.items() if name != "split"}
        assert shown == {name: str(known[name]) if form == "csv" else known[name] for name in shown}
    assert set(wanted[0]) - set(rows[0]) == {
        f"{member}_{what}" for member in ("json", "mp4", "txt", "llava.txt") for what in ("offset", "size")
    }
