"""Tables of parts: a folder of parquet files, each complete because it exists.

    scan/part-00003.parquet            rows, and in the footer the Stamp that says what they answer
    scan/piece-00003-00001-*.parquet   answers of a unit that is not finished
    scan/memo-00003.parquet            valid answers nobody asks for now (a threshold was raised)
    scan/_index.parquet                stamps of all parts, rebuildable: a resume reads one listing and this
    scan.failures/part-00003.parquet   the inputs without a row, for people to read

The footer of each data file holds one entry per input (its id, its digest, its number of rows, or its failure), so one
rename publishes rows and failures together.
"""

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar, cast

import pyarrow as pa
import pyarrow.parquet as pq

from builder.digests import digested, short_hash
from builder.errors import RunError
from builder.layout import bucket
from builder.parquet import (
    FORMAT_VERSION,
    arrow_schema,
    as_table,
    as_text,
    decode,
    encode,
    from_parquet,
    read_columns,
    to_parquet,
)
from builder.records import Failure, Record
from builder.storage import Storage

R = TypeVar("R", bound=Record)
PART = re.compile(r"part-(\d{5})\.parquet")


@dataclass(frozen=True)
class Answer(Generic[R]):
    """What became of one input: rows, or a failure. `digest` is that of the input."""

    digest: str
    rows: Sequence[R] = ()
    failure: Failure | None = None


@dataclass(frozen=True)
class Stamp:
    """What a part answers: the stage, a digest of all it was made from, and a digest of its own rows.

    `of` is the number of parts that the table was cut into when it was written.
    """

    stage: str
    sources: str
    rows: str = ""
    of: int = 0


@dataclass(frozen=True)
class Part(Generic[R]):
    """A data file in memory: answers by input id."""

    stamp: Stamp
    answers: Mapping[str, Answer[R]]

    def rows(self) -> list[R]:
        return [row for answer in self.answers.values() for row in answer.rows]


