"""NPZ files: arrays of inputs and targets by name, as `numpy.savez(file, x=…, y=…)` writes them."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.arrays import make_array_dataset
from training.data.choices import Choices
from training.data.dataset import Dataset
from training.errors import TrainingError

NAMES = (("x_train", "y_train"), ("x", "y"), ("X", "y"), ("inputs", "targets"), ("data", "target"))
TEST = ("x_test", "y_test")
UNREADABLE = (ValueError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError)


def read_npz(path: Path, choices: Choices) -> Dataset:
    """Inputs `x` and targets `y`, or `inputs` and `targets`, or `x_train`, `y_train`, and with `x_test`, `y_test` known
    test rows. Raises TrainingError.
    """
    arrays = _arrays(path)
    pair = next((pair for pair in NAMES if set(pair) <= set(arrays)), None)
    if pair is None:
        wanted = "; ".join(" and ".join(pair) for pair in NAMES)
        raise TrainingError(f"{path.name}: expected arrays {wanted}; found: {', '.join(arrays) or 'none'}")
    inputs, targets = (arrays[name] for name in pair)
    if pair[0] != "x_train" or not set(TEST) <= set(arrays):
        return make_array_dataset(path.name, inputs, targets, choices)
    return joined(path.name, inputs, targets, arrays[TEST[0]], arrays[TEST[1]], choices)


def joined(
    name: str,
    inputs: NDArray[Any],
    targets: NDArray[Any],
    test_inputs: NDArray[Any],
    test_targets: NDArray[Any],
    choices: Choices,
) -> Dataset:
    """A data set whose last rows are its own test rows; raises TrainingError when the two do not fit together."""
    for what, part, of in (("inputs", inputs, test_inputs), ("targets", targets, test_targets)):
        if part.shape[1:] != of.shape[1:] or part.dtype != of.dtype or not part.ndim:
            raise TrainingError(
                f"{name}: the test rows' {what}, {of.dtype} {of.shape}, are not like the others,"
                f" {part.dtype} {part.shape}"
            )
    if len(test_inputs) != len(test_targets):
        raise TrainingError(f"{name}: there are {len(test_inputs)} test rows and {len(test_targets)} targets of them")
    both = np.concatenate([inputs, test_inputs]), np.concatenate([targets, test_targets])
    return make_array_dataset(name, *both, choices, own_test_rows=len(test_inputs))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except UNREADABLE as error:
        raise TrainingError(f"{path.name}: cannot be read as NPZ: {error}") from None
