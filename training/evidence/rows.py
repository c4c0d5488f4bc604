"""Rows that a network is calibrated and evaluated on, checked against the model."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from service.errors import InvalidInput
from service.model.manifest import Manifest
from service.model.runtime import Array
from service.rows.inputs import check_inputs, field_name
from training.errors import TrainingError
from training.evidence.metrics import Float64, Int64


@dataclass(frozen=True, slots=True, init=False)
class Rows:
    """Inputs that training did not use, and their targets."""

    inputs: tuple[ArrayLike, ...]
    """One array or tensor (rows, …) for each input of the network."""
    targets: ArrayLike
    """Class numbers (rows,), or a regression's values (rows, outputs), also (rows,) for one output."""

    def __init__(self, inputs: ArrayLike | tuple[ArrayLike, ...], targets: ArrayLike) -> None:
        """Take a tuple of arrays, one an input; a lone array, or lists of numbers, are the rows of the only input."""
        object.__setattr__(self, "inputs", one_an_input(inputs))
        object.__setattr__(self, "targets", targets)


def one_an_input(inputs: Any) -> tuple[ArrayLike, ...]:
    """Return one array an input; a value that is neither a tuple nor a list of arrays is that of the only input."""
    arrays = isinstance(inputs, list) and all(hasattr(each, "shape") for each in inputs)
    return tuple(inputs) if arrays or isinstance(inputs, tuple) else (inputs,)


def named_inputs(arrays: Sequence[ArrayLike], manifest: Manifest) -> dict[str, Array]:
    """Return the arrays by input name, as the service takes them; raise InvalidInput."""
    if len(arrays) != len(manifest.inputs):
        raise InvalidInput(f"inputs: expected {len(manifest.inputs)} arrays, one an input; found {len(arrays)}")
    given = {
        spec.name: _array(array, field_name(spec, manifest))
        for spec, array in zip(manifest.inputs, arrays, strict=True)
    }
    return check_inputs(given, manifest, max_rows=sys.maxsize)


def _array(rows: ArrayLike, field: str) -> Array:
    try:
        return np.asarray(rows)
    except ValueError:
        raise InvalidInput(f"{field}: expected rows of as many numbers each", field=field) from None


def check_rows(part: str, rows: Rows, manifest: Manifest) -> tuple[dict[str, Array], Array]:
    """Return inputs by name, and targets, of a part of the data; raise TrainingError naming the part and the field."""
    if not isinstance(rows, Rows):
        raise TrainingError(f"{part}: expected Rows(inputs, targets); found a {type(rows).__name__}")
    try:
        inputs = named_inputs(rows.inputs, manifest)
    except InvalidInput as error:
        raise TrainingError(f"{part}: {error.message}") from None
    targets, count = np.asarray(rows.targets), len(next(iter(inputs.values())))
    if manifest.task == "regression" and manifest.answers == 1 and targets.shape == (count,):
        targets = targets[:, None]
    check = _check_values if manifest.task == "regression" else _check_classes
    if expected := check(targets, count, manifest.answers):
        raise TrainingError(f"{part}: targets: expected {expected}; found {targets.dtype} of shape {targets.shape}")
    return inputs, targets


def _check_classes(targets: Array, rows: int, classes: int) -> str | None:
    """Return the expectation that the targets miss, if any."""
    fits = targets.shape == (rows,) and targets.dtype.kind in "iu" and targets.min() >= 0 and targets.max() < classes
    return None if fits else f"{rows} whole numbers from 0 to {classes - 1}"


def _check_values(targets: Array, rows: int, outputs: int) -> str | None:
    """Return the expectation that the targets miss, if any."""
    fits = targets.shape == (rows, outputs) and targets.dtype.kind in "iuf" and np.isfinite(targets).all()
    return None if fits else f"finite numbers of shape ({rows}, {outputs})"


def row_weights(manifest: Manifest, targets: Int64) -> Float64 | None:
    """Return the weight of each row (rows,), that of its class; None without class weights."""
    return np.array(manifest.class_weights)[targets] if manifest.class_weights else None
