"""Labelled rows that the network was not trained on, split into the parts for publishing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from service.model.runtime import Array
from service.rows.column import Column
from service.rows.formats import format_of_name
from training.data import Choices, Dataset, Int64, deal, load_data
from training.data.dataset import as_floats
from training.data.npz import named_arrays
from training.data.ood import read_ood
from training.data.split import equal_rows, strata
from training.data.targets import make_target
from training.errors import TrainingError
from training.evidence.rows import Rows
from training.importing.rows import check_finite, open_rows, read_rows

TARGETS = "targets"
"""The name of the array of targets in an NPZ."""
CUTS = (0.4, 0.8)
"""Shares of the rows: 0.4 to test, 0.4 to calibrate, the rest for the temperatures, which need few."""


@dataclass(frozen=True)
class Labelled:
    """Arrays (rows, …), one for each of the network's inputs, and the data set of the rows."""

    inputs: tuple[Array, ...]
    data: Dataset


@dataclass(frozen=True)
class Parts:
    """Parts of the data for publishing."""

    test: Rows
    calibration: Rows
    validation: Rows
    left_out: int = 0
    """The number of rows of the source's own test part that equal one of its training part."""

    @property
    def counts(self) -> dict[str, int]:
        """The number of rows of each part, by its name in the manifest."""
        parts = {"test": self.test, "calibration": self.calibration, "validation": self.validation}
        return {f"{name}_rows": len(np.asarray(part.targets)) for name, part in parts.items()}


def load_labelled(source: str, choices: Choices, inputs: Sequence[str]) -> Labelled:
    """Return the data that `train` reads, or an NPZ with an array for each of the network's inputs, by name, and
    `targets`.

    Raises TrainingError, also for text columns: the file does not state the network's numbers of their values.
    """
    path = Path(source)
    if path.exists() and {*inputs, TARGETS} <= set(_names(path)):
        return _by_input(path, choices, inputs)
    data = load_data(source, choices)
    if data.categories:
        names = ", ".join(data.categories)
        raise TrainingError(
            f"{data.name}: {names} hold texts, whose numbers for the network are not in its file; use a table of"
            " numbers that the network accepts"
        )
    return Labelled((data.inputs,), data)


def with_labels(labelled: Labelled, labels: Sequence[str]) -> Labelled:
    """Return the rows with classes numbered as in `labels`, the network's; the data may name them, or number them from
    0.

    Raises TrainingError for an unknown class.
    """
    data = labelled.data
    by_name = {label: number for number, label in enumerate(labels)}
    by_number = {str(number): number for number in range(len(labels))}
    known = by_name if any(label in by_name for label in data.labels) else by_number
    if unknown := [label for label in data.labels if label not in known]:
        raise TrainingError(
            f"{data.name}: has a class {unknown[0]!r}; expected {', '.join(labels)}, or their numbers from 0"
        )
    numbers = np.array([known[label] for label in data.labels], dtype=np.int64)
    return replace(labelled, data=replace(data, targets=numbers[data.targets.astype(np.int64)], labels=tuple(labels)))


def split_labelled(labelled: Labelled, seed: int) -> Parts:
    """Return parts with no row in common; where the source sets its own test rows apart, of these alone.

    The network may have learned from the source's other rows, so that rows equal to one of them are left out. Raises
    TrainingError when too few are left.
    """
    data, groups = labelled.data, equal_rows(labelled.data.inputs)
    start = len(groups) - data.own_test_rows if data.own_test_rows else 0
    kept = start + np.flatnonzero(~np.isin(groups[start:], groups[:start]))
    dealt = deal(strata(replace(data, targets=data.targets[kept])), CUTS, seed, groups[kept]) if len(kept) else [kept]
    if not all(map(len, dealt)):
        raise TrainingError(f"data: {data.name} has {len(kept)} rows to test and calibrate with, which is too few")
    test, calibration, validation = (_rows(labelled, kept[rows]) for rows in dealt)
    return Parts(test, calibration, validation, left_out=len(groups) - start - len(kept))


def _rows(labelled: Labelled, rows: Int64) -> Rows:
    return Rows(tuple(array[rows] for array in labelled.inputs), labelled.data.targets[rows])


def load_others(source: str, labelled: Labelled, inputs: Sequence[str]) -> tuple[Array, ...]:
    """Return OOD rows, one array an input, from any data that `train` reads, or arrays by the names of the inputs.

    Raises TrainingError.
    """
    path = Path(source)
    if set(inputs) <= set(_names(path)):
        return tuple(read_rows(path, inputs))
    if len(inputs) > 1:
        raise TrainingError(f"others: {source}: expected an .npz with arrays {', '.join(inputs)}, the network's inputs")
    return (read_ood(source, labelled.data),)


def _names(path: Path) -> Sequence[str]:
    """Return the names of the arrays of an NPZ file."""
    if format_of_name(path.name) != "npz" or not path.is_file():
        return ()
    return tuple(named_arrays(open_rows(path)))


def _by_input(path: Path, choices: Choices, names: Sequence[str]) -> Labelled:
    inputs = tuple(read_rows(path, names))
    given = named_arrays(open_rows(path))[TARGETS]
    _check_targets(path, given, len(inputs[0]), choices)
    targets, labels = _targets(path, given, choices)
    flat = [array.reshape(len(array), -1) for array in inputs]
    rows = inputs[0] if len(inputs) == 1 else np.concatenate(flat, axis=1)
    data = Dataset(path.name, as_floats(rows), targets, features=(), labels=labels, one_unit=False)
    return Labelled(inputs, data)


def _check_targets(path: Path, targets: Array, rows: int, choices: Choices) -> None:
    shapes = f"{rows} classes, of shape ({rows},), or values, ({rows}, outputs)"
    if targets.ndim not in (1, 2) or len(targets) != rows or targets.dtype.kind not in "biufU":
        raise TrainingError(
            f"{path.name}: {TARGETS}: expected {shapes}; found {targets.dtype} of shape {targets.shape}"
        )
    if targets.dtype.kind == "f":
        check_finite(path, TARGETS, targets)
    classes = choices.task == "classification" or (choices.task == "auto" and _one_hot(targets))
    if targets.ndim == 2 and targets.shape[1] > 1 and classes:
        raise TrainingError(
            f"{path.name}: {TARGETS}: expected the class of each row, of shape ({rows},); found shape {targets.shape}:"
            " use the argmax of one column a class, and for values --task regression"
        )


def _one_hot(targets: Array) -> bool:
    """Return whether each row has a single 1 and otherwise 0."""
    numbers = targets.ndim == 2 and targets.dtype.kind != "U"
    return numbers and bool(np.isin(targets, (0, 1)).all() and (targets.sum(axis=1) == 1).all())


def _targets(path: Path, targets: Array, choices: Choices) -> tuple[Any, tuple[str, ...]]:
    """Return class numbers and their names, or values (rows, outputs) and no names."""
    if targets.ndim == 2 and targets.shape[1] != 1:
        return targets.astype(np.float32), ()
    column = Column(TARGETS, targets.reshape(len(targets)), np.zeros(len(targets), dtype=bool))
    numbers, labels, _ = make_target(path.name, column, choices)
    return numbers, labels
