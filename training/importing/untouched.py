"""Compare predict.onnx with the file itself, run by onnxruntime with dropout off.

This copy of the file has only its weights loaded and its functions inlined, so that an error in the other steps of an
import shows.
"""

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper
from onnx.helper import get_attribute_value
from torch import Tensor

from service.errors import DropserveError
from service.loading.load import Check
from service.model.runtime import Array, Graph
from training.errors import VerificationFailed
from training.exporting.dropout_arithmetic import UNIFORM
from training.exporting.exported import Exported
from training.exporting.graphs import NEWEST_IR, constants, describe, producers, prune, real_inputs
from training.exporting.tolerances import network_tolerance
from training.importing.evaluation import is_training, switches_off
from training.importing.original import in_batches
from training.importing.reading import first_line

DEFAULT_RATIO = 0.5
"""The ratio of a Dropout node that states none."""
NAME = "predict.onnx answers as the untouched file does"
"""The name of the check."""


def compare(model: ModelProto, exported: Exported, inputs: Sequence[Tensor], *, rows: int | None) -> Check:
    """Check that the answers agree; raise VerificationFailed where they differ. The check states why a file cannot be
    run.

    `rows` is the number that the file is fixed at.
    """
    if reason := _incomparable(model):
        return Check(NAME, f"not compared: {reason}")
    try:
        file = Graph(_not_in_training(model).SerializeToString(), name="the file")
    except DropserveError as error:
        return Check(NAME, f"not compared: {first_line(error)}")
    wanted = _answers(file, model, inputs, rows)
    predict = Graph(exported.predict.SerializeToString(), name="predict.onnx", weights=exported.weights.folder)
    feed = {spec.name: tensor.numpy() for spec, tensor in zip(exported.inputs, inputs, strict=True)}
    difference = _difference(wanted, exported.ending.answer(predict.run(feed)))
    if not difference <= (limit := network_tolerance(exported.predict)):
        detail = f"a relative difference of {difference:.2e}; {limit:.0e} is allowed"
        raise VerificationFailed(f"{NAME}: {detail}", check=NAME)
    return Check(NAME, f"relative difference at most {difference:.1e} at {len(wanted)} rows")


def _incomparable(model: ModelProto) -> str:
    """Return the reason why the file has no answer without dropout; "" if it has one."""
    for node in model.graph.node:
        if node.op_type in UNIFORM:
            return f"{describe(node)} is random, and cannot be turned off in the file as it is"
        if _normalises_batches(node):
            return f"{describe(node)} is in training mode"
    return ""


def _normalises_batches(node: NodeProto) -> bool:
    return node.op_type == "BatchNormalization" and is_training(node)


def _not_in_training(model: ModelProto) -> ModelProto:
    """Return the model without the inputs that turn Dropout on; without them it is off."""
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = min(copy.ir_version, NEWEST_IR)
    for node in copy.graph.node:
        if node.op_type == "Dropout":
            del node.input[2:]
    return copy


def _answers(file: Graph, model: ModelProto, inputs: Sequence[Tensor], rows: int | None) -> Array:
    off = switches_off(model)
    names = [value.name for value in real_inputs(model.graph) if value.name not in off]
    try:
        batches = [file.run(feed | off)[:count] for feed, count in in_batches(names, inputs, rows)]
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no other base
        raise VerificationFailed(f"{NAME}: the file cannot be run: {first_line(error)}", check=NAME) from None
    return np.concatenate(batches)


def _difference(wanted: Array, got: Array) -> float:
    if wanted.shape != got.shape:
        raise VerificationFailed(f"{NAME}: expected an answer of shape {wanted.shape}; found {got.shape}", check=NAME)
    return float(np.abs(got - wanted).max() / max(1.0, float(np.abs(wanted).max())))


def drop_ratios(model: ModelProto) -> list[float]:
    """Return the ratio of each active Dropout that reaches the output, in order of execution."""
    copy = ModelProto()
    copy.CopyFrom(model)
    prune(copy.graph)
    ratios = [_ratio(copy, node) for node in copy.graph.node if node.op_type == "Dropout"]
    return [ratio for ratio in ratios if ratio]


def _ratio(model: ModelProto, node: NodeProto) -> float:
    """Return a node's ratio: an attribute up to opset 11, an input since."""
    name = node.input[1] if len(node.input) > 1 else ""
    if not name:
        return next((float(attribute.f) for attribute in node.attribute if attribute.name == "ratio"), DEFAULT_RATIO)
    if name in (weights := constants(model.graph)):
        return float(numpy_helper.to_array(weights[name]).item())
    value = get_attribute_value(producers(model.graph)[name].attribute[0])
    return value if isinstance(value, float) else float(numpy_helper.to_array(value).item())
