"""Turn the columns of a table into arrays that fit a model; errors name the line or row and the column.

Features are found by name, in any order and among other columns. For a model without names, the columns are its
values in order.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.model.categories import Categories, Category
from service.model.manifest import Manifest, TensorSpec
from service.model.runtime import Array
from service.rows.column import Column, Table, Wanted, as_text
from service.rows.inputs import FIELD, describe, shorten, to_array
from service.rows.numbers import possible_decimals, read_numbers


def needed_columns(table: Table, manifest: Manifest) -> dict[int, Wanted]:
    """Return the columns that a model needs: its features by name, or columns of lists named like its inputs.

    For a model without feature names these are all columns. Raises InvalidInput for a missing column.
    """
    inputs = [spec.name for spec in manifest.inputs]
    if set(inputs) <= set(table.names) and not set(inputs) <= set(manifest.features):
        return dict.fromkeys(find_columns(table, inputs, len(inputs)), "lists")
    if len(inputs) > 1:
        raise InvalidInput(
            f"the model has {len(inputs)} inputs: send JSON, NPZ, or Parquet with a column of lists for each of"
            f" {', '.join(inputs)}",
            field=FIELD,
        )
    [spec] = manifest.inputs
    return feature_columns(table, spec, manifest.features, manifest.categorical)


def feature_columns(
    table: Table, spec: TensorSpec, features: Sequence[str], categories: Categories | None
) -> dict[int, Wanted]:
    """Return the columns of a row's values, in the row's order. Raises InvalidInput as `find_columns` does."""
    by_place = categories.by_column if categories else {}
    kind: Wanted = "number" if spec.dtype.startswith("float") else "whole"
    numbers = find_columns(table, features, math.prod(spec.shape))
    return {number: "text" if place in by_place else kind for place, number in enumerate(numbers)}


def fit_table(table: Table, manifest: Manifest, rows: NDArray[Any] | None = None) -> dict[str, Array]:
    """Return an array (rows, …) for each input of the model, of all rows or those given. Raises InvalidInput."""
    if not table.width and not table.rows:
        return {spec.name: np.zeros((0, *spec.shape)) for spec in manifest.inputs}
    wanted = needed_columns(table, manifest)
    columns = _read(table, wanted, rows)
    if "lists" in wanted.values():
        return {spec.name: _fit_lists(column, spec) for spec, column in zip(manifest.inputs, columns, strict=True)}
    return {manifest.inputs[0].name: _stack(columns, manifest.inputs[0], manifest.categorical)}


def fit_features(table: Table, spec: TensorSpec, features: Sequence[str], categories: Categories | None) -> Array:
    """Return an array (rows, …) of the named features, or without names of all columns. Raises InvalidInput."""
    if not table.width and not table.rows:
        return np.zeros((0, *spec.shape))
    columns = _read(table, feature_columns(table, spec, features, categories), None)
    return _stack(columns, spec, categories)


def _stack(columns: Sequence[Column], spec: TensorSpec, categories: Categories | None) -> Array:
    by_place = categories.by_column if categories else {}
    values = [
        _fit_category(column, by_place[place]) if place in by_place else _fit_numbers(column, spec)
        for place, column in enumerate(columns)
    ]
    return np.stack(values, axis=1).reshape(-1, *spec.shape)


def find_columns(table: Table, features: Sequence[str], width: int) -> list[int]:
    """Return the number of each feature's column. Raises InvalidInput for a missing or ambiguous one."""
    names = table.names
    if not features or not names:
        if table.width != width:
            message = f"expected {width} columns, as many as a row has values; found {table.width}"
            raise InvalidInput(message, field=FIELD, expected=width, found=table.width)
        return list(range(width))
    if missing := [name for name in features if name not in names]:
        message = f"there is no column {missing[0]}; expected {shorten(features)}; found {shorten(names)}"
        raise InvalidInput(message, field=missing[0], missing=missing)
    if twice := [name for name in features if names.count(name) > 1]:
        raise InvalidInput(f"more than one column is called {twice[0]}", field=twice[0])
    return [names.index(name) for name in features]


