"""Read NPZ files: arrays of inputs and targets by name, as `numpy.savez(file, x=…, y=…)` writes them."""

from service.rows import arrays as numpy_files
from service.rows.arrays import PAIRS, TEST, Array, find_pair
from service.rows.formats import RowsFile
from training.data.arrays import make_array_dataset, with_test_rows
from training.data.choices import Choices
from training.data.dataset import Dataset
from training.errors import TrainingError


def read_npz(file: RowsFile, choices: Choices) -> Dataset:
    """Return the data set of arrays `x` and `y`, `inputs` and `targets`, or `x_train` and `y_train`.

    `x_test` and `y_test` beside the latter are the test part. Raises TrainingError.
    """
    arrays = named_arrays(file)
    pair = find_pair(arrays)
    if pair is None:
        wanted = "; ".join(" and ".join(pair) for pair in PAIRS)
        raise TrainingError(f"{file.name}: expected arrays {wanted}; found: {', '.join(arrays) or 'none'}")
    inputs, targets = (arrays[name] for name in pair)
    if pair != PAIRS[0] or not set(TEST) <= set(arrays):
        return make_array_dataset(file.name, inputs, targets, choices)
    return with_test_rows(file.name, inputs, targets, arrays[TEST[0]], arrays[TEST[1]], choices)


def named_arrays(file: RowsFile) -> dict[str, Array]:
    """Return the arrays of an NPZ file by name; raise TrainingError for any other content."""
    assert isinstance(file.content, bytes)
    try:
        return numpy_files.read_npz(file.content)
    except ValueError as error:
        raise TrainingError(f"{file.name}: is {error}") from None
