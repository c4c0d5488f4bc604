"""Read a CSV of numbers, and standardise it."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError

Float64 = NDArray[np.float64]
LEAST_ROWS = 20
"""The smallest number of rows to split."""


@dataclass(frozen=True, slots=True)
class Table:
    """The values of a file."""

    name: str
    inputs: Float64
    """(rows, features)"""
    targets: Float64
    """(rows,)"""


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and standard deviation of training rows, 1 for a constant column."""

    input_mean: Float64
    input_std: Float64
    target_mean: float
    target_std: float

    @classmethod
    def of(cls, inputs: Float64, targets: Float64) -> "Scale":
        """Return the scale of rows (rows, features) and targets (rows,)."""
        spread = inputs.std(axis=0)
        return cls(inputs.mean(axis=0), np.where(spread > 0, spread, 1), targets.mean(), targets.std() or 1.0)

    def inputs(self, inputs: Float64) -> NDArray[np.float32]:
        """Return inputs (rows, features), standardised."""
        return ((inputs - self.input_mean) / self.input_std).astype(np.float32)

    def targets(self, targets: Float64) -> NDArray[np.float32]:
        """Return targets (rows,) as (rows, 1), standardised."""
        return ((targets - self.target_mean) / self.target_std).astype(np.float32)[:, None]


def read_table(path: Path) -> Table:
    """Read a header, whose last name is y, and lines of finite numbers; raise TrainingError for another file."""
    with path.open(newline="") as file:
        header, *lines = list(csv.reader(file)) or [[]]
    if len(header) < 2 or header[-1].strip() != "y":
        raise TrainingError(f"{path}: expected a header of features, the last name y; found {','.join(header)!r}")
    if len(lines) < LEAST_ROWS:
        raise TrainingError(f"{path}: expected at least {LEAST_ROWS} rows to split; found {len(lines)}")
    values = np.array([_numbers(path, number, line, len(header)) for number, line in enumerate(lines, start=2)])
    return Table(path.stem, values[:, :-1], values[:, -1])


def _numbers(path: Path, number: int, line: list[str], columns: int) -> list[float]:
    try:
        values = [float(cell) for cell in line]
    except ValueError as error:
        raise TrainingError(f"{path}, line {number}: {error}") from None
    if len(values) != columns or not np.isfinite(values).all():
        raise TrainingError(f"{path}, line {number}: expected {columns} finite numbers; found {','.join(line)!r}")
    return values
