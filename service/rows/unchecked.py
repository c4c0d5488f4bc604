"""Rows of requests whose values are not checked yet: those of several requests become one array, checked once."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from service.engine.inputs import all_finite
from service.model.manifest import Manifest, TensorSpec
from service.model.runtime import Array
from service.rows.inputs import check_inputs, check_names, check_row_counts, field_name, to_array


class UncheckedRows:
    """Rows of one or more requests, right in type and number."""

    __slots__ = ()

    count: int
    """The number of rows."""
    kind: Hashable
    """A key that is equal for rows that can be joined."""

    @classmethod
    def join(cls, parts: Sequence[Any]) -> Self:
        """Return the rows of all parts, which are of one kind."""
        raise NotImplementedError

    def fit(self, manifest: Manifest) -> dict[str, Array]:
        """Return an array (rows, …) that fits the model, for each of its inputs. Raises InvalidInput."""
        raise NotImplementedError


class ListedRows(UncheckedRows):
    """The rows of a model's only input as nested lists, whose shape is not checked yet."""

    __slots__ = ("count", "kind", "rows")

    def __init__(self, rows: list[Any]) -> None:
        """Take decoded JSON."""
        self.rows = rows
        self.count = len(rows)
        self.kind = ListedRows

    @classmethod
    def join(cls, parts: Sequence["ListedRows"]) -> Self:
        """Return the rows of all parts."""
        return cls([row for part in parts for row in part.rows])

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


class Tensor(NamedTuple):
    """The values of an input in the model's shape, (rows, …)."""

    values: Array
    dtype: np.dtype[Any]
    """The type to round the values to before they are checked: numbers in JSON are decoded in more precision."""


class TensorRows(UncheckedRows):
    """The rows of each input as an array, whose values are not checked yet.

    Only arrays of the same types are joined: others would be rounded twice, or to float64.
    """

    __slots__ = ("_arrays", "_dtypes", "count", "kind")

    def __init__(self, arrays: Mapping[str, Array], dtypes: tuple[np.dtype[Any], ...]) -> None:
        """Take as many rows for each input; the types are in the same order."""
        self._arrays = arrays
        self._dtypes = self.kind = dtypes
        self.count = len(next(iter(arrays.values())))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], manifest: Manifest) -> Self:
        """Return the rows of the model's inputs. Raises InvalidInput for a missing one or different numbers of rows."""
        check_names(tensors, manifest)
        arrays = {spec.name: tensors[spec.name].values for spec in manifest.inputs}
        if len(arrays) > 1:
            check_row_counts(arrays)
        return cls(arrays, tuple([tensors[name].dtype for name in arrays]))

    @classmethod
    def join(cls, parts: Sequence["TensorRows"]) -> Self:
        """Return the rows of all parts, which are of one kind."""
        first = parts[0]
        arrays = {name: np.concatenate([part._arrays[name] for part in parts]) for name in first._arrays}
        return cls(arrays, first._dtypes)

    def fit(self, manifest: Manifest) -> dict[str, Array]:
        """Return the arrays in the model's types. Raises InvalidInput."""
        with np.errstate(over="ignore"):  # a number that is too large becomes infinite, and is refused as such
            arrays = {
                name: array.astype(dtype, copy=False)
                for (name, array), dtype in zip(self._arrays.items(), self._dtypes, strict=True)
            }
        return check_inputs(arrays, manifest, self.count)
