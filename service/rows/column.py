"""A column of a table, independent of the format of its file, and the types it can be read as."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.rows.numbers import LARGEST, are_merged

Wanted = Literal["any", "number", "whole", "text", "lists"]
"""The type to read a column as.

any: numbers, booleans or text, by the column's content; number: numbers only; whole: whole numbers, exactly; text:
names, exactly as in the file, where a typed format keeps its own types; lists: all values of a row.
"""


@dataclass(frozen=True, slots=True)
class Column:
    """The values of a column, exactly as the file has them."""

    name: str
    """The column's name; empty where the file has none."""
    values: NDArray[Any]
    """(rows,): float64 with NaN where missing, or int64, booleans or texts (objects), undefined where missing."""
    missing: NDArray[np.bool_]
    """(rows,): whether the value is missing."""
    lines: NDArray[np.int64] | None = None
    """(rows,): the line of the file in which each row begins; None for files without lines."""
    number: int | None = None
    """The column's number in the file, from 0; None for formats with named columns."""
    first: int = 0
    """The number of the first row in its file."""
    odd: str = ""
    """In words, the content that is neither numbers nor text; else empty."""
    merged: bool = False
    """Whether different whole numbers in the file are equal here, as float64 cannot distinguish them."""

    @property
    def text(self) -> bool:
        """Whether its values are names: texts or booleans."""
        return self.values.dtype.kind in "OUb"

    def place(self, row: int, *, named: bool = True) -> str:
        """Return the place of a row's value in the file: «line 3, column 2 (size)», or «row 0, column size»."""
        if self.number is None:
            return f"{self.where(row)}, column {self.name}" if named else self.where(row)
        return f"{self.where(row)}, column {self.number + 1}" + f" ({self.name})" * (named and bool(self.name))

    def where(self, row: int) -> str:
        """Return the place of a row in the file: «line 3», or «row 0» for files without lines."""
        return f"row {self.first + row}" if self.lines is None else f"line {self.lines[row]}"

    def wrong(self, row: int, what: str) -> InvalidInput:
        """Return the error of a row's value, with its place."""
        return InvalidInput(f"{self.place(row)}: {what}", field=self.place(row), row=self.first + row)

    def kept(self, rows: NDArray[Any]) -> "Column":
        """Return the column of some rows, given by a mask or by their numbers."""
        lines = None if self.lines is None else self.lines[rows]
        return replace(self, values=self.values[rows], missing=self.missing[rows], lines=lines)


class Table(Protocol):
    """An opened file of columns."""

    @property
    def names(self) -> list[str]:
        """Names of the columns, in order; empty where the file has none."""

    @property
    def rows(self) -> int:
        """Number of rows."""

    @property
    def width(self) -> int:
        """Number of columns."""

    def read(self, wanted: dict[int, Wanted]) -> list[Column]:
        """Return the columns of these numbers, in that order, each as the given type.

        Raises InvalidInput that names the place of a value of another type.
        """


def of_values(name: str, values: Sequence[Any], lines: NDArray[np.int64] | None = None) -> Column:
    """Return a column of Python values; None and empty texts are missing.

    Values of several types stay as they are, as objects.
    """
    missing = np.fromiter((value is None or value == "" for value in values), np.bool_, len(values))
    kinds = {type(value) for value in values} - {type(None)}
    make = partial(Column, name, missing=missing, lines=lines)
    if kinds <= {int} and all(-LARGEST <= value < LARGEST for value in values if value is not None):
        return make(np.array([0 if value is None else value for value in values], dtype=np.int64))
    if kinds <= {int, float}:
        numbers = np.array([math.nan if value is None else _to_float(value) for value in values])
        return make(numbers, merged=are_merged(compress(values, ~missing), numbers[~missing]))
    if kinds == {bool}:
        return make(np.array([bool(value) for value in values]))
    odd = "objects" if dict in kinds else "lists" if list in kinds else ""
    texts = [value.strip() if isinstance(value, str) else "" if value is None else value for value in values]
    return make(to_objects(texts), odd=odd)


def _to_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def as_wanted(column: Column, wanted: Wanted) -> Column:
    """Return a typed column as the given type. Raises InvalidInput that names the first value of another type."""
    match wanted:
        case "number":
            numbers = _numbers(column, "number").astype(np.float64)
            return replace(column, values=np.where(column.missing, math.nan, numbers))
        case "whole":
            return replace(column, values=_whole(column))
    return column


def _numbers(column: Column, what: str) -> NDArray[Any]:
    if column.values.dtype.kind in "fiu" and not column.odd:
        return column.values
    for row in np.flatnonzero(~column.missing).tolist():
        value = column.values[row]
        if column.odd or isinstance(value, str | bool | np.bool_):
            found = column.odd or (as_text(value) if isinstance(value, bool | np.bool_) else repr(value[:100]))
            raise column.wrong(row, f"expected a {what}, found {found}")
    return np.array([0.0 if no else _to_float(value) for value, no in zip(column.values, column.missing, strict=True)])


def _whole(column: Column) -> NDArray[Any]:
    numbers = _numbers(column, "whole number")
    if numbers.dtype.kind != "f":
        return numbers
    numbers = np.where(column.missing, 0.0, numbers)
    for row in np.flatnonzero(numbers % 1 != 0).tolist():
        raise column.wrong(row, f"expected a whole number, found {numbers[row]:g}")
    return whole_numbers(list(map(int, numbers.tolist())))


def as_text(value: Any) -> str:
    """Return a value as a category name: 2.0 becomes "2", True "true" as in JSON, and texts are stripped."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def whole_numbers(values: Sequence[int]) -> NDArray[Any]:
    """Return whole numbers (values,) as int64, or as objects if one is larger; the range is checked later."""
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        return np.array(values, dtype=object)


def to_objects(values: Sequence[Any]) -> NDArray[Any]:
    """Return an object array (values,), in which lists stay values rather than axes."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
