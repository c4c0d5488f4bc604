"""Read the files of a job as batches of rows that fit the model, with the columns to copy beside the answers.

A row group of Parquet is read batch by batch; a file of another format is read at once, as one group.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from service.bulk.files import as_table, read_rows
from service.bulk.store import open_file
from service.engine.inputs import Inputs, count_rows
from service.errors import InvalidInput
from service.model.manifest import Manifest
from service.rows.dialect import Dialect
from service.rows.fitting import fit_table, needed_columns
from service.rows.formats import RowsFile, format_of_name
from service.rows.inputs import check_inputs
from service.rows.parquet_table import ParquetTable


class Batch(NamedTuple):
    """Some rows of a group."""

    inputs: Inputs
    kept: dict[str, pa.Array]
    """The columns to copy, by name."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader of the files of a job."""

    manifest: Manifest
    keep: Sequence[str]
    """Names of columns to copy."""
    dialect: Dialect
    """The options of text files."""

    def groups(self, place: str) -> tuple[int, ...]:
        """Return the number of rows of each group of a file.

        Raises OSError, and InvalidRequest for a file of another format than its name says, or a missing column.
        """
        if not _is_parquet(place):
            inputs, _ = self._whole(place)
            return (count_rows(inputs),)
        with open_file(place) as source:
            table = ParquetTable([source])
            needed_columns(table, self.manifest)
            _find(table.names, self.keep)
            return table.groups

    def batches(self, place: str, group: int, first: int, rows: int) -> Iterator[Batch]:
        """Yield the rows of a group in batches of `rows`; `first` is the number of the group's first row in its file.

        Raises OSError, and InvalidRequest for a row that does not fit.
        """
        if _is_parquet(place):
            yield from self._of_group(place, group, first, rows)
            return
        inputs, kept = self._whole(place)
        for start in range(0, count_rows(inputs), rows):
            part = slice(start, start + rows)
            yield Batch(*({name: array[part] for name, array in arrays.items()} for arrays in (inputs, kept)))

    def _of_group(self, place: str, group: int, first: int, rows: int) -> Iterator[Batch]:
        with open_file(place) as source:
            table = ParquetTable([source])
            names = [table.names[number] for number in needed_columns(table, self.manifest)]
            for batch in table.batches(group, list(dict.fromkeys([*names, *self.keep])), first, rows):
                inputs = check_inputs(fit_table(batch, self.manifest), self.manifest, max_rows=batch.rows)
                yield Batch(inputs, {name: batch.arrow(name) for name in self.keep})

    def _whole(self, place: str) -> Batch:
        with open_file(place) as source:
            file = RowsFile.of_bytes(place.rpartition("/")[2], source.read(), self.dialect)
        table = as_table(file.content, file.kind, self.manifest, self.dialect)
        names = table.names if table else []
        _find(names, self.keep)
        kept = table.read({names.index(name): "any" for name in self.keep}) if table and self.keep else []
        inputs = read_rows(file.content, file.kind, self.manifest, self.dialect)
        return Batch(inputs, {column.name: pa.array(column.values, mask=column.missing) for column in kept})


def _is_parquet(place: str) -> bool:
    return format_of_name(place) in ("parquet", None) and not place.endswith(".gz")


def _find(names: Sequence[str], keep: Sequence[str]) -> None:
    if absent := [name for name in keep if name not in names]:
        raise InvalidInput(f"--keep {absent[0]}: there is no such column", field=absent[0])
