"""Stages that are one query: whole columns go in and come out, and no row becomes an object on the way.

Such a stage is cheap, so a unit of which anything has changed is answered anew as a whole. Its inputs have no digests
of their own; each has exactly one row, so a query cannot lose one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from builder.errors import RunError
from builder.parquet import arrow_schema
from builder.stage import In, Out, Stage
from builder.table import Table, part_name

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Inputs:
    """Tables of a run as lazy frames over some of their parts."""

    main: str
    tables: Mapping[str, Table[Any]]
    parts: Mapping[str, Sequence[int]]

    def frame(self, name: str) -> "pl.LazyFrame":
        """The rows of one table; of verdicts only those that are inputs of later stages, as everywhere."""
        import polars as pl

        table = self.tables[name]
        files = [table.storage.path(f"{name}/{part_name(n)}") for n in self.parts[name]]
        if not files:
            return pl.LazyFrame(pl.from_arrow(arrow_schema(table.record).empty_table()))
        rows = pl.scan_parquet(files, missing_columns="insert", glob=False)
        return rows.filter("kept") if name == self.main and "kept" in arrow_schema(table.record).names else rows

    def failures(self, name: str) -> dict[str, str]:
        """Why inputs of a table have no row: the kind of failure, by id."""
        table = self.tables[name]
        outcomes = (outcome for n in self.parts[name] for outcome in table.outcomes(n))
        return {key: failure.kind for key, _, failure in outcomes if failure}

    def check(self) -> None:
        """Raises RunError: a part is damaged; names it."""
        for name, numbers in self.parts.items():
            for n in numbers:
                self.tables[name].read(n)


class Query(Stage[In, Out]):
    """Subclasses define `query`. A whole one has a table of a single part, whose rows need not be the inputs'."""

    atomic: ClassVar[bool] = True

    # -- required
    def query(self, inputs: Inputs) -> "pl.DataFrame":
        """A row for every row of the main table, in order of the id, with the columns of `writes`."""
        raise NotImplementedError(f"{type(self).__name__} defines no query")

    # -- given
    def asked(self, inputs: Inputs) -> pa.Table:
        """The answer, checked.

        Raises:
            RunError: a part it reads is damaged.
        """
        import polars as pl

        try:
            rows = self.query(inputs)
            keys = inputs.frame(inputs.main).select(pl.col(inputs.tables[inputs.main].record.KEY)).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            inputs.check()
            raise RunError(f"{self.table} cannot be made ({error}); run again") from error
        if not self.whole and not rows[self.writes.KEY].equals(keys.to_series().sort()):
            raise AssertionError(f"{self.table}: {len(rows)} answers to {len(keys)} inputs")
        return rows.to_arrow()