def _read(table: Table, wanted: dict[int, Wanted], rows: NDArray[Any] | None) -> list[Column]:
    columns = table.read(wanted)
    return columns if rows is None else [column.kept(rows) for column in columns]


def _fit_numbers(column: Column, spec: TensorSpec) -> Array:
    """Return numbers (rows,) that fit the input's type; missing ones are NaN if the model imputes them."""
    whole = "whole " * (not spec.dtype.startswith("float"))
    if column.missing.any() and not spec.imputation:
        raise column.wrong(int(column.missing.argmax()), f"has no value; expected a {whole}number")
    values = column.values
    if not whole:
        with np.errstate(over="ignore"):
            fits = np.isfinite(values.astype(spec.dtype)) | column.missing
    else:
        limits = np.iinfo(spec.dtype)
        fits = np.asarray((values >= limits.min) & (values <= limits.max), dtype=np.bool_)
    if not fits.all():
        row = int(fits.argmin())
        raise column.wrong(row, f"expected a {whole}number that fits {spec.dtype}, found {values[row]}")
    return np.asarray(values)


def _fit_category(column: Column, category: Category) -> Array:
    """Return the numbers (rows,) of category names; missing ones are NaN if the model imputes them.

    A number is accepted as that of a name, unless the names are numbers themselves.
    """
    names = {name.strip(): number for number, name in enumerate(category.names)} | category.numbers
    absent = None if category.may_be_missing else ""
    values = [
        absent if no else value for value, no in zip(column.values.tolist(), column.missing.tolist(), strict=True)
    ]
    known: dict[tuple[type, Any], float] = {(type(None), None): math.nan}
    numbers = np.empty(len(values))
    for row, value in enumerate(values):
        key = (type(value), value)  # True is not 1
        if key not in known:
            known[key] = _number_of(value, names, category, column, row)
        numbers[row] = known[key]
    return numbers


def _number_of(value: Any, names: dict[str, int], category: Category, column: Column, row: int) -> float:
    if column.missing[row] and "" not in names:
        raise category.refusal("no value", column.place(row, named=False), row=row)
    text = as_text(value)
    for spelling in (text, text.lower()) if text.lower() in ("true", "false") else (text,):
        if spelling in names and (isinstance(value, str | bool) or category.has_numeric_names):
            return names[spelling]
    by_number = isinstance(value, str) and not category.has_numeric_names
    position = read_numbers([text], ".") if by_number else None
    if position is not None:
        value = float(position[0])
    return category.read(value, column.place(row, named=False), row=row)


def _fit_lists(column: Column, spec: TensorSpec) -> Array:
    """Return an array (rows, …) of lists, nested like a row or flat, or of bare numbers for rows of one number."""
    if column.odd:
        raise InvalidInput(
            f"column {column.name}: expected numbers, or lists of them; found {column.odd}", field=column.name
        )
    if column.missing.any():
        raise column.wrong(int(column.missing.argmax()), f"has no value; expected {describe(spec)}")
    values = column.values
    if values.dtype.kind != "O" and values.ndim == 2 and values.shape[1] == math.prod(spec.shape):
        return np.asarray(values.reshape(-1, *spec.shape))
    return to_array(values.tolist(), spec, column.name, column.first)


def is_header(cells: Sequence[str], features: Sequence[str], categories: Categories | None = None) -> bool:
    """Return whether the first line of a CSV file, as stripped cells, is a header.

    It is one if it has all features, or if it has neither a number nor the name of a category: a line of category
    names alone may be a row.
    """
    if features and set(features) <= set(cells):
        return True
    if not any(cells) or any(possible_decimals([cell]) for cell in cells):
        return False
    by_column = categories.by_column if categories else {}
    return not any(
        cell in category.numbers for column, category in by_column.items() for cell in cells[column : column + 1]
    )
