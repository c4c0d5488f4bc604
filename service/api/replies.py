"""Answers → JSON, written by orjson straight from the arrays. `service.api.schemas` says what each field means."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import orjson

from service.api.requests import UncertaintyRequest
from service.engine.answers import Prediction, Sampled
from service.engine.decisions import Decision, choose_quantile, half_widths, prediction_sets
from service.engine.sampling import Sampling
from service.engine.steps import Inputs
from service.engine.uncertainty import Float64, RegressionUncertainty, Uncertainty
from service.model.manifest import Manifest
from service.model.runtime import Array

Columns = dict[str, Sequence[Any]]
"""Fields of an answer, each with one entry a row."""


def encode_prediction(manifest: Manifest, prediction: Prediction, coverage: float | None = None) -> bytes:
    """As `schemas.PredictReply` describes it; raises InvalidInput for a coverage that the model has not."""
    return encode({**_heading(manifest), "predictions": _rows(answer_columns(manifest, prediction, coverage))})


PLAIN = UncertaintyRequest(inputs=msgspec.Raw())
"""Asks for nothing beside the usual."""


def encode_uncertainty(
    manifest: Manifest,
    sampling: Sampling,
    sampled: Sampled,
    request: UncertaintyRequest = PLAIN,
    decision: Decision | None = None,
) -> bytes:
    """As `schemas.UncertaintyReply` describes it; raises InvalidInput for a coverage that the model has not."""
    columns = spread_columns(manifest, sampled.uncertainty)
    heading = _heading(manifest)
    passes = sampled.passes.tolist()
    heading["samples"] = max(passes)
    heading["seed"] = sampling.seed
    if sampling.stop:
        columns["samples"] = passes
        columns["stopped"] = sampled.stopped
    if request.quantiles:
        columns["quantiles"] = [list(map(_single, rows)) for rows in sampled.quantiles]
        heading["quantiles"] = request.quantiles
    if request.return_samples:
        columns["sampled"] = [list(map(_single, values)) for values in sampled.values]
    if decision:
        columns["decision"] = decision_column(decision)
        heading["decided"] = decision.threshold.model_dump()
    columns["deterministic"] = _rows(answer_columns(manifest, sampled.deterministic, request.coverage))
    heading["predictions"] = _rows(columns)
    return encode(heading)


def encode_examples(manifest: Manifest, inputs: Inputs) -> bytes:
    """As `schemas.Examples` describes it."""
    return encode({"model": manifest.name, "version": manifest.version, "inputs": as_sent(inputs, manifest)})


def answer_rows(
    manifest: Manifest, prediction: Prediction, uncertainty: Uncertainty | None = None
) -> list[dict[str, Any]]:
    """The entries of `predictions`, without what only some requests ask for."""
    answers = _rows(answer_columns(manifest, prediction, None))
    if uncertainty is None:
        return answers
    return _rows({**spread_columns(manifest, uncertainty), "deterministic": answers})


def sent_rows(inputs: Inputs, manifest: Manifest) -> Sequence[Any]:
    """Each row as a caller writes it: what `encode` takes; of several inputs, an object of them."""
    if manifest.categorical:
        return manifest.categorical.to_names(inputs[manifest.inputs[0].name])
    if len(inputs) == 1:
        return list(inputs[manifest.inputs[0].name])
    return [dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)]


def as_sent(inputs: Inputs, manifest: Manifest) -> Any:
    """Rows as callers write them: a list, or one for each of several inputs; categories by name."""
    arrays = {name: _shortest(array) for name, array in inputs.items()}
    if manifest.categorical:
        return manifest.categorical.to_names(arrays[manifest.inputs[0].name])
    rows = {name: array.tolist() for name, array in arrays.items()}
    return rows if len(rows) > 1 else next(iter(rows.values()))


def encode(value: object) -> bytes:
    """JSON; NaN becomes null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _heading(manifest: Manifest) -> dict[str, Any]:
    heading: dict[str, Any] = {"model": manifest.name, "version": manifest.version}
    if manifest.task == "classification":
        heading["labels"] = manifest.labels
    return heading


def answer_columns(manifest: Manifest, prediction: Prediction, coverage: float | None = None) -> Columns:
    """The deterministic answer; raises InvalidInput for a coverage that the model has not."""
    values = prediction.values
    singles = _single(values)
    quantile = None if coverage is None else choose_quantile(manifest, coverage)
    if manifest.task == "regression":
        columns: Columns = {"values": list(singles)}
        if prediction.noise_std is not None:
            columns["noise_std"] = _vectors(prediction.noise_std)
        if quantile:
            half_width = half_widths(values, prediction.noise_std, quantile)
            columns["interval"] = list(np.stack([values - half_width, values + half_width], axis=-1))
        return columns
    best = values.argmax(axis=-1)
    columns = {
        "label": [manifest.labels[i] for i in best.tolist()],
        "probability": list(singles[np.arange(len(best)), best]),
        "probabilities": list(singles),
    }
    if quantile:
        members = prediction_sets(values, quantile)
        columns["prediction_set"] = [[manifest.labels[i] for i in np.flatnonzero(row)] for row in members]
    return columns


def spread_columns(manifest: Manifest, summary: Uncertainty) -> Columns:
    """What the thinned networks say."""
    if isinstance(summary, RegressionUncertainty):
        return {
            "mean": _vectors(summary.mean),
            "epistemic_std": _vectors(summary.epistemic_std),
            "aleatoric_std": _vectors(summary.aleatoric_std),
            "total_std": _vectors(summary.total_std),
            "standard_error": _vectors(summary.standard_error),
        }
    return {
        "label": labels(manifest, summary.mean),
        "mean_probabilities": _vectors(summary.mean),
        "standard_deviation": _vectors(summary.std),
        "standard_error": _vectors(summary.standard_error),
        "predictive_entropy": summary.predictive_entropy.tolist(),
        "expected_entropy": summary.expected_entropy.tolist(),
        "mutual_information": summary.mutual_information.tolist(),
        "variation_ratio": summary.variation_ratio.tolist(),
        "votes": list(summary.votes),
    }


def decision_column(decision: Decision) -> list[str]:
    """What to do with each answer."""
    return ["accept" if accepted else "refer" for accepted in decision.accepted.tolist()]


def labels(manifest: Manifest, probabilities: Float64) -> list[str]:
    """The most probable class of each row."""
    return [manifest.labels[i] for i in probabilities.argmax(axis=-1).tolist()]


def _rows(columns: Columns) -> list[dict[str, Any]]:
    """Columns → one object a row."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _vectors(array: Float64) -> list[Array]:
    """A vector a row."""
    return list(_single(array))


def _shortest(array: Array) -> Array:
    """With as few digits as tell numbers of this type apart: 0.3 in float32 is not 0.30000001192092896."""
    return array.astype(str).astype(np.float64) if array.dtype == np.float32 else array


def _single(array: Float64) -> Array:
    """In float32: the network's own precision, and half the digits."""
    return array.astype(np.float32)
