"""Encode answers as JSON, written by orjson directly from the arrays; `service.api.schemas` documents each field."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from service.engine.answers import Prediction, Sampled
from service.engine.decisions import Decision, choose_quantile, half_widths, prediction_sets
from service.engine.inputs import Inputs
from service.engine.sampling import Sampling
from service.engine.uncertainty import Float64, RegressionUncertainty, Uncertainty
from service.model.manifest import Manifest
from service.model.runtime import Array

Columns = dict[str, Sequence[Any]]
"""Fields of an answer by name, each with one entry per row."""
Entry = dict[str, Any]
"""The fields of one row."""


class Heading:
    """The fields of an answer before `predictions`, as JSON."""

    def __init__(
        self,
        manifest: Manifest,
        sampling: Sampling | None = None,
        passes: int = 0,
        decision: Decision | None = None,
    ) -> None:
        """Describe the model, and with a sampling how it was sampled; `passes` is the largest number of a row."""
        fields: dict[str, Any] = {"model": manifest.name, "version": manifest.version}
        if manifest.task == "classification":
            fields["labels"] = manifest.labels
        if sampling:
            fields |= {"samples": passes, "seed": sampling.seed}
            if sampling.quantiles:
                fields["quantiles"] = sampling.quantiles
        if decision:
            fields["decided"] = decision.threshold.model_dump()
        self._json = encode(fields)[:-1]

    def encode(self, entries: Sequence[Entry]) -> bytes:
        """Return the JSON of an answer with these entries of `predictions`."""
        return b'%s,"predictions":%s}' % (self._json, encode(entries))


def prediction_entries(manifest: Manifest, prediction: Prediction, coverage: float | None = None) -> list[Entry]:
    """Return the `predictions` of a `schemas.PredictReply`.

    Raises InvalidInput for a coverage that the model does not have.
    """
    return _rows(answer_columns(manifest, prediction, coverage))


def uncertainty_entries(
    manifest: Manifest,
    sampling: Sampling,
    sampled: Sampled,
    coverage: float | None = None,
    decision: Decision | None = None,
) -> list[Entry]:
    """Return the `predictions` of a `schemas.UncertaintyReply`.

    Raises InvalidInput for a coverage that the model does not have.
    """
    columns = sampled_columns(manifest, sampling, sampled, decision)
    columns["deterministic"] = prediction_entries(manifest, sampled.deterministic, coverage)
    return _rows(columns)


def encode_prediction(manifest: Manifest, prediction: Prediction, coverage: float | None = None) -> bytes:
    """Return the JSON of a `schemas.PredictReply`. Raises InvalidInput for a coverage that the model does not have."""
    return Heading(manifest).encode(prediction_entries(manifest, prediction, coverage))


def encode_uncertainty(
    manifest: Manifest,
    sampling: Sampling,
    sampled: Sampled,
    coverage: float | None = None,
    decision: Decision | None = None,
) -> bytes:
    """Return the JSON of a `schemas.UncertaintyReply`.

    Raises InvalidInput for a coverage that the model does not have.
    """
    heading = Heading(manifest, sampling, sampled.most_passes, decision)
    return heading.encode(uncertainty_entries(manifest, sampling, sampled, coverage, decision))


def encode_examples(manifest: Manifest, inputs: Inputs) -> bytes:
    """Return the JSON of `schemas.Examples`."""
    return encode({"model": manifest.name, "version": manifest.version, "inputs": as_sent(inputs, manifest)})


def answer_rows(
    manifest: Manifest, prediction: Prediction, uncertainty: Uncertainty | None = None
) -> list[dict[str, Any]]:
    """Return the entries of `predictions` without optional fields."""
    answers = _rows(answer_columns(manifest, prediction, None))
    if uncertainty is None:
        return answers
    return _rows({**spread_columns(manifest, uncertainty), "deterministic": answers})


def sent_rows(inputs: Inputs, manifest: Manifest) -> Sequence[Any]:
    """Return each row as in a request's JSON, for `encode`; with several inputs, each row is an object of them."""
    if manifest.categorical:
        return manifest.categorical.to_names(inputs[manifest.inputs[0].name])
    if len(inputs) == 1:
        return list(inputs[manifest.inputs[0].name])
    return [dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)]


def as_sent(inputs: Inputs, manifest: Manifest) -> Any:
    """Return rows as in a request's JSON: a list, or an object of lists for several inputs; categories by name."""
    arrays = {name: _shortest(array) for name, array in inputs.items()}
    if manifest.categorical:
        return manifest.categorical.to_names(arrays[manifest.inputs[0].name])
    rows = {name: array.tolist() for name, array in arrays.items()}
    return rows if len(rows) > 1 else next(iter(rows.values()))


def encode(value: object) -> bytes:
    """Return the JSON of a value; NaN becomes null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def answer_columns(manifest: Manifest, prediction: Prediction, coverage: float | None = None) -> Columns:
    """Return the fields of the deterministic answer. Raises InvalidInput for a coverage that the model lacks."""
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
        "probability": list(np.maximum.reduce(singles, axis=-1)),
        "probabilities": list(singles),
    }
    if quantile:
        members = prediction_sets(values, quantile)
        columns["prediction_set"] = [[manifest.labels[i] for i in np.flatnonzero(row)] for row in members]
    return columns


def sampled_columns(
    manifest: Manifest, sampling: Sampling, sampled: Sampled, decision: Decision | None = None
) -> Columns:
    """Return the fields of the thinned networks' answer, the deterministic one aside."""
    columns = spread_columns(manifest, sampled.uncertainty)
    if sampling.stop:
        columns["samples"] = sampled.passes.tolist()
        columns["stopped"] = sampled.stopped
    if sampling.quantiles:
        columns["quantiles"] = [list(map(_single, rows)) for rows in sampled.quantiles]
    if sampling.keep_samples:
        columns["sampled"] = [list(map(_single, values)) for values in sampled.values]
    if decision:
        columns["decision"] = ["accept" if accepted else "refer" for accepted in decision.accepted.tolist()]
    return columns


def flat_columns(
    manifest: Manifest,
    sampling: Sampling,
    sampled: Sampled,
    decision: Decision | None = None,
    coverage: float | None = None,
) -> Columns:
    """Return the fields of an answer to `/uncertainty` for a table: those of the deterministic one by their path."""
    deterministic = answer_columns(manifest, sampled.deterministic, coverage)
    nested = {f"deterministic.{name}": values for name, values in deterministic.items()}
    return sampled_columns(manifest, sampling, sampled, decision) | nested


def spread_columns(manifest: Manifest, summary: Uncertainty) -> Columns:
    """Return the fields that summarise the samples."""
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


def labels(manifest: Manifest, probabilities: Float64) -> list[str]:
    """Return the label of the most probable class of each row, from probabilities (rows, classes)."""
    return [manifest.labels[i] for i in probabilities.argmax(axis=-1).tolist()]


def _rows(columns: Columns) -> list[Entry]:
    """Return one object per row."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _vectors(array: Float64) -> list[Array]:
    """Return a list of one vector per row."""
    return list(_single(array))


def _shortest(array: Array) -> Array:
    """Return the float64 values with the shortest decimal form of float32 ones: 0.3, not 0.30000001192092896."""
    return array.astype(str).astype(np.float64) if array.dtype == np.float32 else array


def _single(array: Float64) -> Array:
    """Return the array in float32, the network's own precision, which halves the digits of the JSON."""
    return array.astype(np.float32)
