"""Read files of rows in the network's own inputs: NPY, NPZ, and tables of numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from service.errors import InvalidRequest
from service.model.manifest import TensorSpec
from service.model.runtime import Array
from service.rows.arrays import read_npy
from service.rows.csv_table import PLAIN
from service.rows.dialect import Dialect
from service.rows.fitting import fit_features, is_header
from service.rows.formats import TABLES, RowsFile, format_of_name, open_table
from training.data.npz import named_arrays
from training.errors import TrainingError


def read_rows(path: Path, inputs: Sequence[str], dialect: Dialect = PLAIN) -> list[Array]:
    """Return one array (rows, …) for each of the network's inputs: from an NPZ those of the same names, or the only
    one.

    Raises TrainingError naming the file and the expected content.
    """
    arrays = _read(open_rows(path, dialect), inputs)
    lengths = {array.shape[0] if array.ndim else 0 for array in arrays}
    if len(lengths) != 1 or 0 in lengths:
        raise TrainingError(f"{path}: expected as many rows for each input, at least one")
    if wrong := [str(array.dtype) for array in arrays if array.dtype.kind not in "biuf"]:
        raise TrainingError(f"{path}: expected numbers; found {wrong[0]}")
    for name, array in zip(inputs, arrays, strict=False):  # their number is checked with the network
        check_finite(path, name, array)
    return arrays


def open_rows(path: Path, dialect: Dialect = PLAIN) -> RowsFile:
    """Open a file of rows; raise TrainingError."""
    if not path.is_dir() and format_of_name(path.name) not in ("npy", "npz", *TABLES):
        raise TrainingError(f"{path}: expected a file of rows, .npy, .npz, .csv, .jsonl or .parquet")
    try:
        return RowsFile.of_path(path, dialect)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror or error}") from None
    except InvalidRequest as error:
        raise TrainingError(f"{path}: {error.message}") from None


def check_finite(file: Path, name: str, array: Array) -> None:
    """Raise TrainingError naming the first row of (rows, …) with a number that is not finite."""
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = tuple(wrong[0])
        raise TrainingError(f"{file}: {name}: row {place[0] + 1} has {array[place]}; expected finite numbers")


def _read(file: RowsFile, inputs: Sequence[str]) -> list[Array]:
    if file.kind == "npz":
        return _of_inputs(file, named_arrays(file), inputs)
    if file.kind == "npy" and isinstance(file.content, bytes):
        try:
            return [read_npy(file.content)]
        except ValueError as error:
            raise TrainingError(f"{file.name}: is {error}") from None
    return [_numbers(file)]


def _of_inputs(file: RowsFile, arrays: dict[str, Array], inputs: Sequence[str]) -> list[Array]:
    if set(inputs) <= set(arrays):
        return [arrays[name] for name in inputs]
    if len(inputs) == len(arrays) == 1:
        return list(arrays.values())
    wanted = ", ".join(inputs)
    raise TrainingError(
        f"{file.name}: expected arrays named as the network's inputs, {wanted}; found: {', '.join(arrays)}"
    )


def _numbers(file: RowsFile) -> Array:
    """Return the numbers of a table, with or without a header."""
    try:
        table = open_table(file.content, file.kind, file.dialect, has_header=lambda cells: is_header(cells, ()))
        return fit_features(table, TensorSpec(name="rows", dtype="float64", shape=(table.width,)), (), None)
    except InvalidRequest as error:
        raise TrainingError(f"{file.name}: {error.message}") from None
