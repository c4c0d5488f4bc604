"""The outputs of a model: those of the deterministic answer, and those of the samples.

Numbers that `/uncertainty` returns in float32 are FP32 here, its doubles are FP64: the same numbers bit for bit.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np

from service.api.replies import labels
from service.engine.answers import Prediction, Sampled
from service.engine.uncertainty import Float64
from service.errors import InvalidInput
from service.model.manifest import Manifest
from service.model.runtime import Array
from service.oip.datatypes import BYTES, DTYPES
from service.oip.messages import OutputTensor, RequestedOutput

Axis = Literal["passes", "outputs"]


class Output(NamedTuple):
    """An output: its datatype, the axes of a row's values, and the source of the values."""

    datatype: str
    shape: tuple[Axis, ...]
    of_prediction: Callable[[Prediction], Array] | None = None
    of_sampled: Callable[[Sampled], Array] | None = None
    labelled: bool = False
    """Whether the values are probabilities, of which the output is the label of the greatest."""


def _spread(name: str, datatype: str, *shape: Axis) -> Output:
    """Return an output that is a field of the summary of the samples."""

    def read(sampled: Sampled) -> Array:
        return np.asarray(getattr(sampled.uncertainty, name))

    return Output(datatype, shape, of_sampled=read)


def _values(prediction: Prediction) -> Float64:
    return prediction.values


def _samples(sampled: Sampled) -> Float64:
    """Return the values of each sample of each row: (rows, passes, outputs)."""
    return np.stack(sampled.values)


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
    if manifest.noise_is_learned:
        return NOISY_REGRESSION
    return CLASSIFICATION if manifest.task == "classification" else REGRESSION


def choose_outputs(requested: Iterable[RequestedOutput], binary: bool, manifest: Manifest) -> list[RequestedOutput]:
    """Return the requested outputs, or else the deterministic ones. Raises InvalidInput for an unknown name."""
    known = outputs_of(manifest)
    chosen = list(requested)
    for name, _ in chosen:
        if name not in known:
            message = f"outputs.{name[:100]}: the model has no such output; it has {', '.join(known)}"
            raise InvalidInput(message, field=f"outputs.{name[:100]}", expected=list(known))
    return chosen or [RequestedOutput(name, binary) for name, output in known.items() if output.of_prediction]


def needs_sampling(chosen: Iterable[RequestedOutput], manifest: Manifest) -> bool:
    """Return whether any of the outputs needs samples."""
    known = outputs_of(manifest)
    return any(known[output.name].of_sampled for output in chosen)


def read_outputs(
    chosen: Iterable[RequestedOutput], manifest: Manifest, prediction: Prediction, sampled: Sampled | None
) -> list[OutputTensor]:
    """Return the tensors of the chosen outputs, in that order."""
    known = outputs_of(manifest)
    tensors = []
    for name, binary in chosen:
        output = known[name]
        values = output.of_prediction(prediction) if output.of_prediction else _of_sampled(output, sampled)
        if output.labelled:
            values = np.array(labels(manifest, values), dtype=object)
        elif output.datatype != BYTES:
            values = values.astype(DTYPES[output.datatype], copy=False)
        tensors.append(OutputTensor(name, output.datatype, values, binary))
    return tensors


def _of_sampled(output: Output, sampled: Sampled | None) -> Array:
    assert output.of_sampled
    assert sampled
    return output.of_sampled(sampled)
