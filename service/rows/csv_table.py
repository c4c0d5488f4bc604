"""Read CSV files as written by people, spreadsheets and libraries."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, compress, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput, MalformedBody
from service.rows.column import Column, Wanted, whole_numbers
from service.rows.dialect import Dialect, Marks, find_decimal, find_delimiter, marks_of
from service.rows.numbers import CODE, OTHER, Decimal, are_merged, is_missing, read_numbers, read_whole_number

Cells = list[str]
Line = tuple[int, Cells]
"""A line's number, from 1, and its cells."""

ROWS_A_BLOCK = 4096
SEPARATOR = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
"""The first line of some of Excel's files, which names the delimiter."""
DATE = re.compile(
    r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{4}|[0-9]{2}))"
    r"(?:[T ][0-9:.]+ ?(?:Z|[AP]M|[+-][0-9:]+)?)?",
    re.IGNORECASE,
)
PLAIN = Dialect()
GROUPED = re.compile(r"[0-9]\.[0-9]{3}\.[0-9]{3}")
BOOLEANS = {"true": True, "false": False}


class CsvTable:
    """A CSV file, cut into cells; their types are determined when columns are read."""

    def __init__(
        self, content: bytes, dialect: Dialect = PLAIN, has_header: Callable[[Cells], bool] = lambda _: True
    ) -> None:
        """Find the lines; `has_header` returns whether the first line, as stripped cells, names the columns.

        Raises MalformedBody or InvalidInput that names the line.
        """
        text = dialect.decode(content)
        start = 1
        if separator := SEPARATOR.match(text):
            text, start = text[separator.end() :], 2
        delimiter = dialect.mark or (separator[1] if separator else find_delimiter(text))
        if text.count('"') % 2:
            _check_quotes(text, delimiter, start)
        lines = _lines(text, delimiter, start)
        number, cells = next(lines, (start, []))
        self.width = len(cells)
        self.names = [cell.strip() for cell in cells]
        if cells and not has_header(self.names):
            self.names, lines = [], chain([(number, cells)], lines)
        self._decimal = dialect.decimal or (None if _may_have_commas(text, delimiter) else ".")
        self._blocks: list[list[str]] = []
        numbers: list[int] = []
        for block in _blocks(lines, self.width):
            numbers += [number for number, _ in block]
            self._blocks.append(["\0".join(column) for column in zip(*(cells for _, cells in block), strict=True)])
        self._lines = np.array(numbers, dtype=np.int64)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self._lines)

    def read(self, wanted: dict[int, Wanted]) -> list[Column]:
        """Return columns by their numbers; see `Table.read`."""
        decimal = self._decimal or self._find_decimal(wanted)
        return [self._column(number, kind, decimal) for number, kind in wanted.items()]

    def _cells(self, number: int) -> Cells:
        """Return a column's stripped cells; blocks are stored as one text each, for a tenth of the memory."""
        return [cell.strip() for block in self._blocks for cell in block[number].split("\0")]

    def _name(self, number: int) -> str:
        return self.names[number] if self.names else ""

    def _find_decimal(self, wanted: dict[int, Wanted]) -> Decimal:
        numbers = [number for number, kind in wanted.items() if kind != "text"]
        others = [number for number in range(self.width) if number not in wanted]
        return find_decimal(self._marks(numbers), lambda: self._marks(others))

    def _marks(self, numbers: Sequence[int]) -> list[Marks]:
        return [
            marks_of(
                self._name(number) or f"column {number + 1}",
                [cell for cell in self._cells(number) if not is_missing(cell)],
            )
            for number in numbers
        ]

    def _column(self, number: int, kind: Wanted, decimal: Decimal) -> Column:
        make = partial(Column, self._name(number), lines=self._lines, number=number)
        cells = self._cells(number)
        match kind:
            case "any":
                return _of_any_kind(make, cells, decimal)
            case "text":
                return make(_objects(cells), _mask(cells, _is_blank))
            case "number":
                return _of_numbers(make, cells, decimal)
            case "whole":
                return _of_whole_numbers(make, cells, decimal)
        raise InvalidInput(f"{self._name(number)}: expected lists of numbers; CSV has none", field=self._name(number))


Make = Callable[..., Column]


