"""Read Parquet files by Apache Arrow, and of them only the columns needed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from service.errors import InvalidInput, MalformedBody
from service.rows.column import Column, Wanted, as_wanted, to_objects
from service.rows.numbers import are_merged


class ArrowTable:
    """A table in Arrow's memory, such as a batch of a file."""

    def __init__(self, table: pa.Table, first: int = 0) -> None:
        """Wrap a table whose first row has the number `first` in its file."""
        self._table, self._first = table, first
        self.names: list[str] = table.column_names
        self.rows: int = table.num_rows
        self.width = len(self.names)

    def read(self, wanted: dict[int, Wanted]) -> list[Column]:
        """Return columns by their numbers; see `Table.read`."""
        return [self._column(number, kind) for number, kind in wanted.items()]

    def arrow(self, name: str) -> pa.Array:
        """Return a column as an Arrow array."""
        return self._table.column(name).combine_chunks()

    def _column(self, number: int, wanted: Wanted) -> Column:
        array = self._table.column(number)
        values, odd = _lists(array) if wanted == "lists" else _values(array)
        missing = array.is_null().to_numpy()
        if values.dtype.kind == "f" and values.ndim == 1:
            missing = missing | np.isnan(values)
        elif values.dtype.kind == "O" and not odd:
            missing = missing | np.fromiter((value == "" for value in values), np.bool_, len(values))
        merged = pa.types.is_decimal(array.type) and are_merged(array.drop_null().to_pylist(), values[~missing])
        column = Column(self.names[number], values, missing, first=self._first, odd=odd, merged=merged)
        return as_wanted(column, wanted)


class ParquetTable:
    """A Parquet file, or several with the same columns, concatenated."""

    def __init__(self, sources: Sequence[Path | IO[bytes]]) -> None:
        """Read the files' metadata. Raises MalformedBody or InvalidInput that names the file."""
        places = [_place(source) if len(sources) > 1 else "" for source in sources]
        self._files = [_open(source, place) for source, place in zip(sources, places, strict=True)]
        self.names: list[str] = self._files[0].schema_arrow.names
        for place, file in zip(places, self._files, strict=True):
            if sorted(file.schema_arrow.names) != sorted(self.names):
                odd = sorted(set(file.schema_arrow.names) ^ set(self.names))
                raise InvalidInput(f"{place}has other columns than the file before: {', '.join(odd[:8])}")
        self.rows: int = sum(file.metadata.num_rows for file in self._files)
        self.width = len(self.names)

    def read(self, wanted: dict[int, Wanted]) -> list[Column]:
        """Return columns by their numbers; see `Table.read`. Raises MalformedBody for one that cannot be read."""
        names = [self.names[number] for number in wanted]
        kinds = dict(enumerate(wanted.values()))
        return ArrowTable(self._read(names).select(names)).read(kinds)

    @property
    def groups(self) -> tuple[int, ...]:
        """The number of rows of each row group, over all files."""
        footers = [file.metadata for file in self._files]
        return tuple(one.row_group(group).num_rows for one in footers for group in range(one.num_row_groups))

    def batches(self, group: int, names: list[str], first: int, rows: int) -> Iterator[ArrowTable]:
        """Yield batches of a row group of the first file, at most `rows` rows each; the first row's number is `first`.

        Raises MalformedBody where the file is damaged.
        """
        try:
            for batch in self._files[0].iter_batches(rows, row_groups=[group], columns=names):
                yield ArrowTable(pa.Table.from_batches([batch]), first)
                first += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise MalformedBody(f"cannot be read: {first_line(error)}") from None

    def _read(self, names: list[str]) -> pa.Table:
        try:
            tables = [file.read(columns=names) for file in self._files]
            return pa.concat_tables(tables, promote_options="permissive")
        except (pa.ArrowException, OSError) as error:
            if len(names) > 1:
                for name in names:
                    self._read([name])
            raise MalformedBody(f"column {', '.join(names)}: cannot be read: {first_line(error)}") from None


def first_line(error: BaseException) -> str:
    """Return the first line of Arrow's message, without its details for developers."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _open(source: Path | IO[bytes], place: str) -> parquet.ParquetFile:
    try:
        return parquet.ParquetFile(source)
    except (pa.ArrowException, OSError) as error:
        raise MalformedBody(f"{place}is not a Parquet file: {first_line(error)}") from None


def _place(source: Path | IO[bytes]) -> str:
    return f"{source.name}: " if isinstance(source, Path) else ""


def _values(array: pa.ChunkedArray) -> tuple[np.ndarray[Any, Any], str]:
    """Return numbers, booleans or texts (rows,), and in words the type of a column that has other values."""
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind = array.type
    if pa.types.is_null(kind):
        return np.full(len(array), np.nan), ""
    if pa.types.is_decimal(kind) or pa.types.is_floating(kind):
        return array.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(), ""
    if pa.types.is_integer(kind):
        return array.fill_null(0).to_numpy(), ""
    if pa.types.is_boolean(kind):
        return array.fill_null(False).to_numpy(), ""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return to_objects([(text or "").strip() for text in array.to_pylist()]), ""
    return np.zeros(len(array)), _described(kind)


def _lists(array: pa.ChunkedArray) -> tuple[np.ndarray[Any, Any], str]:
    """Return lists of one length as (rows, values), others as objects (rows,), and in words an unsupported type."""
    if not _is_number(_innermost(array.type)):
        return np.zeros(len(array)), _described(array.type)
    rows = array.combine_chunks()
    if _is_list(rows.type) and _is_number(rows.type.value_type) and not rows.null_count:
        flat = np.asarray(rows.flatten().to_numpy(zero_copy_only=False))
        lengths = set(rows.value_lengths().to_numpy(zero_copy_only=False).tolist())
        if len(lengths) == 1:
            return flat.reshape(len(rows), -1), ""
    return to_objects(rows.to_pylist()), ""


def _described(kind: pa.DataType) -> str:
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return "dates"
    return "times" if pa.types.is_time(kind) or pa.types.is_duration(kind) else f"values of type {kind}"


def _innermost(kind: pa.DataType) -> pa.DataType:
    return _innermost(kind.value_type) if _is_list(kind) else kind


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
