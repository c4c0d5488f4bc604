"""Categorical features: conversion between the names in requests and the numbers of the network.

A name's number is its position in the manifest. Where names look like numbers themselves, such as grades 1 to 5, a
number would be ambiguous: requests must give the name as a string, and numbers are refused.
"""

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from heapq import nlargest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput

MAX_LISTED = 10
"""The largest number of names in a message."""

MAX_COMPARED = 30
"""Characters of an unknown name that are compared with the known ones."""


class Category:
    """A categorical feature, by its column in a row."""

    def __init__(self, feature: str, column: int, names: Sequence[str], *, may_be_missing: bool = False) -> None:
        """Number the names by position; `may_be_missing` accepts None, as NaN."""
        self.feature = feature
        self.column = column
        self.names = tuple(names)
        self.may_be_missing = may_be_missing
        self.numbers = {name: number for number, name in enumerate(names)}
        self.has_numeric_names = any(is_number(name) for name in names)

    def describe(self) -> str:
        """Return its names in words, or the first few if there are many."""
        shown = ", ".join(map(quoted, self.names[:MAX_LISTED]))
        more = len(self.names) - MAX_LISTED
        return f"{shown} and {more} more" if more > 0 else shown

    def read(self, value: str | float | None, field: str, **details: Any) -> float:
        """Return the number of a name, true and false included, or of a missing value NaN.

        A number is returned as it is if it is that of a name. Raises InvalidInput for any other value.
        """
        name = str(value).lower() if isinstance(value, bool) else value
        if name is None:
            if self.may_be_missing:
                return math.nan
            raise self.refusal("null", field, **details)
        if isinstance(name, str) and name in self.numbers:
            return self.numbers[name]
        if isinstance(name, str) or self.has_numeric_names or not self._has_number(name):
            found = name[:100] if isinstance(name, str) else shown(name)
            hint = self._nearest(found)
            raise self.refusal(quoted(found) if isinstance(value, str) else found, field, hint=hint, **details)
        return name

    def read_all(self, values: Sequence[str | float | None], field: str, first: int) -> Sequence[float]:
        """Return the numbers of the values of several rows; `first` is the number of the first row."""
        try:
            return [self.numbers[value] for value in values]  # type: ignore[index]  # a number is no key
        except KeyError:
            return [
                self.read(value, f"{field}[{row}][{self.column}]", row=row) for row, value in enumerate(values, first)
            ]

    def refusal(
        self, found: str, field: str, *, hint: str = "", of_array: bool = False, **details: Any
    ) -> InvalidInput:
        """Return the error of a value that is neither a name nor the number of one."""
        number = f", or its number below {len(self.names)}" if of_array or not self.has_numeric_names else ""
        message = f"{field}: {self.feature}: expected one of {self.describe()}{number}; found {found}{hint}"
        expected = list(self.names[:MAX_LISTED])
        return InvalidInput(message, field=field, **details, feature=self.feature, expected=expected)

    def _has_number(self, value: float) -> bool:
        return 0 <= value < len(self.names) and value % 1 == 0

    def _nearest(self, name: str) -> str:
        """Return a hint with the nearest name, found among the few that share most pairs of letters."""
        folded = _fold(name)
        pairs = _pairs(folded)
        likely = nlargest(MAX_LISTED, self._pairs, key=lambda known: len(pairs & self._pairs[known]))
        nearest = difflib.get_close_matches(folded, likely, 1)
        match = next((known for known in self.names if _fold(known) in nearest), None)
        return "" if match is None else f"; did you mean {quoted(match)}?"

    @cached_property
    def _pairs(self) -> dict[str, set[str]]:
        return {_fold(name): _pairs(_fold(name)) for name in self.names}


class Categories:
    """The categorical features of a row."""

    def __init__(
        self, features: Sequence[str], names: Mapping[str, Sequence[str]], *, may_be_missing: bool = False
    ) -> None:
        """Take all features and the `names` of the categorical ones; `may_be_missing` accepts None, as NaN."""
        self.features = tuple(features)
        self.may_be_missing = may_be_missing
        self.by_column = {
            column: Category(feature, column, names[feature], may_be_missing=may_be_missing)
            for column, feature in enumerate(features)
            if feature in names
        }
        self.columns = tuple(self.by_column)
        self.brackets_of_row = 1 + sum(max(name.count("[") for name in names[f]) for f in self.features if f in names)
        """The largest number of opening brackets in the JSON of a row."""
        self._last = np.array([len(category.names) - 1 for category in self.by_column.values()], dtype=np.float64)

    def to_numbers(self, rows: Sequence[Sequence[Any]], field: str, first: int = 0) -> NDArray[np.float64]:
        """Return at least one row of numbers and names as an array (rows, features).

        Raises InvalidInput for a value that is no category's, with the row counted from `first`.
        """
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for column, category in self.by_column.items():
            columns[column] = category.read_all(columns[column], field, first)
        return np.array(columns, dtype=np.float64).T

    def to_names(self, rows: NDArray[Any]) -> list[list[str | float | None]]:
        """Return an array (rows, features) as lists of numbers and names for JSON; a category that is NaN is None."""
        named = rows.tolist()
        for row in named:
            for column, category in self.by_column.items():
                row[column] = None if math.isnan(row[column]) else category.names[int(row[column])]
        return named  # type: ignore[no-any-return]

    def check(self, rows: NDArray[Any], field: str) -> None:
        """Raise InvalidInput unless the columns of categories in (rows, features) have numbers of names."""
        values = rows.take(self.columns, axis=1)  # (rows, categories)
        wrong = values != np.minimum(np.maximum(np.rint(values), 0), self._last)
        if self.may_be_missing:
            wrong &= ~np.isnan(values)
        if wrong.any():
            row, place = np.argwhere(wrong)[0].tolist()
            column = self.columns[place]
            found = shown(values[row, place])
            raise self.by_column[column].refusal(found, f"{field}[{row}][{column}]", of_array=True, row=row)


def quoted(name: str) -> str:
    """Return a name as a JSON string."""
    return json.dumps(name, ensure_ascii=False)


def shown(number: float) -> str:
    """Return a number with enough digits to distinguish float32 values."""
    return f"{number:.9g}"


def _fold(name: str) -> str:
    """Return the part of a name that is compared, without case."""
    return name.strip().casefold()[:MAX_COMPARED]


def _pairs(name: str) -> set[str]:
    """Return the pairs of adjacent letters."""
    return {name[i : i + 2] for i in range(len(name) - 1)}


def is_number(text: str) -> bool:
    """Return whether Python reads a text as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
