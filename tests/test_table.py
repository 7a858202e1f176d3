"""Tables of parts: what is written is read, by later versions too; what is foreign, newer or damaged is refused."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import RunError
from builder.parquet import decode, encode
from builder.records import Failure, Record
from builder.storage import Storage
from builder.table import Answer, Stamp, Table


@dataclass(frozen=True, slots=True)
class Seen(Record):
    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    count: int
    share: float
    good: bool
    words: tuple[str, ...]
    places: tuple[int, ...]
    times_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Older(Record):
    """As `Later` was before it got `note` and `tags`."""

    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    count: int


@dataclass(frozen=True, slots=True)
class Later(Record):
    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    count: int
    note: str = "none"
    tags: tuple[str, ...] = ()


STAMP = Stamp("stage-1", "sources-1")
PART = "t/part-00000.parquet"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


def answers(*rows: Record) -> dict[str, Answer[Any]]:
    return {row.id: Answer(f"digest of {row.id}", [row]) for row in rows}


def write(storage: Storage, *rows: Record, part: int = 0, stamp: Stamp = STAMP) -> Table[Any]:
    table: Table[Any] = Table(storage, "t", type(rows[0]))
    table.write(part, stamp, answers(*rows))
    return table


class Counting(Storage):
    """Counts the files that are opened for their footer."""

    opened = 0

    def open(self, name: str) -> Any:
        self.opened += 1
        return super().open(name)


# -- reading what was written


texts = st.text(st.characters(codec="utf-8"))
seen = st.builds(
    Seen,
    *(texts, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans()),
    *(st.lists(texts).map(tuple), st.lists(st.integers(0, 99)).map(tuple), st.lists(st.floats(0, 1)).map(tuple)),
)


@given(st.lists(seen, max_size=5))
def test_rows_come_back_as_they_were(rows: list[Seen]) -> None:
    table = pq.read_table(io.BytesIO(encode(Seen, rows, {})))
    assert decode(Seen, table, "t") == rows


def test_a_part_holds_rows_failures_and_what_they_answer(storage: Storage) -> None:
    table: Table[Older] = Table(storage, "t", Older)
    failure = Failure("b", "broken", "is broken; mend it", retryable=True)
    given_ = {
        "a": Answer("d1", [Older("a-0", 1), Older("a-1", 2)]),
        "b": Answer("d2", (), failure),
        "c": Answer[Older]("d3", ()),
    }
    stamp = table.write(3, STAMP, given_)
    part = Table(storage, "t", Older).read(3)
    assert {key: (a.digest, list(a.rows), a.failure) for key, a in part.answers.items()} == {
        key: (a.digest, list(a.rows), a.failure) for key, a in given_.items()
    }
    assert part.stamp == stamp == Table(storage, "t", Older).stamps()[3]
    assert (stamp.stage, stamp.sources) == (STAMP.stage, STAMP.sources)
    assert part.rows() == Table(storage, "t", Older).rows() == [Older("a-0", 1), Older("a-1", 2)]


def test_the_stamp_tells_rows_apart(storage: Storage) -> None:
    table: Table[Older] = Table(storage, "t", Older)
    stamps = [
        table.write(0, STAMP, answers(*rows)).rows for rows in ([Older("a", 1)], [Older("a", 2)], [Older("a", 1)])
    ]
    assert stamps[0] == stamps[2] != stamps[1]


def test_failures_are_a_table_of_their_own_and_go_when_they_are_gone(storage: Storage) -> None:
    table: Table[Older] = Table(storage, "t", Older)
    table.write(0, STAMP, {"b": Answer("d", (), Failure("b", "broken", "why"))})
    view = pq.read_table(storage.path("t.failures/part-00000.parquet")).to_pylist()
    assert [(row["item_id"], row["kind"], row["message"]) for row in view] == [("b", "broken", "why")]
    table.write(0, STAMP, answers(Older("b", 1)))
    assert storage.list("t.failures") == {}


def test_a_part_that_is_not_there(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        Table(storage, "t", Older).read(0)
    assert Table(storage, "t", Older).parts() == []
    assert Table(storage, "t", Older).stamps() == {}


# -- pieces and memos


def test_of_several_answers_the_latest_counts(storage: Storage) -> None:
    table: Table[Older] = Table(storage, "t", Older)
    table.write_memo(0, "s", answers(Older("a", 0), Older("b", 0), Older("c", 0), Older("d", 0)))
    table.write(0, Stamp("s", ""), answers(Older("b", 1), Older("c", 1), Older("d", 1)))
    table.write_piece(0, "s", answers(Older("c", 2), Older("d", 2)))
    table.write_piece(0, "new", answers(Older("d", 3)))
    found = {key: (stage, answer.rows[0].count) for key, (stage, answer) in table.saved(0).items()}
    assert found == {"a": ("s", 0), "b": ("s", 1), "c": ("s", 2), "d": ("new", 3)}
    assert table.saved(1) == {}


def test_pieces_are_numbered_on_and_removed(storage: Storage) -> None:
    table: Table[Older] = Table(storage, "t", Older)
    for n in range(3):
        table.write_piece(7, "s", answers(Older(str(n), n)))
    assert [name[:18] for name in table.pieces(7)] == [f"piece-00007-0000{n}-" for n in range(3)]
    assert table.pieces(70) == []
    table.remove_pieces(7)
    assert table.pieces(7) == []


def test_parts_that_a_smaller_partition_leaves_behind(storage: Storage) -> None:
    for n in range(4):
        table = write(storage, Older(str(n), n), part=n)
    table.remove_parts_from(2)
    assert table.parts() == [0, 1]


# -- other versions, other hands


def test_an_older_table_reads_with_defaults(storage: Storage) -> None:
    write(storage, Older("a", 1))
    assert Table(storage, "t", Later).rows() == [Later("a", 1, "none", ())]


def test_an_unknown_field_is_refused_by_name(storage: Storage) -> None:
    write(storage, Later("a", 1))
    with pytest.raises(RunError, match=r"t/part-00000.parquet does not fit Older.*unknown 'note', unknown 'tags'"):
        Table(storage, "t", Older).rows()


def test_a_missing_required_field_is_refused_by_name(storage: Storage) -> None:
    write(storage, Older("a", 1))
    with pytest.raises(RunError, match=r"part-00000.parquet does not fit Seen \(format 1\).*missing 'good'"):
        Table(storage, "t", Seen).rows()


def rewrite(storage: Storage, metadata: dict[str, Any] | None) -> None:
    """The first part again, with other metadata."""
    table = pq.read_table(storage.path(PART))
    known = dict(table.schema.metadata)
    changed = None if metadata is None else known | {k.encode(): json.dumps(v).encode() for k, v in metadata.items()}
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(changed), sink)
    storage.write(PART, sink.getvalue())


NEWER = {"osd.format": 2, "osd.stamp": {"stage": "s", "sources": "", "rows": "", "shape": "new"}}


@pytest.mark.parametrize("read", ["rows", "stamps"])
@pytest.mark.parametrize(("metadata", "says"), [(NEWER, "written by a newer osd-build"), (None, "not written by osd")])
def test_newer_and_foreign_parts_are_refused_by_name(storage: Storage, read: str, metadata: Any, says: str) -> None:
    write(storage, Older("a", 1))
    rewrite(storage, metadata)
    with pytest.raises(RunError, match=f"{PART} was {says}"):
        getattr(Table(storage, "t", Older), read)()


@pytest.mark.parametrize("read", ["rows", "stamps"])
@pytest.mark.parametrize("keep", [0, 3, 100, -9])
def test_a_damaged_part_is_refused_by_name(storage: Storage, read: str, keep: int) -> None:
    write(storage, Older("a", 1))
    storage.write(PART, storage.read(PART)[:keep])
    with pytest.raises(RunError, match=r"t/part-00000.parquet is damaged; remove it and run again"):
        getattr(Table(storage, "t", Older), read)()


def test_files_of_other_names_are_left_alone(storage: Storage) -> None:
    table = write(storage, Older("a", 1))
    for name in ("part-1.parquet", "part-00001.parquet.bak", "README", "xpart-00001.parquet"):
        storage.write(f"t/{name}", b"?")
    assert table.parts() == [0]
    assert list(Table(storage, "t", Older).stamps()) == [0]


# -- the index of stamps


def filled(root: Path, parts: int = 4) -> Table[Older]:
    for n in range(parts):
        table = write(Storage(root), Older(str(n), n), part=n)
    table.close(100)
    return table


def stamps(root: Path) -> tuple[dict[int, Stamp], int]:
    """As a new process finds them, and how many footers it read for that."""
    storage = Counting(root)
    return Table(storage, "t", Older).stamps(), storage.opened


def test_the_index_saves_reading_footers(tmp_path: Path) -> None:
    table = filled(tmp_path)
    assert stamps(tmp_path) == (table.stamps(), 0)


def test_a_deleted_index_is_rebuilt(tmp_path: Path) -> None:
    table = filled(tmp_path)
    (tmp_path / "t" / "_index.parquet").unlink()
    assert stamps(tmp_path) == (table.stamps(), 4)
    Table(Storage(tmp_path), "t", Older).close(100)
    assert stamps(tmp_path) == (table.stamps(), 0)


def index_file(columns: dict[str, list[Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_a_broken_index_is_rebuilt(tmp_path: Path) -> None:
    table = filled(tmp_path)
    whole = (tmp_path / "t" / "_index.parquet").read_bytes()
    odd = [{"name": ["part-00000.parquet"]}, {n: ["x"] for n in "abc"}, {n: ["x"] for n in "abcdefghi"}]
    cut = [whole[:size] for size in range(0, len(whole), 97)]
    for data in (*cut, b"not parquet", b"PAR1" + bytes(64) + b"PAR1", *map(index_file, odd)):
        Storage(tmp_path).write("t/_index.parquet", data)
        assert stamps(tmp_path) == (table.stamps(), 4)


def test_a_stale_index_is_not_believed(tmp_path: Path) -> None:
    filled(tmp_path)
    storage = Storage(tmp_path)
    stamp = write(storage, Older("2", 99), part=2, stamp=Stamp("stage-2", "sources-2")).stamps()[2]
    write(storage, Older("9", 9), part=9)
    storage.remove("t/part-00001.parquet")
    found, opened = stamps(tmp_path)
    assert (sorted(found), opened) == ([0, 2, 3, 9], 2)
    assert found[2] == stamp
    assert found[2].stage == "stage-2"


def test_an_index_that_is_up_to_date_is_not_written_again(tmp_path: Path) -> None:
    filled(tmp_path)
    before = Storage(tmp_path).list("t")
    Table(Storage(tmp_path), "t", Older).close(100)
    assert Storage(tmp_path).list("t") == before


def test_closing_drops_pieces_of_units_that_are_done(tmp_path: Path) -> None:
    table = filled(tmp_path)
    table.write_piece(1, "s", answers(Older("1", 1)))
    table.close(100)
    assert table.pieces(1) == []
    assert table.parts() == [0, 1, 2, 3]
