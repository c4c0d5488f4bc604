"""The rows of a request as arrays, one for each input of the model."""

from collections.abc import Mapping, Sequence

import numpy as np

from service.engine.answers import Rows
from service.model.runtime import Array

Inputs = Mapping[str, Array]
"""An array (rows, …) for each input of the model, as `service.rows.inputs` checks them."""


def count_rows(inputs: Inputs) -> int:
    """Return the number of rows."""
    return len(next(iter(inputs.values())))


def take(inputs: Inputs, rows: slice | Rows) -> Inputs:
    """Return these rows, or the same arrays for all rows."""
    taken = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
    if taken == count_rows(inputs):
        return inputs
    return {name: array[rows] for name, array in inputs.items()}


def join_inputs(parts: Sequence[Inputs]) -> Inputs:
    """Return the rows of all parts."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
