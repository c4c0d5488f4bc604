"""Read the target column as class numbers or values."""

import numpy as np
from numpy.typing import NDArray

from service.rows.column import Column
from training.data.choices import Choices
from training.data.columns import SHOWN, category_names, finite, listed, merged, span
from training.data.dataset import ColumnSeen, Float32, Int64, Task
from training.errors import TrainingError

FEW = 20
"""The largest number of different whole numbers that are taken for classes, each in five rows on average."""
MAX_CLASSES = 1000
ROUNDED = 1e-4
"""The largest rounding error of a target, as a share of its range."""


def make_target(where: str, column: Column, choices: Choices) -> tuple[Int64 | Float32, tuple[str, ...], ColumnSeen]:
    """Return the targets, the names of the classes (empty for a regression) and a summary; raise TrainingError."""
    different = np.unique(column.values)
    if column.merged:
        raise merged(where, column, target=True)
    if len(different) < 2:
        raise TrainingError(f"{where}: target {column.name!r} is always {different[0]}, so there is nothing to learn")
    if infer_task(column, len(different), choices) == "regression":
        return _values(where, column)
    if column.values.dtype.kind == "f" and not (different == np.round(different)).all():
        raise TrainingError(f"{where}: target {column.name!r} holds numbers with a fraction, which cannot be classes")
    if len(different) > MAX_CLASSES or len(different) > len(column.values) / 2:
        raise TrainingError(
            f"{where}: target {column.name!r} has {len(different)} classes in {len(column.values)} rows, which is too"
            f" many; at most {MAX_CLASSES}, of two rows each on average, can be learned"
        )
    names = category_names(different)
    seen = ColumnSeen(column.name, "target", f"{len(names)} classes: {listed(names, SHOWN)}")
    return np.searchsorted(different, column.values).astype(np.int64), names, seen


def infer_task(column: Column, different: int, choices: Choices) -> Task:
    """Return the task chosen; else classification for texts and few whole numbers, and regression for any other."""
    if choices.task != "auto":
        return choices.task
    whole = not column.text and bool((column.values == np.round(column.values)).all())
    few = different <= FEW and len(column.values) >= 5 * different
    return "classification" if column.text or (whole and few) else "regression"


def _values(where: str, column: Column) -> tuple[Float32, tuple[str, ...], ColumnSeen]:
    if column.text:
        raise TrainingError(
            f"{where}: target {column.name!r} holds text, as {column.values[0]!r}; a regression needs numbers"
        )
    numbers = finite(where, column, target=True).astype(np.float64)
    with np.errstate(over="ignore"):
        values = numbers.astype(np.float32)
    _check_rounding(where, column.name, numbers, values)
    seen = ColumnSeen(column.name, "target", f"a regression: numbers {span(values)}")
    return values[:, None], (), seen


def _check_rounding(where: str, name: str, numbers: NDArray[np.float64], values: Float32) -> None:
    """Raise TrainingError for a target that 32-bit answers cannot express."""
    if not np.isfinite(values).all():
        largest = numbers[np.abs(numbers).argmax()]
        raise TrainingError(
            f"{where}: target {name!r} holds {largest:g}, which 32-bit answers cannot hold; use another unit, or the"
            " logarithm"
        )
    middle = numbers.min() / 2 + numbers.max() / 2
    off, extent = np.abs(numbers - values).max(), 2 * np.abs(numbers - middle).max()
    if off > ROUNDED * extent:
        raise TrainingError(
            f"{where}: target {name!r} holds numbers {span(numbers)}, which 32-bit answers"
            f" round by up to {off:.2g}; subtract a constant from them, or use another unit"
        )
