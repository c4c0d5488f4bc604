"""The outputs of a model: those of the deterministic answer, and those of the samples.

Numbers that `/uncertainty` returns in float32 are FP32 here, its doubles are FP64: the same numbers bit for bit.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np

from service.api.replies import labels
from service.engine.answers import Prediction, Sampled
from service.engine.uncertainty import Float64
from service.errors import InvalidInput
from service.inference import Answer
from service.model.manifest import Manifest
from service.model.runtime import Array
from service.oip.datatypes import BYTES, DTYPES
from service.oip.messages import RequestedOutput

Axis = Literal["passes", "outputs"]
Rows = Array | tuple[Array, ...]
"""The values of an output for each row."""


class Output(NamedTuple):
    """An output: its datatype, the axes of a row's values, and the source of the values."""

    datatype: str
    shape: tuple[Axis, ...]
    of_prediction: Callable[[Prediction], Array] | None = None
    of_sampled: Callable[[Sampled], Rows] | None = None
    labelled: bool = False
    """Whether the values are probabilities, of which the output is the label of the greatest."""


def _spread(name: str, datatype: str, *shape: Axis) -> Output:
    """Return an output that is a field of the summary of the samples."""

    def read(sampled: Sampled) -> Array:
        return np.asarray(getattr(sampled.uncertainty, name))

    return Output(datatype, shape, of_sampled=read)


def _values(prediction: Prediction) -> Float64:
    return prediction.values


def _samples(sampled: Sampled) -> tuple[Float64, ...]:
    """Return the values of each sample, (passes, outputs), of each row, which need not be as many."""
    return sampled.values


SAMPLING = {
    "samples": Output("FP32", ("passes", "outputs"), of_sampled=_samples),
    "passes": Output("INT64", (), of_sampled=lambda sampled: sampled.passes),
    "stopped": Output(BYTES, (), of_sampled=lambda sampled: np.array(sampled.stopped, dtype=object)),
}

CLASSIFICATION = {
    "label": Output(BYTES, (), of_prediction=_values, labelled=True),
    "probabilities": Output("FP32", ("outputs",), of_prediction=_values),
    "sampled_label": _spread("mean", BYTES)._replace(labelled=True),
    "mean_probabilities": _spread("mean", "FP32", "outputs"),
    "standard_deviation": _spread("std", "FP32", "outputs"),
    "standard_error": _spread("standard_error", "FP32", "outputs"),
    "predictive_entropy": _spread("predictive_entropy", "FP64"),
    "expected_entropy": _spread("expected_entropy", "FP64"),
    "mutual_information": _spread("mutual_information", "FP64"),
    "variation_ratio": _spread("variation_ratio", "FP64"),
    "votes": _spread("votes", "INT64", "outputs"),
    **SAMPLING,
}

REGRESSION = {
    "values": Output("FP32", ("outputs",), of_prediction=_values),
    "mean": _spread("mean", "FP32", "outputs"),
    "epistemic_std": _spread("epistemic_std", "FP32", "outputs"),
    "aleatoric_std": _spread("aleatoric_std", "FP32", "outputs"),
    "total_std": _spread("total_std", "FP32", "outputs"),
    "standard_error": _spread("standard_error", "FP32", "outputs"),
    **SAMPLING,
}

NOISY_REGRESSION = {
    **REGRESSION,
    "noise_std": Output("FP32", ("outputs",), of_prediction=lambda prediction: np.asarray(prediction.noise_std)),
}
"""The outputs of a regression with learned noise."""


def outputs_of(manifest: Manifest) -> Mapping[str, Output]:
    """Return all outputs of a model, by name."""
    return _outputs_of(manifest.task, manifest.noise_is_learned)


def _outputs_of(task: str, noise_is_learned: bool) -> Mapping[str, Output]:
    if noise_is_learned:
        return NOISY_REGRESSION
    return CLASSIFICATION if task == "classification" else REGRESSION


class Chosen(NamedTuple):
    """The outputs of a reply, in that order."""

    outputs: tuple[RequestedOutput, ...]
    sampled: bool
    """Whether any of them needs samples."""


def choose_outputs(requested: tuple[RequestedOutput, ...], binary: bool, manifest: Manifest) -> Chosen:
    """Return the requested outputs, or else the deterministic ones. Raises InvalidInput for an unknown name."""
    return _choose(requested, binary, manifest.task, manifest.noise_is_learned)


@lru_cache
def _choose(requested: tuple[RequestedOutput, ...], binary: bool, task: str, noise_is_learned: bool) -> Chosen:
    known = _outputs_of(task, noise_is_learned)
    for name, _ in requested:
        if name not in known:
            message = f"outputs.{name[:100]}: the model has no such output; it has {', '.join(known)}"
            raise InvalidInput(message, field=f"outputs.{name[:100]}", expected=list(known))
    names = [name for name, output in known.items() if output.of_prediction]
    outputs = requested or tuple([RequestedOutput(name, binary) for name in names])
    return Chosen(outputs, any(known[output.name].of_sampled for output in outputs))


class Column(NamedTuple):
    """An output for all rows of a run."""

    name: str
    datatype: str
    values: Rows
    binary: bool

    def take(self, rows: slice) -> Array:
        """Return the values of these rows, those of one request; for BYTES an array of str objects."""
        return np.asarray(self.values[rows])


def read_outputs(answer: Answer, chosen: Chosen) -> list[Column]:
    """Return the chosen outputs for all rows of a run, computed once for its requests."""
    return answer.share(chosen, lambda: [_read_output(answer, output) for output in chosen.outputs])


def _read_output(answer: Answer, requested: RequestedOutput) -> Column:
    manifest = answer.request.engine.manifest
    output = outputs_of(manifest)[requested.name]
    values: Any = output.of_prediction(answer.prediction) if output.of_prediction else _of_sampled(output, answer)
    if output.labelled:
        values = np.array(labels(manifest, values), dtype=object)
    elif output.datatype != BYTES:
        dtype = DTYPES[output.datatype]
        values = (
            tuple([of_row.astype(dtype) for of_row in values]) if isinstance(values, tuple) else values.astype(dtype)
        )
    return Column(requested.name, output.datatype, values, requested.binary)


def _of_sampled(output: Output, answer: Answer) -> Rows:
    assert output.of_sampled
    assert answer.sampled
    return output.of_sampled(answer.sampled)
