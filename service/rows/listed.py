"""Rows of short JSON as nested lists: of several requests they become one array, and are checked once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from service.engine.inputs import all_finite
from service.model.manifest import Manifest, TensorSpec
from service.model.runtime import Array
from service.rows.inputs import check_inputs, field_name, to_array


class ListedRows:
    """The rows of a model's only input, of the right type and number; shape and range are not checked yet."""

    __slots__ = ("rows",)

    def __init__(self, rows: list[Any]) -> None:
        """Take decoded rows."""
        self.rows = rows

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.rows)

    def fit(self, manifest: Manifest) -> dict[str, Array]:
        """Return the rows as an array that fits the model. Raises InvalidInput."""
        (spec,) = manifest.inputs
        if spec.dtype.startswith("float") and not (spec.imputation or spec.ranges):
            fitting = _convert(self.rows, spec)
            if fitting is not None:
                return {spec.name: fitting}
        array = to_array(self.rows, spec, field_name(spec, manifest))
        return check_inputs({spec.name: array}, manifest, self.count)


def _convert(rows: list[Any], spec: TensorSpec) -> Array | None:
    """Return numbers in the model's type; None unless all fit it."""
    try:
        with np.errstate(over="ignore"):
            array = np.array(rows, dtype=spec.dtype)
            fits = array.shape[1:] == spec.shape and all_finite(array)
    except ValueError:  # lists of different lengths
        return None
    return array if fits else None


def join_lists(parts: Sequence[ListedRows]) -> ListedRows:
    """Return the rows of all parts."""
    return ListedRows([row for part in parts for row in part.rows])
