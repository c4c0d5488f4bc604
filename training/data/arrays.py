"""Make a data set of arrays of inputs and targets: the common step of NPZ, IDX and folders of images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.rows.column import Column
from training.data.choices import Choices
from training.data.dataset import Dataset, Floats, as_floats
from training.data.targets import make_target
from training.errors import TrainingError

CHANNELS = (1, 3)
"""Numbers of channels that an image may have."""


def make_array_dataset(
    name: str, inputs: NDArray[Any], targets: NDArray[Any], choices: Choices, own_test_rows: int = 0
) -> Dataset:
    """Return a data set of `inputs` and `targets`, one target a row.

    Inputs are rows of features (rows, features), or images (rows, height, width) with an axis of 1 or 3 channels before
    or after height and width. The last `own_test_rows` rows are the test part. Raises TrainingError.
    """
    if choices.target is not None or choices.ignore or choices.categorical:
        raise TrainingError(f"{name}: target, ignore and categorical name columns, and arrays have none")
    flat = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
    if flat.ndim != 1 or len(flat) != len(inputs) or not len(flat):
        raise TrainingError(
            f"{name}: expected as many targets as rows; found {targets.shape} for inputs {inputs.shape}"
        )
    if inputs.dtype.kind not in "iufb" or flat.dtype.kind not in "iufbU":
        raise TrainingError(f"{name}: expected numbers; found inputs of {inputs.dtype} and targets of {targets.dtype}")
    imputed = choices.missing == "median"
    if imputed and inputs.ndim != 2:
        raise TrainingError(f"{name}: missing: median is for rows of features, and these have shape {inputs.shape[1:]}")
    kept = ~_any_nan(flat[:, None]) if imputed else ~(_any_nan(inputs) | _any_nan(flat[:, None]))
    if not kept.all() and choices.missing == "refuse":
        raise TrainingError(
            f"{name}: {(~kept).sum()} of {len(kept)} rows have values that are not a number (NaN); leave such rows out"
            " with --missing drop" + ", or in training learn from them with --missing median" * (inputs.ndim == 2)
        )
    if not kept.any():
        raise TrainingError(f"{name}: no row is without NaN")
    numbers, labels, _ = make_target(name, Column("targets", flat[kept], np.zeros(kept.sum(), dtype=bool)), choices)
    rows = shaped(name, _no_infinity(name, inputs[kept]))
    image = rows.ndim == 4
    notes = () if kept.all() else (f"{(~kept).sum()} of {len(kept)} rows left out, where there is NaN",)
    return Dataset(
        name=name,
        inputs=rows,
        targets=numbers,
        features=() if image else tuple(f"x{i}" for i in range(rows.shape[1])),
        labels=labels,
        one_unit=image or inputs.dtype == np.uint8,
        imputed=imputed,
        own_test_rows=int(kept[len(kept) - own_test_rows :].sum()) if own_test_rows else 0,
        notes=notes,
        source_rows=np.flatnonzero(kept),
    )


def with_test_rows(
    name: str,
    inputs: NDArray[Any],
    targets: NDArray[Any],
    test_inputs: NDArray[Any],
    test_targets: NDArray[Any],
    choices: Choices,
) -> Dataset:
    """Return a data set whose last rows are its test part; raise TrainingError when the two do not fit together."""
    for what, part, of in (("inputs", inputs, test_inputs), ("targets", targets, test_targets)):
        if part.shape[1:] != of.shape[1:] or part.dtype != of.dtype or not part.ndim:
            raise TrainingError(
                f"{name}: the test rows' {what}, {of.dtype} {of.shape}, are not like the others,"
                f" {part.dtype} {part.shape}"
            )
    if len(test_inputs) != len(test_targets):
        raise TrainingError(f"{name}: there are {len(test_inputs)} test rows and {len(test_targets)} targets of them")
    both = np.concatenate([inputs, test_inputs]), np.concatenate([targets, test_targets])
    return make_array_dataset(name, *both, choices, own_test_rows=len(test_inputs))


def _any_nan(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether each row holds a NaN: (rows,)."""
    if array.dtype.kind != "f":
        return np.zeros(len(array), dtype=bool)
    return np.asarray(np.isnan(array).reshape(len(array), -1).any(axis=1))


def _no_infinity(name: str, inputs: NDArray[Any]) -> Floats:
    """Return the inputs as floating point numbers; raise TrainingError for infinite ones."""
    rows = as_floats(inputs)
    if np.isinf(rows).any():
        raise TrainingError(f"{name}: the inputs hold numbers that are infinite, or too large for 64 bits")
    return rows


def shaped(name: str, rows: Floats) -> Floats:
    """Return inputs as (rows, features) or (rows, channels, height, width); raise TrainingError for any other shape."""
    if rows.ndim == 2:
        return rows
    if rows.ndim == 3:
        return rows[:, None]
    if rows.ndim == 4 and rows.shape[1] in CHANNELS:
        return rows
    if rows.ndim == 4 and rows.shape[3] in CHANNELS:
        return np.ascontiguousarray(rows.transpose(0, 3, 1, 2))
    raise TrainingError(
        f"{name}: expected inputs (rows, features), (rows, height, width), or images with 1 or 3 channels; found"
        f" {rows.shape}"
    )