class Table(Generic[R]):
    """One table of a run. `record` is the type of its rows."""

    def __init__(self, storage: Storage, name: str, record: type[R]) -> None:
        self.storage, self.name, self.record = storage, name, record
        self._stamps: dict[str, tuple[str, Stamp]] = {}  # file name -> its version, its stamp

    # -- reading
    def parts(self) -> list[int]:
        """Numbers of the parts that exist."""
        return [int(m[1]) for m in map(PART.fullmatch, self.storage.list(self.name)) if m]

    def read(self, number: int) -> Part[R]:
        """One part.

        Raises:
            FileNotFoundError: it does not exist (yet).
            RunError: it was written by a newer osd-build, or by something else.
        """
        return self._load(part_name(number))

    def rows(self, numbers: Iterable[int] | None = None) -> list[R]:
        """All rows of the parts named, or of all parts."""
        return [row for n in (self.parts() if numbers is None else numbers) for row in self.read(n).rows()]

    def columns(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """The values of a few columns of every row, without reading the others."""
        for n in self.parts():
            part = read_columns(self.storage, f"{self.name}/{part_name(n)}", names)
            yield from zip(*(part[name].to_pylist() for name in names), strict=True)

    def outcomes(self, n: int) -> list[tuple[str, int, Failure | None]]:
        """Of every input of a part: its id, and its number of rows or its failure. Reads no row."""
        inputs = json.loads(self._footer(part_name(n))[b"osd.inputs"])
        return [(key, found if isinstance(found, int) else 0, fail(found)) for key, _, found in inputs]

    def stamps(self) -> dict[int, Stamp]:
        """The stamp of every part: one listing, footers only of what `_index` does not know."""
        listing = self.storage.list(self.name)
        if not self._stamps and "_index.parquet" in listing:
            self._stamps = self._read_index()
        for name, version in listing.items():
            if PART.fullmatch(name) and self._stamps.get(name, ("",))[0] != version:
                self._stamps[name] = (version, self._stamp(name))
        self._stamps = {name: known for name, known in self._stamps.items() if name in listing}
        return {number(name): stamp for name, (_, stamp) in sorted(self._stamps.items())}

    def saved(self, n: int) -> dict[str, tuple[str, Answer[R]]]:
        """Every answer at hand for unit n, by input id, with the stage that gave it: part, memo, pieces."""
        names = [f"memo-{n:05d}.parquet", part_name(n), *self.pieces(n)]
        found: dict[str, tuple[str, Answer[R]]] = {}
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                part = self._load(name)
                found |= {key: (part.stamp.stage, answer) for key, answer in part.answers.items()}
        return found

    def pieces(self, n: int) -> list[str]:
        return [name for name in self.storage.list(self.name) if name.startswith(f"piece-{n:05d}-")]

    # -- writing
    def write(self, n: int, stamp: Stamp, answers: Mapping[str, Answer[R]]) -> Stamp:
        """Publish part n; the failures, a view of the footer, go first."""
        failures = [a.failure for a in answers.values() if a.failure]
        view = f"{self.name}.failures/{part_name(n)}"
        if failures:
            self.storage.write(view, encode(Failure, failures, {}))
        else:
            self.storage.remove(view)
        return self._save(part_name(n), stamp, answers)

    def write_columns(self, n: int, stamp: Stamp, rows: pa.Table) -> Stamp:
        """Publish part n, each row of which is the answer to the input of its own id."""
        self.storage.remove(f"{self.name}.failures/{part_name(n)}")
        rows = rows.select([f.name for f in arrow_schema(self.record)]).cast(arrow_schema(self.record))
        return self._publish(part_name(n), stamp, rows, [[key, "", 1] for key in rows[self.record.KEY].to_pylist()])

    def write_piece(self, n: int, stage: str, answers: Mapping[str, Answer[R]]) -> None:
        """Keep finished answers of an unfinished unit. Several processes may: the name also tells whose answers."""
        taken = self.pieces(n)
        serial = int(taken[-1].split("-")[2]) + 1 if taken else 0
        self._save(f"piece-{n:05d}-{serial:05d}-{short_hash(list(answers))}.parquet", Stamp(stage, ""), answers)

    def write_memo(self, n: int, stage: str, answers: Mapping[str, Answer[R]]) -> None:
        """Keep answers that no input of the unit asks for now."""
        if answers:
            self._save(f"memo-{n:05d}.parquet", Stamp(stage, ""), answers)
        else:
            self.storage.remove(f"{self.name}/memo-{n:05d}.parquet")

    def recut(self, parts: int) -> None:
        """Offer what parts of another cut hold to the units that it now belongs to, as memos; harmless to repeat."""
        offers: dict[str, dict[int, dict[str, Answer[R]]]] = {}
        for n, stamp in self.stamps().items():
            if stamp.of not in (0, parts):
                for key, (stage, answer) in self.saved(n).items():
                    offers.setdefault(stage, {}).setdefault(bucket(key, parts), {})[key] = answer
        for stage, units in offers.items():
            for n, answers in units.items():
                known = {key: answer for key, (given_by, answer) in self.saved(n).items() if given_by == stage}
                self.write_memo(n, stage, known | answers)

    def remove_pieces(self, n: int) -> None:
        for name in self.pieces(n):
            self.storage.remove(f"{self.name}/{name}")

    def remove_parts_from(self, first: int) -> None:
        """Drop parts that a smaller re-partitioning left behind."""
        for n in (n for n in self.parts() if n >= first):
            self.storage.remove(f"{self.name}.failures/{part_name(n)}")
            self.storage.remove(f"{self.name}/{part_name(n)}")

    def close(self, parts: int) -> None:
        """All of `parts` parts are done: drop what a kill or an earlier plan left; save stamps for a quick resume."""
        self.remove_parts_from(parts)
        for name in self.storage.list(self.name):
            if name.startswith("piece-"):
                self.storage.remove(f"{self.name}/{name}")
        self.stamps()
        rows = [[name, version, *dataclasses.astuple(stamp)] for name, (version, stamp) in sorted(self._stamps.items())]
        if rows and self._read_index() != self._stamps:
            columns = dict(zip(INDEX, zip(*rows, strict=True), strict=True))
            self.storage.write(f"{self.name}/_index.parquet", to_parquet(pa.table(columns)))

    # -- inside
    def _read_index(self) -> dict[str, tuple[str, Stamp]]:
        try:
            index = from_parquet(self.storage.read(f"{self.name}/_index.parquet"))
            rows = zip(*(column.to_pylist() for column in index.columns), strict=True)
            return {name: (version, Stamp(*stamp)) for name, version, *stamp in rows}
        except (pa.ArrowException, OSError, ValueError, TypeError):
            return {}  # it can always be rebuilt

    def _footer(self, name: str) -> Mapping[bytes, bytes]:
        with self.storage.open(f"{self.name}/{name}") as file, self._telling_of_damage(name):
            metadata = pq.ParquetFile(file, pre_buffer=False).metadata.metadata or {}
        self._check(metadata, name)
        return cast(Mapping[bytes, bytes], metadata)

    def _stamp(self, name: str) -> Stamp:
        return Stamp(**json.loads(self._footer(name)[b"osd.stamp"]))

    def _load(self, name: str) -> Part[R]:
        path = f"{self.name}/{name}"
        data = self.storage.read(path)
        with self._telling_of_damage(name):
            table = from_parquet(data)
        metadata = table.schema.metadata or {}
        self._check(metadata, name)
        rows = iter(decode(self.record, table, path))
        answers = {
            key: Answer(digest, [next(rows) for _ in range(found)] if isinstance(found, int) else (), fail(found))
            for key, digest, found in json.loads(metadata[b"osd.inputs"])
        }
        return Part(Stamp(**json.loads(metadata[b"osd.stamp"])), answers)

    def _check(self, metadata: Mapping[bytes, bytes], name: str) -> None:
        path = self.storage.path(f"{self.name}/{name}")
        if b"osd.stamp" not in metadata:
            raise RunError(f"{path} was not written by osd-build; move it away and run again")
        if int(metadata[b"osd.format"]) > FORMAT_VERSION:
            raise RunError(f"{path} was written by a newer osd-build; upgrade to read it")

    @contextlib.contextmanager
    def _telling_of_damage(self, name: str) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            path = self.storage.path(f"{self.name}/{name}")
            raise RunError(f"{path} is damaged; remove it and run again: only its rows are made anew") from error

    def _save(self, name: str, stamp: Stamp, answers: Mapping[str, Answer[R]]) -> Stamp:
        rows = [row for answer in answers.values() for row in answer.rows]
        inputs = [[k, a.digest, asdict(a.failure) if a.failure else len(a.rows)] for k, a in answers.items()]
        return self._publish(name, stamp, as_table(self.record, rows), inputs)

    def _publish(self, name: str, stamp: Stamp, rows: pa.Table, inputs: Sequence[Sequence[Any]]) -> Stamp:
        """What becomes of an input without a row counts too: `judge` says why a clip has no score."""
        columns = [rows[column].to_pylist() for column in digested(self.record)]
        lost = [[key, found["kind"]] for key, _, found in inputs if not isinstance(found, int)]
        stamp = dataclasses.replace(stamp, rows=short_hash([columns, lost]))
        metadata = {"osd.format": FORMAT_VERSION, "osd.stamp": asdict(stamp), "osd.inputs": inputs}
        self.storage.write(f"{self.name}/{name}", to_parquet(rows.replace_schema_metadata(as_text(metadata))))
        return stamp


INDEX = ("name", "version", "stage", "sources", "rows", "of")


def part_name(n: int) -> str:
    return f"part-{n:05d}.parquet"


def number(name: str) -> int:
    return int(name[5:10])


def fail(found: Any) -> Failure | None:
    return None if isinstance(found, int) else Failure(**found)
