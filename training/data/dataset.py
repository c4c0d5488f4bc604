"""The rows of a data set, independent of the file format that they were read from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.model.categories import Categories
from service.model.manifest import ImageRule, Seen, TensorSpec
from service.rows.csv_table import PLAIN
from service.rows.dialect import Dialect

Float32 = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]
"""Arrays of float32 or float64."""
Int64 = NDArray[np.int64]
Task = Literal["classification", "regression"]

MAX_RANGES = 1000
"""The largest number of ranges in a manifest, which should stay short."""


@dataclass(frozen=True, slots=True)
class ColumnSeen:
    """The role that a column was given, and a summary of its values for the user to check."""

    name: str
    role: Literal["number", "category", "ignored", "target"]
    seen: str
    """The summary."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows to learn from, not preprocessed: that is a part of the network."""

    name: str
    inputs: Floats
    """(rows, features), or for images (rows, channels, height, width); a categorical column holds category numbers."""
    targets: Int64 | Float32
    """(rows,) class numbers, or for a regression (rows, 1) values in their own unit."""
    features: tuple[str, ...]
    """Names of the columns; empty for images."""
    labels: tuple[str, ...]
    """Names of the classes; empty for a regression."""
    one_unit: bool
    """Whether all features share a unit, as pixels do."""
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the values of each categorical feature, in the order of their numbers."""
    image: ImageRule | None = None
    """The rule by which pictures of any size and mode became the rows."""
    own_test_rows: int = 0
    """The number of last rows that the source itself sets apart as test part."""
    imputed: bool = False
    """Whether values may be missing, NaN, and the network imputes the column's usual value."""
    columns: tuple[ColumnSeen, ...] = ()
    """The role of every column of the source; empty for images and arrays."""
    notes: tuple[str, ...] = ()
    """Further remarks for the user, such as the number of rows left out."""
    dialect: Dialect = PLAIN
    """Delimiter, decimal mark and encoding of the file, also for further files like it."""
    source_rows: Int64 | None = None
    """(rows,): places of these rows in the source, where some were left out; None for all."""

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes of the inputs and then of the targets, row by row, little-endian."""
        targets = self.targets.astype("<i8" if self.labels else "<f4")
        inputs = self.inputs.astype(self.inputs.dtype.newbyteorder("<"))
        return hashlib.sha256(inputs.tobytes() + targets.tobytes()).hexdigest()

    @property
    def categorical(self) -> Categories | None:
        """The mapping of category names to numbers; None without categorical features."""
        if not self.categories:
            return None
        return Categories(self.features, self.categories, may_be_missing=self.imputed)

    @property
    def spec(self) -> TensorSpec:
        """The specification of the model's input, in terms of rows that callers of the service send."""
        shape = self.inputs.shape[1:]
        imputation = (0.0,) * len(self.features) if self.imputed else ()
        return TensorSpec(name="input", dtype=self.dtype, shape=shape, imputation=imputation)

    @property
    def dtype(self) -> Literal["float32", "float64"]:
        """The type of the inputs under its name in a manifest."""
        return "float32" if self.inputs.dtype == np.float32 else "float64"

    @property
    def task(self) -> Task:
        """Whether classes or values are learned."""
        return "classification" if self.labels else "regression"


def as_floats(values: NDArray[Any]) -> Floats:
    """Return numbers in float32 where it holds every number of their type, as 16-bit whole numbers; else in float64."""
    with np.errstate(over="ignore"):  # a larger type overflows to infinity, which is refused later
        if np.result_type(values.dtype, np.float32) == np.float32:
            return values.astype(np.float32)
        return values.astype(np.float64)


def value_ranges(inputs: Floats, *, one_unit: bool) -> tuple[Seen, ...]:
    """Return the lowest, median and highest value at each place of a row, or one range for all where they share a unit.

    Inputs are (rows, …). Rows of very many places have no ranges.
    """
    places = inputs.reshape(1, -1) if one_unit else inputs.reshape(len(inputs), -1).T  # (places, values)
    if len(places) > MAX_RANGES:
        return ()
    found = zip(np.nanmin(places, axis=1), np.nanmedian(places, axis=1), np.nanmax(places, axis=1), strict=True)
    return tuple(Seen(lowest=_plain(low), median=_plain(median), highest=_plain(high)) for low, median, high in found)


def _plain(value: np.floating) -> float:
    """Return the number with as few digits as distinguish it in its type."""
    return float(str(value))
