"""Rows that a network is calibrated and evaluated on, checked against the model."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from service.errors import InvalidInput
from service.inputs import check_inputs
from service.manifest import Manifest
from service.runtime import Array
from training.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that training did not learn from, and the truth about them."""

    inputs: tuple[ArrayLike, ...]
    """One array or tensor (rows, …) for each input of the network."""
    targets: ArrayLike
    """Numbers of classes (rows,); of a regression the values (rows, outputs)."""


def named_inputs(arrays: Sequence[ArrayLike], manifest: Manifest) -> dict[str, Array]:
    """By name, as the service would take them; raises InvalidInput."""
    if len(arrays) != len(manifest.inputs):
        raise InvalidInput(f"inputs: expected {len(manifest.inputs)} arrays, one an input; found {len(arrays)}")
    given = {spec.name: np.asarray(array) for spec, array in zip(manifest.inputs, arrays, strict=True)}
    return check_inputs(given, manifest, max_rows=sys.maxsize)


def check_rows(part: str, rows: Rows, manifest: Manifest) -> tuple[dict[str, Array], Array]:
    """Inputs by name and targets, of a part of the data; raises TrainingError naming the part and the field."""
    try:
        inputs = named_inputs(rows.inputs, manifest)
    except InvalidInput as error:
        raise TrainingError(f"{part}: {error.message}") from None
    targets, count = np.asarray(rows.targets), len(next(iter(inputs.values())))
    check = _check_values if manifest.task == "regression" else _check_classes
    if expected := check(targets, count, manifest.answers):
        raise TrainingError(f"{part}: targets: expected {expected}; found {targets.dtype} of shape {targets.shape}")
    return inputs, targets


def _check_classes(targets: Array, rows: int, classes: int) -> str | None:
    """What is expected instead."""
    fits = targets.shape == (rows,) and targets.dtype.kind in "iu" and targets.min() >= 0 and targets.max() < classes
    return None if fits else f"{rows} whole numbers from 0 to {classes - 1}"


def _check_values(targets: Array, rows: int, outputs: int) -> str | None:
    fits = targets.shape == (rows, outputs) and targets.dtype.kind in "iuf" and np.isfinite(targets).all()
    return None if fits else f"finite numbers of shape ({rows}, {outputs})"
