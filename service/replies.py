"""Answers → JSON, written by orjson straight from the arrays. `service.schemas` says what each field means."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from service.engine import Prediction, Sampled
from service.manifest import Manifest
from service.runtime import Array
from service.uncertainty import RegressionUncertainty, Uncertainty


def encode_prediction(manifest: Manifest, prediction: Prediction) -> bytes:
    """As `schemas.Predictions` describes it."""
    return encode(_heading(manifest) | {"predictions": list(_answers(manifest, prediction))})


def encode_uncertainty(manifest: Manifest, sampled: Sampled) -> bytes:
    """As `schemas.Uncertainties` describes it."""
    rows = _spreads(manifest, sampled.uncertainty)
    answers = _answers(manifest, sampled.deterministic)
    predictions = [row | {"deterministic": answer} for row, answer in zip(rows, answers, strict=True)]
    asked = {"samples": sampled.passes, "seed": sampled.seed}
    return encode(_heading(manifest) | asked | {"predictions": predictions})


def encode(value: object) -> bytes:
    """JSON; NaN becomes null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _heading(manifest: Manifest) -> dict[str, Any]:
    heading: dict[str, Any] = {"model": manifest.name, "version": manifest.version}
    return heading | ({"labels": manifest.labels} if manifest.task == "classification" else {})


def _answers(manifest: Manifest, prediction: Prediction) -> Iterator[dict[str, Any]]:
    if manifest.task == "regression":
        return _rows(values=prediction.values)
    return _rows(
        label=_labels(manifest, prediction.values),
        probability=prediction.values.max(axis=-1).astype(np.float32),
        probabilities=prediction.values,
    )


def _spreads(manifest: Manifest, summary: Uncertainty) -> Iterator[dict[str, Any]]:
    if isinstance(summary, RegressionUncertainty):
        return _rows(
            mean=summary.mean,
            epistemic_std=summary.epistemic_std,
            aleatoric_std=summary.aleatoric_std,
            total_std=summary.total_std,
            standard_error=summary.standard_error,
        )
    return _rows(
        label=_labels(manifest, summary.mean),
        mean_probabilities=summary.mean,
        standard_deviation=summary.std,
        standard_error=summary.standard_error,
        predictive_entropy=summary.predictive_entropy,
        expected_entropy=summary.expected_entropy,
        mutual_information=summary.mutual_information,
        variation_ratio=summary.variation_ratio,
        votes=summary.votes,
    )


def _labels(manifest: Manifest, probabilities: Array) -> Array:
    names = np.array(manifest.labels, dtype=object)
    return np.asarray(names[probabilities.argmax(axis=-1)])


def _rows(**columns: Array) -> Iterator[dict[str, Any]]:
    """Columns (rows, …) → one object a row. Vectors are written in float32, the network's own precision."""
    cells = [_cells(column) for column in columns.values()]
    return (dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True))


def _cells(column: Array) -> list[Any]:
    if column.ndim > 1:
        return list(column.astype(np.float32) if column.dtype == np.float64 else column)
    if column.dtype == np.float32:  # kept as it is: as a Python float it would be written with the digits of a double
        return list(column)
    cells: list[Any] = column.tolist()
    return cells
