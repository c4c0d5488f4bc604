"""A CSV of numbers → rows and targets, and what standardises them."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError

Float64 = NDArray[np.float64]
LEAST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Table:
    """Values as they stand in the file."""

    name: str
    inputs: Float64
    """(rows, features)"""
    targets: Float64
    """(rows,)"""


@dataclass(frozen=True, slots=True)
class Scale:
    """Centre and spread of training rows; of a column that never changes the spread is 1."""

    input_mean: Float64
    input_std: Float64
    target_mean: float
    target_std: float

    @classmethod
    def of(cls, inputs: Float64, targets: Float64) -> "Scale":
        """That of these rows: (rows, features) and (rows,)."""
        spread = inputs.std(axis=0)
        return cls(inputs.mean(axis=0), np.where(spread > 0, spread, 1), targets.mean(), targets.std() or 1.0)

    def inputs(self, inputs: Float64) -> NDArray[np.float32]:
        """(rows, features) → the same, standardised."""
        return ((inputs - self.input_mean) / self.input_std).astype(np.float32)

    def targets(self, targets: Float64) -> NDArray[np.float32]:
        """(rows,) → (rows, 1), standardised."""
        return ((targets - self.target_mean) / self.target_std).astype(np.float32)[:, None]


def read_table(path: Path) -> Table:
    """A header, whose last name is y, and lines of finite numbers; raises TrainingError for anything else."""
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
