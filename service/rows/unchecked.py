"""Rows of requests whose values are not checked yet: those of several requests become one array, checked once."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

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
            fits = array.shape[1:] == spec.shape and bool(np.isfinite(array).all())
    except ValueError:  # lists of different lengths
        return None
    return array if fits else None


class Tensor(NamedTuple):
    """The values of an input, as many as its shape has for so many rows."""

    values: Array
    """Flat, in row-major order."""
    dtype: np.dtype[Any]
    """The type to round the values to before they are checked: numbers in JSON are decoded in more precision."""
    rows: int


class TensorRows(UncheckedRows):
    """The rows as a tensor for each input, whose values are not checked yet.

    Only tensors of the same types are joined: others would be rounded twice, or to float64.
    """

    __slots__ = ("_tensors", "count", "kind")

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a tensor with as many rows for each input of the model, in their order."""
        self._tensors = tensors
        self.kind = tuple([tensor.dtype for tensor in tensors.values()])
        self.count = next(iter(tensors.values())).rows

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], manifest: Manifest) -> Self:
        """Return the rows of tensors of the model's inputs, by name.

        Raises InvalidInput for a missing input, or different numbers of rows.
        """
        if len(manifest.inputs) > 1 or not tensors:
            check_names(tensors, manifest)
            tensors = {spec.name: tensors[spec.name] for spec in manifest.inputs}
            check_row_counts({name: tensor.rows for name, tensor in tensors.items()})
        return cls(tensors)

    @classmethod
    def join(cls, parts: Sequence["TensorRows"]) -> Self:
        """Return the rows of all parts, which are of one kind."""
        rows = sum([part.count for part in parts])
        return cls(
            {
                name: Tensor(np.concatenate([part._tensors[name].values for part in parts]), dtype, rows)
                for name, (_, dtype, _) in parts[0]._tensors.items()
            }
        )

    def fit(self, manifest: Manifest) -> dict[str, Array]:
        """Return the arrays in the model's types. Raises InvalidInput."""
        arrays = {}
        for spec in manifest.inputs:
            values, dtype, rows = self._tensors[spec.name]
            with np.errstate(over="ignore"):  # a number that is too large becomes infinite, and is refused as such
                arrays[spec.name] = values.astype(dtype, copy=False).reshape(rows, *spec.shape)
        return check_inputs(arrays, manifest, self.count)
