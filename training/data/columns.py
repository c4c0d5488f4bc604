"""Give each column of a table its role: number, category, target or ignored."""

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.model.categories import is_number
from service.rows.column import Column, as_text
from service.rows.numbers import CODE, possible_decimals
from training.data.choices import Choices
from training.data.dataset import ColumnSeen, Floats, as_floats
from training.errors import TrainingError

MAX_CATEGORIES = 100
"""The largest number of different values of a categorical column."""
SHOWN = 5
"""The number of values that a summary lists."""
MARKS = re.compile(r"^[€$£¥₹]\s*|\s*[€$£¥₹%‰]$|\s+[^\W\d_][^\s\d]{0,7}$")
"""Marks of currencies, shares and units beside a number."""
CODES = ", which are text as some have zeros before them"
ID_NAMES = {"", "id", "index", "uuid", "key", "rowid", "row_id", "unnamed: 0", "__index_level_0__"}


@dataclass(frozen=True, slots=True)
class Feature:
    """A column as an input of the network."""

    seen: ColumnSeen
    values: Floats | None = None
    """(rows,): numbers, or numbers of categories; None when the column is ignored."""
    categories: tuple[str, ...] = ()
    """Names of the categories in the order of their numbers; empty for a column of numbers."""


def check_choices(where: str, names: list[str], choices: Choices) -> str:
    """Return the name of the target; raise TrainingError for a missing column or one with two roles."""
    if choices.target is None:
        raise TrainingError(f"{where}: name the column to learn with --target; there are: {listed(names)}")
    for setting, given in (
        ("target", (choices.target,)),
        ("ignore", choices.ignore),
        ("categorical", choices.categorical),
    ):
        for name in given:
            if name not in names:
                close = get_close_matches(name, names, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are: {listed(names)}"
                raise TrainingError(f"{where}: {setting}: there is no column {name!r}; {hint}")
    if clash := {choices.target, *choices.categorical} & set(choices.ignore):
        raise TrainingError(f"{where}: ignore: {listed(sorted(clash))} cannot be used and ignored at once")
    if choices.target in choices.categorical:
        raise TrainingError(f"{where}: categorical: {choices.target!r} is the target; use --task classification")
    return choices.target


def make_feature(where: str, column: Column, categorical: bool) -> Feature:
    """Return a column with its role, with NaN for missing values; raise TrainingError where no role fits."""
    if not column.missing.any():
        return _complete_feature(where, column, categorical)
    if column.missing.all():
        return _ignored(column, "no value in any row")
    present = _complete_feature(where, column.kept(~column.missing), categorical)
    if present.values is None:
        return present
    values = np.full(len(column.values), np.nan, dtype=present.values.dtype)
    values[~column.missing] = present.values
    text = f"{present.seen.seen}; missing in {column.missing.sum()} of {len(values)} rows"
    return replace(present, seen=replace(present.seen, seen=text), values=values)


def _complete_feature(where: str, column: Column, categorical: bool) -> Feature:
    """Return a column without missing values with its role."""
    different = np.unique(column.values)
    if column.merged and not categorical:
        raise merged(where, column)
    if len(different) == 1:
        return _ignored(column, f"always {category_names(different)[0] if column.text else different[0]}")
    if categorical or column.text:
        return _category(where, column, different, categorical)
    if column.values.dtype.kind in "iu" and len(different) == len(column.values) and _counts_rows(column):
        return _ignored(column, "a different whole number in each row: an id")
    values = finite(where, column)
    if column.values.dtype.kind in "iu" and len(np.unique(values)) < len(different):
        raise merged(where, column)
    kind = "whole numbers" if column.values.dtype.kind in "iu" else "numbers"
    text = f"{kind} {span(values)}, {len(different)} different"
    return Feature(ColumnSeen(column.name, "number", text), values)


def merged(where: str, column: Column, *, target: bool = False) -> TrainingError:
    """Return the error of whole numbers that 64-bit floating point cannot distinguish."""
    return TrainingError(
        f"{where}: column {column.name!r} holds whole numbers that 64-bit floating point cannot tell apart, such as"
        f" {np.abs(column.values).max():.17g}; subtract a constant from them" + _or_ignore(column, target=target)
    )


def finite(where: str, column: Column, *, target: bool = False) -> Floats:
    """Return the column's values as floating point numbers (rows,); raise TrainingError for infinite ones."""
    values = as_floats(column.values)
    if wrong := int((~np.isfinite(values)).sum()):
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise TrainingError(
            f"{where}: column {column.name!r} has {wrong} values that are not finite numbers, the first in"
            f" {column.where(row)}: {column.values[row]}; leave these rows out of the file"
            + _or_ignore(column, target=target)
        )
    return values


def span(values: Floats) -> str:
    """Return «from 1 to 5», with as many digits as distinguish the two."""
    low, high = f"{values.min():g}", f"{values.max():g}"
    return f"from {low} to {high}" if low != high else f"from {values.min():.17g} to {values.max():.17g}"


def _or_ignore(column: Column, *, target: bool) -> str:
    return "" if target else f", or use --ignore {column.name}"


def category_names(values: NDArray[Any]) -> tuple[str, ...]:
    """Return different values as text, true and false in lower case as in JSON."""
    return tuple(map(as_text, values.tolist()))


def listed(names: list[str] | tuple[str, ...], most: int = 20) -> str:
    """Return names separated by commas, at most `most` of them."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _ignored(column: Column, why: str) -> Feature:
    return Feature(ColumnSeen(column.name, "ignored", why))


def _counts_rows(column: Column) -> bool:
    """Return whether the column has the name of an id or rises by one from row to row."""
    name = column.name.strip().lower()
    consecutive = len(column.values) > 1 and bool((np.diff(column.values.astype(np.int64)) == 1).all())
    return name in ID_NAMES or name.endswith("_id") or consecutive


def _category(where: str, column: Column, different: NDArray[Any], wanted: bool) -> Feature:
    if len(different) == len(column.values) and not wanted:
        if (found := _nearly_numbers(column)) is None:
            return _ignored(column, "a different text in each row: an id")
        raise TrainingError(f"{where}: column {column.name!r} {found}")
    if len(different) > MAX_CATEGORIES:
        codes = any(isinstance(value, str) and CODE.fullmatch(value) for value in different)
        what = _nearly_numbers(column) or (
            f"has {len(different)} different values{CODES * codes}; at most {MAX_CATEGORIES} can be categories: group"
            f" them into fewer, or use --ignore {column.name}"
        )
        raise TrainingError(f"{where}: column {column.name!r} {what}")
    names = sorted_names(category_names(different))
    numbers = {name: number for number, name in enumerate(names)}
    values = np.array([numbers[as_text(value)] for value in column.values.tolist()], dtype=np.float32)
    seen = ColumnSeen(column.name, "category", f"{len(names)} values: {listed(names, SHOWN)}")
    return Feature(seen, values, names)


def sorted_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names in numerical order where all are numbers, else in alphabetical order."""
    if not all(map(is_number, names)):
        return tuple(sorted(names))
    return tuple(sorted(names, key=lambda name: (float(name), name)))


def _nearly_numbers(column: Column) -> str | None:
    """Return the problem of a text column most of whose values are numbers, or numbers with a unit; else None."""
    if column.values.dtype.kind != "O":
        return None
    bare = [MARKS.sub("", text) for text in column.values]
    if bare != column.values.tolist() and possible_decimals(bare):
        return (
            f"holds numbers with marks beside them, as {column.values[0]!r}; remove the marks, or use"
            f" --ignore {column.name}"
        )
    others = [row for row, text in enumerate(column.values) if not possible_decimals([text])]
    if not others or len(others) > len(column.values) / 2:
        return None
    return (
        f"holds numbers, but text in {len(others)} of {len(column.values)} rows, the first in"
        f" {column.where(others[0])}: {column.values[others[0]]!r}; correct these, leave the cells empty and use"
        f" --missing drop, or use --ignore {column.name}"
    )
