"""The index: plain parquet, one row a sample, in order, of a known version."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import open_sora_dataset
from shards import index
from shards.index import Row, index_row, index_schema, read_rows, write_index
from shards.write import write_shard
from small_dataset import CAPTIONERS, SCORES, SmallDataset, make_sample


def make_rows(folder: Path, count: int) -> list[Row]:
    samples = [make_sample(f"aa-{number:04}") for number in range(count)]
    members = write_shard(folder / "a.tar", samples).members
    of = {sample.key: [member for member in members if member.key == sample.key] for sample in samples}
    return [index_row("data/a/a.tar", s.metadata, s.captions, of[s.key]) for s in samples]


def test_plain_polars_reads_everything_but_the_videos(intact: SmallDataset) -> None:
    table = pl.read_parquet(intact.folder / "index.parquet")
    rows = {row["key"]: row for row in table.iter_rows(named=True)}
    assert list(rows) == ["ba-0001", "bb-0001", "aa-0001", "aa-0002", "ab-0001"]  # by shard, then by place
    for key, sample in intact.samples.items():
        scores = sample.metadata["scores"]
        assert isinstance(scores, dict)
        assert rows[key]["score_motion_flow"] == scores["motion.flow"]
        assert (rows[key]["txt"], rows[key]["llava.txt"]) == tuple(sample.captions.values())
        assert all(rows[key][name] == sample.metadata[name] for name in open_sora_dataset.METADATA)


def test_offsets_point_at_the_members(intact: SmallDataset) -> None:
    for row in pl.read_parquet(intact.folder / "index.parquet").iter_rows(named=True):
        shard = (intact.folder / row["shard"]).read_bytes()
        assert shard[row["mp4_offset"] :][: row["mp4_size"]] == intact.samples[row["key"]].video
        assert shard[row["llava.txt_offset"] :][: row["llava.txt_size"]].decode() == row["llava.txt"]


def test_same_rows_give_the_same_bytes_in_groups_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "ROWS_PER_GROUP", 3)
    rows = make_rows(tmp_path, 10)
    first = write_index(tmp_path / "1.parquet", rows, SCORES, CAPTIONERS)
    second = write_index(tmp_path / "2.parquet", iter(rows), tuple(reversed(SCORES)), CAPTIONERS)
    assert first == second
    assert pq.ParquetFile(tmp_path / "1.parquet").num_row_groups == 4
    assert read_rows(tmp_path / "1.parquet", "key", "aa-0007") == [rows[7]]


def test_another_order_or_other_columns_are_refused(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, 2)
    for wrong in (rows[::-1], [rows[0], rows[0]], [{**rows[0], "more": 1}]):
        with pytest.raises(ValueError, match="out of order, or its columns"):
            write_index(tmp_path / "1.parquet", wrong, SCORES, CAPTIONERS)


def test_a_newer_or_foreign_index_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "1.parquet"
    write_index(path, make_rows(tmp_path, 1), SCORES, CAPTIONERS)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({index.VERSION_KEY: b"2"}), path)
    with pytest.raises(open_sora_dataset.NewerFormatError, match=r"1\.parquet has format_version 2"):
        index_schema(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(ValueError, match="not the index"):
        index_schema(path)
