"""Rows to learn from, whatever file they came from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.model.categories import Categories
from service.model.manifest import ImageRule, TensorSpec
from service.rows.csv_table import PLAIN
from service.rows.dialect import Dialect

Float32 = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]
"""float32 or float64."""
Int64 = NDArray[np.int64]
Task = Literal["classification", "regression"]


@dataclass(frozen=True, slots=True)
class ColumnSeen:
    """What was made of a column, for the user to agree with or to overrule."""

    name: str
    role: Literal["number", "category", "ignored", "target"]
    seen: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows to learn from, as they come: preprocessing is the network's."""

    name: str
    inputs: Floats
    """(rows, features), or of images (rows, channels, height, width); a categorical column holds category numbers."""
    targets: Int64 | Float32
    """(rows,): the number of each row's class; of a regression (rows, 1), the values in their own unit."""
    features: tuple[str, ...]
    """Names of the columns; of images ()."""
    labels: tuple[str, ...]
    """Names of the classes; of a regression ()."""
    one_unit: bool
    """Whether all features are measured in the same unit, as pixels are."""
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of a categorical feature's values, by feature, in the order of their numbers."""
    image: ImageRule | None = None
    """How pictures of any size and mode became the rows."""
    own_test_rows: int = 0
    """How many of the last rows are the test part that the source itself sets apart."""
    imputed: bool = False
    """Whether values may be missing, NaN, for the network to put the column's usual value there."""
    columns: tuple[ColumnSeen, ...] = ()
    """The role of every column of the source; of images and arrays ()."""
    notes: tuple[str, ...] = ()
    """What else whoever trains should be told, such as rows left out."""
    dialect: Dialect = PLAIN
    """What was said of its file, of others like it too."""
    source_rows: Int64 | None = None
    """(rows,): which rows of the source these are, where some are left out; None: all of them."""

    @property
    def sha256(self) -> str:
        """Of the inputs' and then the targets' bytes, row by row, little-endian."""
        targets = self.targets.astype("<i8" if self.labels else "<f4")
        inputs = self.inputs.astype(self.inputs.dtype.newbyteorder("<"))
        return hashlib.sha256(inputs.tobytes() + targets.tobytes()).hexdigest()

    @property
    def categorical(self) -> Categories | None:
        """How names become numbers, where there are categories."""
        if not self.categories:
            return None
        return Categories(self.features, self.categories, may_be_missing=self.imputed)

    @property
    def spec(self) -> TensorSpec:
        """Of rows like these, as callers of the service send them."""
        shape = self.inputs.shape[1:]
        imputation = (0.0,) * len(self.features) if self.imputed else ()
        return TensorSpec(name="input", dtype=self.dtype, shape=shape, imputation=imputation)

    @property
    def dtype(self) -> Literal["float32", "float64"]:
        """Of the inputs, as a manifest names it."""
        return "float32" if self.inputs.dtype == np.float32 else "float64"

    @property
    def task(self) -> Task:
        return "classification" if self.labels else "regression"


def as_floats(values: NDArray[Any]) -> Floats:
    """Return numbers in float32 where it holds every number of their type, as 16-bit whole numbers; else in float64."""
    with np.errstate(over="ignore"):  # of a type beyond float64, to be refused as infinite
        if np.result_type(values.dtype, np.float32) == np.float32:
            return values.astype(np.float32)
        return values.astype(np.float64)
