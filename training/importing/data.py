"""Rows with the truth about them, none of which the network learned from → the parts that publishing asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from service.runtime import Array
from training.data import Choices, Dataset, deal, load_data
from training.data.columns import Column
from training.data.split import equal_rows, strata
from training.data.targets import make_target
from training.errors import TrainingError
from training.importing.rows import UNREADABLE, read_npz, read_rows
from training.rows import Rows

TARGETS = "targets"
CUTS = (0.4, 0.8)
"""Shares of the rows: 0.4 to test, 0.4 to calibrate, the rest for the temperatures, which need few."""


@dataclass(frozen=True)
class Labelled:
    """Arrays (rows, …), one for each of the network's inputs, and what a data set says of the rows."""

    inputs: tuple[Array, ...]
    data: Dataset


@dataclass(frozen=True)
class Parts:
    test: Rows
    calibration: Rows
    validation: Rows

    @property
    def counts(self) -> dict[str, int]:
        parts = {"test": self.test, "calibration": self.calibration, "validation": self.validation}
        return {f"{name}_rows": len(np.asarray(part.targets)) for name, part in parts.items()}


def load_labelled(source: str, choices: Choices, inputs: Sequence[str]) -> Labelled:
    """What `train` reads, or an NPZ with an array for each of the network's inputs, by name, and `targets`.

    Raises TrainingError, also for texts among the columns: which numbers the network knows them by is not known.
    """
    path = Path(source)
    if path.suffix.lower() == ".npz" and path.exists() and {*inputs, TARGETS} <= set(_names(path)):
        return _by_input(path, choices, inputs)
    data = load_data(source, choices)
    if data.categories:
        names = ", ".join(data.categories)
        raise TrainingError(
            f"{data.name}: {names} hold texts, and which numbers the network knows them by is not in its file; give a"
            " table of numbers as the network takes them"
        )
    return Labelled((data.inputs,), data)


def with_labels(labelled: Labelled, labels: Sequence[str]) -> Labelled:
    """With classes numbered as `labels`, the network's, are; the data may name them, or number them from 0.

    Raises TrainingError for a class that is none of them.
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
    """Parts with no row in common; where the source sets its own test rows apart, of these alone.

    From the others the network may have learned. Raises TrainingError when there are too few.
    """
    data = labelled.data
    start = len(data.targets) - data.own_test_rows if data.own_test_rows else 0
    own = replace(data, inputs=data.inputs[start:], targets=data.targets[start:])
    dealt = deal(strata(own), CUTS, seed, equal_rows(own.inputs))
    if not all(map(len, dealt)):
        raise TrainingError(
            f"data: {data.name} has {len(own.targets)} rows to test and calibrate with, which is too few"
        )
    parts = [
        Rows(tuple(array[start:][rows] for array in labelled.inputs), data.targets[start:][rows]) for rows in dealt
    ]
    return Parts(*parts)


def _names(path: Path) -> Sequence[str]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return tuple(arrays.files)
    except (*UNREADABLE, OSError):
        return ()  # its own reader says why


def _by_input(path: Path, choices: Choices, names: Sequence[str]) -> Labelled:
    inputs = tuple(read_rows(path, names))
    targets, labels = _targets(path, read_npz(path)[TARGETS], choices)
    if len(targets) != len(inputs[0]):
        raise TrainingError(f"{path.name}: expected as many {TARGETS} as rows, {len(inputs[0])}; found {len(targets)}")
    flat = np.concatenate([array.reshape(len(array), -1) for array in inputs], axis=1)
    data = Dataset(path.name, flat.astype(np.float32), targets, features=(), labels=labels, one_unit=False)
    return Labelled(inputs, data)


def _targets(path: Path, targets: Array, choices: Choices) -> tuple[Any, tuple[str, ...]]:
    """Classes by number and their names, or values (rows, outputs) and none."""
    if targets.ndim == 2 and targets.shape[1] > 1:
        return targets.astype(np.float32), ()
    column = Column(TARGETS, targets.reshape(len(targets)), np.zeros(len(targets), dtype=bool))
    numbers, labels, _ = make_target(path.name, column, choices)
    return numbers, labels
