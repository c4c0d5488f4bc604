"""Rows in CSV, as people and spreadsheets write it."""

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from service.categories import Categories, Category
from service.errors import InvalidInput, MalformedBody
from service.manifest import TensorSpec
from service.runtime import Array

Line = tuple[int, list[str]]
"""Its number, as an editor counts, and its cells."""
Read = Callable[[str, str, TensorSpec], float]
"""A cell and where it is → what it says."""

NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*")
"""As people write them; Python would take 1_000 and infinity too."""
WHOLE = re.compile(r"\s*([+-]?\d{1,20})(?:\.0*)?\s*")
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+\s*")
NOTHING = ("", "nan", "na", "n/a", "null", "none")
"""What people and libraries write for a value that is not there."""


def read_csv(content: bytes, spec: TensorSpec, features: Sequence[str], categories: Categories | None = None) -> Array:
    """A line a row → (rows, …), with or without a header; features may then come in any order, among others.

    Raises InvalidInput or MalformedBody, naming the line.
    """
    width = math.prod(spec.shape)
    lines = _read_lines(content)
    columns, among_others = list(range(width)), False
    if lines and _is_header(lines[0][1]) and not (categories and _has_categories(lines[0][1], categories)):
        columns, among_others = _find_columns(lines.pop(0), features, width), bool(features)
    read: list[Read] = [_read_number if spec.dtype.startswith("float") else _read_whole_number] * width
    for column, category in categories.by_column.items() if categories else ():
        read[column] = partial(_read_category, category)
    rows = [_read_numbers(line, columns, among_others, read, spec) for line in lines]
    dtype = np.float64 if spec.dtype.startswith("float") else np.int64
    return np.array(rows, dtype=dtype).reshape(len(rows), *spec.shape)


def _read_lines(content: bytes) -> list[Line]:
    """All lines that are not blank."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the file is not CSV in UTF-8: {error}") from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    lines: list[Line] = []
    try:
        start = 1
        for cells in reader:
            if cells:
                lines.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise MalformedBody(f"the file is not CSV: line {reader.line_num}: {error}") from None
    return lines


def _delimiter(text: str) -> str:
    """Semicolon or tab where the first line has one, as Excel writes them; else a comma."""
    first_line = text.lstrip("\r\n").partition("\n")[0]
    return next((mark for mark in ";\t" if mark in first_line), ",")


def _is_header(cells: list[str]) -> bool:
    """Whether a line names columns: it has something in it, and nothing that is a number."""
    return any(cell.strip() for cell in cells) and not any(NUMBER.fullmatch(cell) for cell in cells)


def _has_categories(cells: list[str], categories: Categories) -> bool:
    """Whether a line without a number is a row all the same: a name of a category stands in its column."""
    if set(categories.features) <= {cell.strip() for cell in cells}:
        return False
    return any(
        _find_name(cells[column], category) in category.numbers
        for column, category in categories.by_column.items()
        if column < len(cells)
    )


def _find_columns(header: Line, features: Sequence[str], width: int) -> list[int]:
    """Where each feature stands in the header; as they come, and no others, for a model without names of features."""
    line, cells = header
    names = [name.strip() for name in cells]
    if not features:
        if len(names) != width:
            message = f"line {line}: expected {width} columns, as many as a row has values, found {len(names)}"
            raise InvalidInput(message, field=f"line {line}", expected=width, found=len(names))
        return list(range(width))
    if missing := [name for name in features if name not in names]:
        message = f"line {line}: the header lacks {missing[0]}; expected {shorten(features)}"
        raise InvalidInput(message, field=missing[0], missing=missing)
    return [names.index(name) for name in features]


def _read_numbers(
    line: Line, columns: list[int], among_others: bool, read: Sequence[Read], spec: TensorSpec
) -> list[float]:
    number, cells = line
    if len(cells) <= max(columns) or not (among_others or len(cells) == len(columns)):
        message = f"line {number}: expected {max(columns) + 1} values, found {len(cells)}"
        raise InvalidInput(message, field=f"line {number}", expected=max(columns) + 1, found=len(cells))
    return [
        read_cell(cells[column], f"line {number}, column {column + 1}", spec)
        for column, read_cell in zip(columns, read, strict=True)
    ]


def _read_number(cell: str, field: str, spec: TensorSpec) -> float:
    value = float(cell.strip()) if NUMBER.fullmatch(cell) else math.nan
    with np.errstate(over="ignore"):
        if not np.isfinite(np.float64(value).astype(spec.dtype)):
            raise _not_a_number(cell, field, f"a number that fits {spec.dtype}")
    return value


def _read_whole_number(cell: str, field: str, spec: TensorSpec) -> int:
    limits = np.iinfo(spec.dtype)
    if not (match := WHOLE.fullmatch(cell)) or not limits.min <= int(match[1]) <= limits.max:
        raise _not_a_number(cell, field, f"a whole number that fits {spec.dtype}")
    return int(match[1])


def _read_category(category: Category, cell: str, field: str, _: TensorSpec) -> float:
    name = _find_name(cell, category)
    is_number = name not in category.numbers and NUMBER.fullmatch(cell)
    return category.read(float(name) if is_number else name, field)


def _find_name(cell: str, category: Category) -> str:
    """As it stands, else without spaces; true and false, which libraries write in several ways, in lower case."""
    name = cell.strip()
    spellings = (cell, name, name.lower()) if name.lower() in ("true", "false") else (cell, name)
    return next((spelling for spelling in spellings if spelling in category.numbers), name)


def _not_a_number(cell: str, field: str, expected: str) -> InvalidInput:
    if cell.strip().lower() in NOTHING:
        return InvalidInput(f"{field}: has no value, found {cell!r}; expected {expected}", field=field)
    hint = "; decimals are written with a point" if DECIMAL_COMMA.fullmatch(cell) else ""
    return InvalidInput(f"{field}: expected {expected}, found {cell[:100]!r}{hint}", field=field)


def shorten(names: Sequence[str]) -> str:
    """The first few, for a message."""
    return ", ".join(names[:8]) + ("…" if len(names) > 8 else "")
