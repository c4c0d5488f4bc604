"""The column to learn: numbers of classes, or values."""

import numpy as np

from training.data.choices import Choices
from training.data.columns import SHOWN, Column, category_names, listed, to_float32
from training.data.dataset import ColumnSeen, Float32, Int64, Task
from training.errors import TrainingError

FEW = 20
"""Up to so many different whole numbers, each of them in five rows on average, are taken for classes."""
MAX_CLASSES = 1000


def make_target(where: str, column: Column, choices: Choices) -> tuple[Int64 | Float32, tuple[str, ...], ColumnSeen]:
    """Targets, names of classes (of a regression none), and what was seen; raises TrainingError."""
    different = np.unique(column.values)
    if len(different) < 2:
        raise TrainingError(f"{where}: target {column.name!r} is always {different[0]}, so there is nothing to learn")
    if infer_task(column, len(different), choices) == "regression":
        return _values(where, column)
    if column.values.dtype.kind == "f":
        if not (different == np.round(different)).all():
            raise TrainingError(f"{where}: target {column.name!r} holds numbers with a fraction; they are no classes")
        different = different.astype(np.int64)
    if len(different) > MAX_CLASSES or len(different) > len(column.values) / 2:
        raise TrainingError(
            f"{where}: target {column.name!r} has {len(different)} classes in {len(column.values)} rows, which is too"
            f" many; at most {MAX_CLASSES}, of two rows each on average, can be learned"
        )
    names = category_names(different)
    seen = ColumnSeen(column.name, "target", f"{len(names)} classes: {listed(names, SHOWN)}")
    return np.searchsorted(different, column.values).astype(np.int64), names, seen


def infer_task(column: Column, different: int, choices: Choices) -> Task:
    """As it was said; else classes for texts and few whole numbers, and a regression for all others."""
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
    values = to_float32(where, column, target=True)
    if values.min() == values.max():
        raise TrainingError(f"{where}: target {column.name!r} is always {values[0]:g} in 32-bit floating point")
    seen = ColumnSeen(column.name, "target", f"a regression: numbers from {values.min():g} to {values.max():g}")
    return values[:, None], (), seen