def _may_have_commas(text: str, delimiter: str) -> bool:
    """Return whether numbers may have decimal commas or grouped digits; files without any are read faster."""
    return ("," in text if delimiter != "," else '"' in text) or GROUPED.search(text) is not None


def _of_any_kind(make: Make, cells: Cells, decimal: Decimal) -> Column:
    """Return a column of numbers, booleans or text; numbers with leading zeros are codes, which are text."""
    missing = _mask(cells, is_missing)
    present = _present(cells, missing)
    numbers = None if any(map(CODE.fullmatch, present)) else read_numbers(present, decimal)
    if numbers is not None:
        return make(_spread(numbers, missing), missing, merged=are_merged(present, numbers, decimal))
    if all(cell.lower() in BOOLEANS for cell in present):
        return make(_spread(np.array([BOOLEANS[cell.lower()] for cell in present]), missing), missing)
    if all(map(DATE.fullmatch, present)):
        return make(_objects(cells), missing, odd="dates")
    return make(_objects(cells), _mask(cells, _is_blank))


def _of_numbers(make: Make, cells: Cells, decimal: Decimal) -> Column:
    missing = _mask(cells, is_missing)
    numbers = read_numbers(_present(cells, missing), decimal)
    if numbers is None:
        row = next(row for row, cell in enumerate(cells) if not is_missing(cell) and not _is_number(cell, decimal))
        hint = f"; set the decimal mark with --decimal {OTHER[decimal]}" * _is_number(cells[row], OTHER[decimal])
        raise _wrong(make(np.array([]), missing), row, f"expected a number, found {cells[row][:100]!r}{hint}")
    return make(_spread(numbers.astype(np.float64), missing), missing)


def _of_whole_numbers(make: Make, cells: Cells, decimal: Decimal) -> Column:
    missing = _mask(cells, is_missing)
    numbers = []
    for row, cell in enumerate(cells):
        number = 0 if missing[row] else read_whole_number(cell, decimal)
        if number is None:
            raise _wrong(make(np.array([]), missing), row, f"expected a whole number, found {cell[:100]!r}")
        numbers.append(number)
    return make(whole_numbers(numbers), missing)


def _wrong(column: Column, row: int, what: str) -> InvalidInput:
    return InvalidInput(f"{column.place(row)}: {what}", field=column.place(row), row=row)


def _is_number(cell: str, decimal: Decimal) -> bool:
    return read_numbers([cell], decimal) is not None


def _is_blank(cell: str) -> bool:
    return not cell


def _mask(cells: Cells, is_so: Callable[[str], bool]) -> NDArray[np.bool_]:
    return np.fromiter(map(is_so, cells), np.bool_, len(cells))


def _present(cells: Cells, missing: NDArray[np.bool_]) -> Cells:
    return list(compress(cells, ~missing)) if missing.any() else cells


def _objects(cells: Cells) -> NDArray[Any]:
    return np.array(cells, dtype=object)


def _spread(values: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the values of all rows from those of the rows that have one; (present,) → (rows,)."""
    if not missing.any():
        return values
    spread = np.full(len(missing), np.nan if values.dtype.kind == "f" else 0, dtype=values.dtype)
    spread[~missing] = values
    return spread


def _lines(text: str, delimiter: str, start: int) -> Iterator[Line]:
    """Yield all lines that are not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    first = start
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield first, cells
            first = start + reader.line_num
    except csv.Error as error:
        raise MalformedBody(f"line {first}: is not CSV: {error}") from None


def _check_quotes(text: str, delimiter: str, start: int) -> None:
    """Raise MalformedBody for an unclosed quotation mark, which would make the rest of the file one cell."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    first = start
    try:
        for _ in reader:
            first = start + reader.line_num
    except csv.Error as error:
        if "end of data" in str(error):
            raise MalformedBody(f"line {first}: has a quotation mark that is not closed") from None


def _blocks(lines: Iterator[Line], width: int) -> Iterator[list[Line]]:
    """Yield blocks of lines. Raises InvalidInput for a line with another number of cells than `width`."""
    while block := list(islice(lines, ROWS_A_BLOCK)):
        for number, cells in block:
            if len(cells) != width:
                message = f"line {number}: expected {width} value{'s' * (width != 1)}, found {len(cells)}"
                raise InvalidInput(message, field=f"line {number}", expected=width, found=len(cells))
        yield block
