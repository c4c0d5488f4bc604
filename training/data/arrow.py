"""CSV and Parquet files → columns, by Apache Arrow. The only import of pyarrow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.categories import is_number
from service.extras import remedy
from training.data.choices import Choices
from training.data.columns import Column, check_choices, listed
from training.errors import TrainingError

try:
    import pyarrow as pa
    from pyarrow import csv, parquet
except ModuleNotFoundError:  # pragma: no cover
    raise TrainingError(f"pyarrow is not installed; tables need it; {remedy('training')}") from None

DELIMITERS = ",;\t"
MIN_BLOCK = 2**20
MAX_BLOCK = 2**31 - 1

Columns = tuple[list[Column], str]
"""Those not to be ignored, and the target's name."""


def csv_columns(path: Path, choices: Choices) -> Columns:
    """Types are inferred from all rows; an empty cell is a missing value, `NA` and the like only among numbers."""
    header = _first_line(path)
    delimiter = max(DELIMITERS, key=header.count)
    names = next(iter(_parse_line(header, delimiter)))
    if names and all(is_number(name) for name in names):
        raise TrainingError(
            f"{path.name}: its first line holds numbers ({header[:60]}); write the names of the columns there"
        )
    block = min(MAX_BLOCK, max(MIN_BLOCK, path.stat().st_size + 1))  # one block: else the first alone decides the types
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(block_size=block),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise TrainingError(f"{path.name}: cannot be read as CSV: {_first(error)}") from None
    return _columns(path.name, table, choices)


def parquet_columns(path: Path, choices: Choices) -> Columns:
    try:
        table = parquet.read_table(path)
    except pa.ArrowException as error:
        raise TrainingError(f"{path.name}: cannot be read as Parquet: {_first(error)}") from None
    return _columns(path.name, table, choices)


def _columns(where: str, table: Any, choices: Choices) -> Columns:
    names: list[str] = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TrainingError(f"{where}: more than one column is called {listed(twice)}")
    target = check_choices(where, names, choices)
    if not table.num_rows:
        raise TrainingError(f"{where}: has no rows")
    used = [name for name in names if name not in choices.ignore]
    return [_column(where, name, table.column(name).combine_chunks()) for name in used], target


def _column(where: str, name: str, array: Any) -> Column:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    missing = array.is_null().to_numpy(zero_copy_only=False)
    kind = array.type
    if pa.types.is_null(kind):
        return Column(name, np.zeros(len(array)), missing)
    if pa.types.is_decimal(kind):
        array, kind = array.cast(pa.float64()), pa.float64()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        texts = np.array([text or "" for text in array.to_pylist()], dtype=object)
        return Column(name, texts, missing | np.array([not text.strip() for text in texts]))
    if pa.types.is_boolean(kind):
        return Column(name, array.fill_null(False).to_numpy(zero_copy_only=False), missing)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = array.fill_null(0).to_numpy(zero_copy_only=False)
        absent = missing | np.isnan(values) if pa.types.is_floating(kind) else missing
        return Column(name, values, absent)
    raise TrainingError(
        f"{where}: column {name!r} holds {_kind(kind)}, which a network cannot learn from; turn it into numbers, such"
        f" as days since a day, or say --ignore {name}"
    )


def _kind(kind: Any) -> str:
    dates = pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    times = pa.types.is_time(kind) or pa.types.is_duration(kind)
    return "dates" if dates else "times" if times else f"values of type {kind}"


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
    except UnicodeDecodeError as error:
        raise TrainingError(
            f"{path.name}: cannot be read as UTF-8 text: {error.reason} at byte {error.start}"
        ) from None
    if not line.strip():
        raise TrainingError(f"{path.name}: its first line is empty; expected the names of the columns there")
    return line.rstrip("\r\n")


def _parse_line(line: str, delimiter: str) -> Sequence[list[str]]:
    import csv as plain

    return list(plain.reader([line], delimiter=delimiter))


def _first(error: BaseException) -> str:
    return str(error).splitlines()[0].removeprefix("CSV parse error: ")
