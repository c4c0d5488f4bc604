"""NPZ files: arrays of inputs and targets by name, as `numpy.savez(file, x=…, y=…)` writes them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.rows import arrays as numpy_files
from service.rows.arrays import PAIRS, TEST, Array, find_pair
from service.rows.formats import RowsFile
from training.data.arrays import make_array_dataset
from training.data.choices import Choices
from training.data.dataset import Dataset
from training.errors import TrainingError


def read_npz(file: RowsFile, choices: Choices) -> Dataset:
    """Inputs `x` and targets `y`, or `inputs` and `targets`, or `x_train`, `y_train`, and with `x_test`, `y_test` known
    test rows. Raises TrainingError.
    """
    arrays = named_arrays(file)
    pair = find_pair(arrays)
    if pair is None:
        wanted = "; ".join(" and ".join(pair) for pair in PAIRS)
        raise TrainingError(f"{file.name}: expected arrays {wanted}; found: {', '.join(arrays) or 'none'}")
    inputs, targets = (arrays[name] for name in pair)
    if pair != PAIRS[0] or not set(TEST) <= set(arrays):
        return make_array_dataset(file.name, inputs, targets, choices)
    return joined(file.name, inputs, targets, arrays[TEST[0]], arrays[TEST[1]], choices)


def named_arrays(file: RowsFile) -> dict[str, Array]:
    """The arrays of an NPZ file; raises TrainingError for what is none."""
    assert isinstance(file.content, bytes)
    try:
        return numpy_files.read_npz(file.content)
    except ValueError as error:
        raise TrainingError(f"{file.name}: is {error}") from None


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
