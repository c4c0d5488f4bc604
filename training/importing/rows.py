"""Files of rows as a network takes them: NPY, NPZ, and CSV of numbers."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from service.categories import is_number
from service.runtime import Array
from training.errors import TrainingError

UNREADABLE = (ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def read_rows(file: Path, inputs: Sequence[str]) -> list[Array]:
    """One array (rows, …) for each of the network's inputs: of an NPZ those of the same names, or the only one.

    Raises TrainingError naming the file and what was expected.
    """
    try:
        arrays = _read(file, inputs)
    except OSError as error:
        raise TrainingError(f"{file}: cannot be read: {error.strerror or error}") from None
    except UNREADABLE as error:
        raise TrainingError(f"{file}: cannot be read as {file.suffix[1:].upper()}: {error}") from None
    lengths = {array.shape[0] if array.ndim else 0 for array in arrays}
    if len(lengths) != 1 or 0 in lengths:
        raise TrainingError(f"{file}: expected as many rows for each input, at least one")
    if wrong := [str(array.dtype) for array in arrays if array.dtype.kind not in "biuf"]:
        raise TrainingError(f"{file}: expected numbers; found {wrong[0]}")
    for name, array in zip(inputs, arrays, strict=False):  # whether there is one an input is for the network to say
        check_finite(file, name, array)
    return arrays


def check_finite(file: Path, name: str, array: Array) -> None:
    """Raises TrainingError naming the first row of (rows, …) with a number that is not finite."""
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = tuple(wrong[0])
        raise TrainingError(f"{file}: {name}: row {place[0] + 1} has {array[place]}; expected finite numbers")


def read_npz(file: Path) -> dict[str, Array]:
    """Raises ValueError for a file that is none."""
    arrays = np.load(file, allow_pickle=False)
    if isinstance(arrays, np.ndarray):
        raise ValueError("it holds one array without a name, as .npy files do")
    with arrays:
        return {name: arrays[name] for name in arrays.files}


def _read_npy(file: Path) -> Array:
    array = np.load(file, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError("it holds arrays by name, as .npz files do")
    return array


def _read(file: Path, inputs: Sequence[str]) -> list[Array]:
    match file.suffix.lower():
        case ".npy":
            return [_read_npy(file)]
        case ".npz":
            return _of_inputs(file, read_npz(file), inputs)
        case ".csv":
            return [_numbers(file)]
    raise TrainingError(f"{file}: expected a file of rows, .npy, .npz or .csv")


def _of_inputs(file: Path, arrays: dict[str, Array], inputs: Sequence[str]) -> list[Array]:
    if set(inputs) <= set(arrays):
        return [arrays[name] for name in inputs]
    if len(inputs) == len(arrays) == 1:
        return list(arrays.values())
    wanted = ", ".join(inputs)
    raise TrainingError(f"{file}: expected arrays called as the network's inputs, {wanted}; found: {', '.join(arrays)}")


def _numbers(file: Path) -> Array:
    """With a line of names or without."""
    with file.open(encoding="utf-8-sig") as lines:
        first = lines.readline().strip().split(",")
    header = not all(is_number(cell.strip()) for cell in first)
    return np.loadtxt(file, delimiter=",", skiprows=int(header), ndmin=2, encoding="utf-8-sig")
